"""Lines about named features, read into columns."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from agent.feature_rows import FeatureRow
from agent.records import VerdictKind

log = logging.getLogger(__name__)

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
VERDICTS: tuple[VerdictKind, ...] = get_args(VerdictKind)
CODES = {verdict: np.int8(at) for at, verdict in enumerate(VERDICTS)}
UNTRIED = -1


class Known(NamedTuple):
    """What is known of every feature before any is named; (F,), NaN where it is not."""

    density: Numbers
    scale: Numbers


class Columns(NamedTuple):
    """One entry a feature; NaN where there is no figure."""

    verdict: Codes
    """-1 where nobody tried."""
    named: Flags
    auroc: Numbers
    confidence: Numbers
    created: Numbers
    """Seconds since the epoch."""
    density: Numbers
    scale: Numbers

    def copied(self) -> Columns:
        """Columns of their own, to be changed."""
        return Columns(self.verdict.copy(), self.named.copy(), *(column.copy() for column in self[2:]))


class _Always(TypedDict):
    index: int
    name: str | None
    verdict: VerdictKind
    confidence: float
    auroc: float | None
    density: float | None
    created: str


class Brief(_Always, total=False):
    """The part of a FeatureRow that becomes columns."""

    scale: float | None


_LINES: TypeAdapter[list[Brief]] = TypeAdapter(list[Brief], config=ConfigDict(extra="ignore"))


def read_lines(lines: Mapping[int, bytes]) -> dict[int, Brief]:
    """What the lines say; one that cannot be read by this version counts for nothing."""
    try:
        briefs = _LINES.validate_json(b"[" + b",".join(lines.values()) + b"]")
        return dict(zip(lines, briefs, strict=True))
    except ValueError:
        return {index: each for index, line in lines.items() if (each := _read_one(index, line))}


def _read_one(index: int, line: bytes) -> Brief | None:
    try:
        return _LINES.validate_json(b"[" + line + b"]")[0]
    except ValidationError:
        log.warning("The line about feature %s cannot be read by this version; name it again.", index)
        return None


def row_of(line: bytes) -> FeatureRow:
    """The line, less what a later version wrote into it."""
    try:
        return FeatureRow.model_validate_json(line)
    except ValidationError:
        told = {name: value for name, value in json.loads(line).items() if name in FeatureRow.model_fields}
        return FeatureRow.model_validate_json(json.dumps(told))


def fill_columns(columns: Columns, told: Mapping[int, Brief], *, known: Known) -> None:
    """Write what lines say into columns, by feature; what is known of a feature goes before what it says."""
    at, briefs = np.fromiter(told, np.int64, len(told)), list(told.values())
    columns.verdict[at] = [CODES[each["verdict"]] for each in briefs]
    columns.named[at] = [bool(each["name"]) for each in briefs]
    columns.confidence[at] = [each["confidence"] for each in briefs]
    columns.created[at] = _seconds([each["created"] for each in briefs])
    # None becomes NaN.
    columns.auroc[at] = np.array([each["auroc"] for each in briefs], np.float64)
    for held, base, given in (
        (columns.density, known.density, [each["density"] for each in briefs]),
        (columns.scale, known.scale, [each.get("scale") for each in briefs]),
    ):
        held[at] = np.where(np.isnan(base[at]), np.array(given, np.float64), base[at])


def _seconds(created: Sequence[str]) -> Numbers:
    """Seconds since the epoch of dates in UTC; NaN for what is none."""
    plain = [each.removesuffix("+00:00") for each in created]
    try:
        dates = np.array(plain, "datetime64[us]")
    except ValueError:
        dates = np.array([_date(each) for each in plain], "datetime64[us]")
    seconds = dates.astype(np.int64) / 1e6
    return np.where(np.isnat(dates), np.nan, seconds)


def _date(plain: str) -> np.datetime64:
    try:
        return np.datetime64(plain, "us")
    except ValueError:
        return np.datetime64("NaT")
