"""The folder of an evaluation: ``run.json`` says what it is, ``cells/`` holds one file a cell.

A cell is written whole or not at all, so whatever stops a run, the next one goes on from what is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from evals.cell import SCHEMA, Cell
from evals.scoreboard import SanityRow
from evals.suite import Suite
from sae.feature import Feature, Frozen
from sae.whole_file import whole_file
from tools.digest import digest
from tools.errors import IntegrityError, UsageError

RUN_FILE = "run.json"
SANITY_FILE = "sanity.json"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


class Expected(Frozen):
    """A cell that belongs to the evaluation."""

    condition: str
    feature: Feature


class ListedCondition(Frozen):
    """A condition of the suite."""

    condition: str
    title: str
    """What reports call it."""
    digest: str
    """Of its kind, its options and what it reads."""


class RunRecord(Frozen):
    """What run.json says."""

    schema_: int = SCHEMA
    digest: str
    """Of everything that determines all cells, whatever their condition."""
    version: str
    suite: Suite
    proposer: str
    control: int
    """Images of the judge's control set."""
    expected: tuple[Expected, ...]
    conditions: tuple[ListedCondition, ...]
    missing: tuple[str, ...] = ()
    """What cannot be run at all, a sentence each."""

    def digest_of(self, condition: str) -> str | None:
        """Of the cells of a condition; None where there is none of that name."""
        found = (each.digest for each in self.conditions if each.condition == condition)
        own = next(found, None)
        return None if own is None else digest(run=self.digest, condition=own)


class Results:
    """The folder, for reading; ``writing`` opens it for a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self) -> RunRecord:
        """What the folder holds results of. UsageError where it holds none, or those of another version."""
        path = self.folder / RUN_FILE
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{self.folder} holds no evaluation; give the --out of a run.") from error
        except ValueError as error:
            raise IntegrityError(f"{path} is not JSON; start the evaluation in another folder.") from error
        schema = raw.get("schema_") if isinstance(raw, dict) else None
        if schema != SCHEMA:
            raise UsageError(
                f"{self.folder} holds results of another version (schema {schema!r}, not {SCHEMA}); "
                "run the suite in another folder."
            )
        try:
            return RunRecord.model_validate(raw)
        except ValidationError as error:
            raise IntegrityError(
                f"{path} does not hold what it should; start the evaluation in another folder."
            ) from error

    def cell(self, condition: str, feature: Feature) -> Cell | None:
        """A cell; None where it is not there yet. IntegrityError where its file is damaged."""
        path = self._path(condition, feature)
        try:
            return Cell.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{path} is no cell of an evaluation; delete it to run it again.") from error

    def cells(self, record: RunRecord) -> list[Cell]:
        """All cells that are there, in the order of the record."""
        found = (self.cell(each.condition, each.feature) for each in record.expected)
        return [cell for cell in found if cell is not None]

    def sanity(self) -> tuple[SanityRow, ...]:
        """The tests of the metrics on themselves; () where they were not run."""
        try:
            rows = json.loads((self.folder / SANITY_FILE).read_text(encoding="utf-8"))
            return tuple(SanityRow.model_validate(row) for row in rows)
        except (OSError, ValueError, TypeError):
            return ()

    def put(self, cell: Cell) -> None:
        """Write a cell."""
        path = self._path(cell.condition, cell.feature)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(cell.model_dump_json(), encoding="utf-8")

    def put_sanity(self, rows: tuple[SanityRow, ...]) -> None:
        """Write the tests of the metrics."""
        with whole_file(self.folder / SANITY_FILE) as partial:
            partial.write_text(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))

    @contextmanager
    def writing(self, record: RunRecord) -> Iterator[None]:
        """Hold the folder while inside. UsageError where another run holds it or it is of something else."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder} is a file; give --out a new or empty folder.")
        self._require_ours(record)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(f"Another run writes to {self.folder}; wait for it or stop it.") from error
            self._require_ours(record)
            with whole_file(self.folder / RUN_FILE) as partial:
                partial.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
            yield

    def _require_ours(self, record: RunRecord) -> None:
        if not (self.folder / RUN_FILE).exists():
            if self.folder.is_dir() and any(each.name != ".lock" for each in self.folder.iterdir()):
                raise UsageError(f"{self.folder} holds other files; give --out a new or empty folder.")
            return
        held = self.record()
        ours: list[tuple[str | None, str | None]] = [(record.digest, held.digest)]
        ours += [
            (record.digest_of(each.condition), held.digest_of(each.condition)) for each in held.conditions
        ]
        if any(mine is not None and mine != theirs for mine, theirs in ours):
            raise UsageError(
                f"{self.folder} holds results of another suite, of other models or another version; "
                "give --out another folder."
            )

    def _path(self, condition: str, feature: Feature) -> Path:
        return self.folder / "cells" / _slug(condition) / f"{_slug(feature.dictionary)}-{feature.index}.json"


def _slug(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:16]
