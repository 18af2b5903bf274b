"""Names found by someone else's programme, read from a file and judged like any other."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from evals.answer import Answer
from evals.explanation_files import of_dictionary, read_explanations
from evals.plain_condition import PlainCondition
from evals.subject import Case, Subject
from evals.told import Told


class Elsewhere(PlainCondition):
    """The explanations of a file or folder (evals/explanation_files.py); refusals abstain."""

    path: str
    label: str | None = None
    """What reports call it; the name of the file when None."""
    layer: str | None = None
    """Which of the file's layers or modules, where it has several."""
    dictionary: str | None = None
    """The only dictionary that it is about; any when None."""

    @property
    def title(self) -> str:
        """What reports call it."""
        return self.label or Path(self.path).stem

    def lacks(self, subject: Subject) -> str | None:
        """Names of its features in the file. UsageError where the file cannot be read."""
        told = self._told(subject.dictionary)
        return (
            None if any(index < subject.n_features for index in told) else f"names in {Path(self.path).name}"
        )

    def answer(self, case: Case) -> Answer:
        """What the file says of the feature."""
        told = self._told(case.subject.dictionary).get(case.feature.index)
        if told is None:
            return Answer(name=None, code="not_in_file")
        verdict = told.verdict if told.name is not None else told.verdict or "unexplained"
        return Answer(name=told.name, verdict=verdict, confidence=told.confidence, score=told.score)

    def _told(self, dictionary: str) -> dict[int, Told]:
        if self.dictionary not in (None, dictionary):
            return {}
        path = Path(self.path).expanduser()
        told = _read(path, path.stat().st_mtime_ns if path.exists() else 0)
        return of_dictionary(told, dictionary, layer=self.layer, source=self.path)


@lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> tuple[Told, ...]:
    return read_explanations(path)
