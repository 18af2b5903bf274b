"""Features whose stored answers give different names, the most contested first."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from evals.cell import Cell
from evals.contenders import CONTROLS
from namesae.service.review_records import Disagreement, ToldName
from sae.feature import Feature
from tools import keys
from tools.cards import words_of

if TYPE_CHECKING:
    from agent.records import Explanation
    from namesae.service.evaluations import Evaluations
    from namesae.wiring import State

MOST_ANSWERS = 20
"""Latest answers of a feature that are looked at."""
AT_ONCE = 5_000
"""Features asked for in one round trip."""
_ARTICLES = frozenset({"a", "an", "the"})


class Names:
    """The different names of the features of dictionaries, kept as runs end and evaluations fill."""

    def __init__(self, state: State, evaluations: Evaluations) -> None:
        self._state, self._evaluations = state, evaluations
        self._shelves: dict[str, _Shelf] = {}
        self._lock = threading.Lock()

    def disagreements(self, dictionary: str, *, votes: dict[int, int]) -> list[Disagreement]:
        """Features with two names or more, most contested first; ``votes``: cast so far, by index."""
        told = self._told(dictionary)
        found = [_disagreement(dictionary, index, names) for index, names in told.items()]
        kept = [
            each.model_copy(update={"votes": votes.get(each.index, 0)})
            for each in found
            if len(each.names) > 1
        ]
        return sorted(kept, key=lambda each: (-each.contested, each.votes, -each.answers, each.index))

    def of_feature(self, feature: Feature) -> tuple[ToldName, ...]:
        """Each different name of one feature, the most often given first."""
        told = self._told(feature.dictionary).get(feature.index, [])
        return _disagreement(feature.dictionary, feature.index, told).names

    def _told(self, dictionary: str) -> dict[int, list[ToldName]]:
        """Every answer with a name, by feature: those of runs, then those that only evaluations have."""
        with self._lock:
            runs = self._of_runs(dictionary)
        told: defaultdict[int, list[ToldName]] = defaultdict(list)
        for index, names in runs.items():
            told[index] += names
        known = {each.run for names in runs.values() for each in names}
        for evaluation, cell in self._evaluations.told_of(dictionary):
            if _counts(cell) and not (cell.answer.run and cell.answer.run in known):
                told[cell.feature.index].append(_of_cell(evaluation, cell))
        return told

    def _of_runs(self, dictionary: str) -> dict[int, list[ToldName]]:
        client = self._state.client
        latest = cast("list[tuple[bytes, object]]", client.xrevrange(keys.named_changes(dictionary), count=1))
        mark = latest[0][0].decode() if latest else ""
        shelf = self._shelves.get(dictionary)
        if shelf is not None and shelf.mark == mark:
            return shelf.names
        changed = self._changed(dictionary, shelf)
        names = {} if shelf is None else dict(shelf.names)
        names |= {index: self._answers(dictionary, index) for index in self._several(dictionary, changed)}
        self._shelves[dictionary] = _Shelf(mark, names)
        return names

    def _changed(self, dictionary: str, shelf: _Shelf | None) -> Sequence[int]:
        """Features that got an answer since the shelf was filled; all named ones where that is not known."""
        client, stream = self._state.client, keys.named_changes(dictionary)
        if shelf is not None and shelf.mark:
            told = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(stream, min=shelf.mark))
            if told and told[0][0].decode() == shelf.mark:
                return sorted({int(value) for _, fields in told[1:] for value in fields.values()})
        return sorted(int(each) for each in cast("list[bytes]", client.hkeys(keys.named(dictionary))))

    def _several(self, dictionary: str, indices: Sequence[int]) -> list[int]:
        """Those that have an answer at all: one is enough, as evaluations may have another."""
        found = []
        for start in range(0, len(indices), AT_ONCE):
            part = indices[start : start + AT_ONCE]
            with self._state.client.pipeline(transaction=False) as pipe:
                for index in part:
                    pipe.zcard(keys.explanations(f"{dictionary}#{index}"))
                counts = pipe.execute()
            found += [index for index, count in zip(part, counts, strict=True) if count]
        return found

    def _answers(self, dictionary: str, index: int) -> list[ToldName]:
        stored = self._state.runs.of_feature(f"{dictionary}#{index}", count=MOST_ANSWERS)
        return [_of_run(each) for each in stored if each.name is not None]


class _Shelf(NamedTuple):
    """What is known of the runs of one dictionary."""

    mark: str
    """The last change it has seen."""
    names: dict[int, list[ToldName]]


def same_name(name: str) -> tuple[str, ...]:
    """What two names have in common that say the same: their words, order and articles aside."""
    return tuple(sorted(set(words_of(name)) - _ARTICLES)) or (name.casefold(),)


def _counts(cell: Cell) -> bool:
    return cell.answer.name is not None and not cell.answer.failed and cell.condition not in CONTROLS


def _of_run(told: Explanation) -> ToldName:
    sealed = told.sealed
    return ToldName(
        name=told.name or "",
        by=told.proposer,
        source="run",
        run=told.run,
        verdict=told.verdict,
        auroc=None if sealed is None else sealed.auroc,
        auroc_ci=None if sealed is None else sealed.auroc_ci,
    )


def _of_cell(evaluation: str, cell: Cell) -> ToldName:
    cosy = None if cell.judged is None else cell.judged.cosy
    return ToldName(
        name=cell.answer.name or "",
        by=cell.title,
        source="eval",
        run=cell.answer.run,
        evaluation=evaluation,
        condition=cell.condition,
        verdict=cell.answer.verdict,
        auroc=None if cosy is None else cosy.auroc,
        auroc_ci=None if cosy is None else cosy.auroc_ci,
    )


def _disagreement(dictionary: str, index: int, told: Iterable[ToldName]) -> Disagreement:
    groups: defaultdict[tuple[str, ...], list[ToldName]] = defaultdict(list)
    for each in told:
        groups[same_name(each.name)].append(each)
    counts = Counter({words: len(names) for words, names in groups.items()})
    names = [max(group, key=_strength).model_copy(update={"times": len(group)}) for group in groups.values()]
    total = sum(counts.values())
    return Disagreement(
        feature=f"{dictionary}#{index}",
        index=index,
        names=tuple(sorted(names, key=lambda each: (-each.times, -_strength(each), each.name))),
        answers=total,
        contested=1.0 - sum((n / total) ** 2 for n in counts.values()) if total else 0.0,
    )


def _strength(told: ToldName) -> float:
    return -1.0 if told.auroc is None else told.auroc
