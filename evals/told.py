"""What was told elsewhere about a feature: names as data, cut, on one printable line, refusals left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from agent.records import VerdictKind
from tools.errors import UsageError

LONGEST = 80
"""Characters of a name that are kept."""
INDEX = ("neuron", "unit", "feature", "index", "latent", "latent_id", "feature_id", "unit_id")
NAME = ("concept", "description", "explanation", "name", "label")
LAYER = ("layer", "module")
SCORE = ("similarity", "score")
_REFUSALS = re.compile(
    r"(i['\u2019]?m (sorry|unable)|i am (sorry|unable)|sorry[,.]|i can(not|['\u2019]?t)\b|unable to\b"
    r"|as an ai\b|explanation could not be parsed|no (coherent )?(explanation|concept|description)\b)",
    re.IGNORECASE,
)
NEEDED = f"one of {', '.join(INDEX[:5])} and one of {', '.join(NAME)}"
_VERDICTS: tuple[VerdictKind, ...] = get_args(VerdictKind)
_ABSTAINS = frozenset(_VERDICTS) - {"named", "polysemantic", "weak"}
_NOTHING = frozenset({"", "nan", "none", "null", "n/a", "-"})
_LATENT = re.compile(r"(?P<layer>.*?)[._/]?latent[_ ]?(?P<index>[0-9]{1,12})", re.DOTALL)
_DIGITS = re.compile(r"[0-9]{1,12}")


class Told(NamedTuple):
    """What a file says about one feature."""

    feature: int
    """Its index."""
    name: str | None
    """None: it refuses, or says nothing."""
    layer: str = ""
    """Layer, module or dictionary, where it says one."""
    of_dictionary: bool = False
    """Whether ``layer`` is a dictionary of namesae."""
    verdict: VerdictKind | None = None
    confidence: float | None = None
    score: float | None = None


def clean_name(text: str) -> str | None:
    """The name on one printable line of at most LONGEST characters; None where it says nothing or refuses."""
    letters = "".join(letter if letter.isprintable() else " " for letter in text)
    name = " ".join(letters.split())[:LONGEST].strip()
    return None if name.casefold() in _NOTHING or _REFUSALS.match(name) else name


def has_columns(columns: Iterable[str]) -> bool:
    """Whether there is one for the index and one for the name."""
    known = {column.strip().casefold() for column in columns}
    return not (known.isdisjoint(INDEX) or known.isdisjoint(NAME))


def told_of_entry(key: str, value: Any, *, where: str) -> Told:
    """An explanation under the name of its latent."""
    place = _place(key)
    if place is None:
        raise UsageError(
            f"{where} explains {key[:LONGEST]!r}, which is no feature; write N or MODULE_latentN."
        )
    text = _first(value, NAME) if isinstance(value, dict) else value
    if not (text is None or isinstance(text, str)):
        raise UsageError(f"{where} explains {key[:LONGEST]!r} by something other than text; give a sentence.")
    return Told(place.feature, clean_name(text or ""), layer=place.layer, of_dictionary=place.of_dictionary)


def told_of_record(record: Any, *, where: str) -> Told:
    """A row of a table, or an object of the same columns."""
    if not isinstance(record, dict) or not has_columns(record):
        raise UsageError(f"{where}, lacks a column; it needs {NEEDED}.")
    given, text = _first(record, INDEX), _first(record, NAME)
    place = _place(given)
    if place is None:
        told = str(given)[:LONGEST]
        raise UsageError(f"{where}, has the index {told!r}; give a whole number of at least 0.")
    layer, verdict = _first(record, LAYER), str(_first(record, ("verdict",)))
    name = clean_name(text if isinstance(text, str) else "")
    return Told(
        place.feature,
        name if verdict not in _ABSTAINS else None,
        layer=place.layer or ("" if layer is None else str(layer)),
        of_dictionary=place.of_dictionary,
        verdict=next((kind for kind in _VERDICTS if kind == verdict), None),
        confidence=_number(_first(record, ("confidence",)), most=1.0),
        score=_number(_first(record, SCORE)),
    )


class _Place(NamedTuple):
    feature: int
    layer: str = ""
    of_dictionary: bool = False


def _place(given: Any) -> _Place | None:
    """The feature that a key or a cell means: 17, '17', 'sandbox#17', 'layers.3_latent17' or a Feature."""
    if isinstance(given, dict):
        dictionary, index = given.get("dictionary"), _place(given.get("index"))
        known = isinstance(dictionary, str) and index is not None and not index.layer
        return _Place(index.feature, str(dictionary), of_dictionary=True) if known and index else None
    text = str(given).strip() if isinstance(given, str | int) and not isinstance(given, bool) else ""
    if _DIGITS.fullmatch(text):
        return _Place(int(text))
    dictionary, sign, last = text.rpartition("#")
    if sign and dictionary and _DIGITS.fullmatch(last):
        return _Place(int(last), dictionary, of_dictionary=True)
    latent = _LATENT.fullmatch(text)
    return _Place(int(latent["index"]), latent["layer"]) if latent else None


def _first(record: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """The value of the first of some columns that a record has."""
    known = {column.strip().casefold(): value for column, value in reversed([*record.items()])}
    return next((known[column] for column in columns if column in known), None)


def _number(given: Any, *, most: float = math.inf) -> float | None:
    try:
        number = float(given)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and (most == math.inf or 0 <= number <= most) else None
