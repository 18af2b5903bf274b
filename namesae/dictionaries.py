"""The dictionaries that can be named: those shipped, the person's own, and any folder. Imports no torch."""

from __future__ import annotations

import difflib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from namesae.settings import Settings
from sae.card import CARD_FILE, DictionaryCard, read_card
from sae.errors import BadDictionary
from tools.errors import IntegrityError, UsageError

TRUTH_FILE = "truth.json"
FACTS_FILE = "facts.json"
FAKE = "fake"

Row = TypeVar("Row")


Origin = Literal["shipped", "yours", "built", "folder", "planted"]


class TruthRow(BaseModel):
    """What a feature really stands for, measured with labels; only dictionaries of a known world have it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    index: int
    concept: str
    """Empty where nothing coherent was found."""
    kind: str
    """object, family, colour, texture, background, not, and, ..."""
    f1: float | None = None
    """None where nobody has measured it."""
    auroc: float | None = None


class Listed(NamedTuple):
    """A dictionary and where it was found."""

    name: str
    """What the person calls it: a name, or the absolute path of a folder."""
    folder: Path | None
    """None for the planted dictionary of the tests."""
    n_features: int
    origin: Origin
    card: DictionaryCard | None = None


class Damaged(NamedTuple):
    """A dictionary folder that cannot be used, and why."""

    name: str
    folder: Path
    reason: str


def shipped_folder() -> Path:
    """Where the shipped dictionaries lie; the package is located, not imported."""
    spec = find_spec("sandbox")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) / "models" if places else Path("sandbox") / "models"


def built_folder(settings: Settings) -> Path:
    """Where the dictionaries lie that evaluations build: planted, class units, untrained."""
    return settings.home / "evals" / "dictionaries"


def list_dictionaries(settings: Settings) -> list[Listed | Damaged]:
    """All that have a name, by name; one of the person's own goes before a shipped one of the same name."""
    found: dict[str, Listed | Damaged] = {}
    origins: tuple[tuple[Path, Origin], ...] = (
        (built_folder(settings), "built"),
        (shipped_folder(), "shipped"),
        (settings.home / "dictionaries", "yours"),
    )
    for root, origin in origins:
        for card in sorted(root.glob(f"*/{CARD_FILE}")):
            found[card.parent.name] = _open(card.parent.name, card.parent, origin=origin)
    if settings.fakes:
        found[FAKE] = _planted()
    return [found[name] for name in sorted(found)]


def find_dictionary(name: str, settings: Settings) -> Listed:
    """A dictionary by name or folder. UsageError says which there are; IntegrityError when it is damaged."""
    known = {each.name: each for each in list_dictionaries(settings)}
    path = Path(name).expanduser()
    found = known.get(name)
    if found is None and (path / CARD_FILE).is_file():
        found = _open(str(path.absolute()), path.absolute(), origin="folder")
    if found is None:
        raise UsageError(_unknown(name, list(known)))
    if isinstance(found, Damaged):
        raise IntegrityError(found.reason)
    return found


def read_truth(listed: Listed) -> tuple[TruthRow, ...]:
    """The truth table in order of the features; UsageError where a dictionary has none."""
    if listed.folder is None:
        return _planted_truth()
    return tuple(
        sorted(_rows(listed, TRUTH_FILE, adapter=TypeAdapter(list[TruthRow])), key=lambda row: row.index)
    )


def _open(name: str, folder: Path, *, origin: Origin) -> Listed | Damaged:
    try:
        card = read_card(folder)
    except BadDictionary as error:
        return Damaged(name, folder, str(error))
    return Listed(name, folder, card.n_features, origin, card)


def _rows(listed: Listed, file: str, *, adapter: TypeAdapter[list[Row]]) -> list[Row]:
    assert listed.folder is not None
    path = listed.folder / file
    try:
        return adapter.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise UsageError(
            f"Dictionary {listed.name!r} has no {file}, so its features are chosen by index: "
            f"write {listed.name}#0 or {listed.name}#0-{listed.n_features - 1}."
        ) from error
    except (OSError, ValueError, ValidationError) as error:
        raise IntegrityError(f"{path} does not hold what it should; get the dictionary again.") from error


def _unknown(name: str, known: list[str]) -> str:
    if Path(name).expanduser().is_dir():
        return f"Folder {name} holds no {CARD_FILE}; give a dictionary folder or one of {_list(known)}."
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"Dictionary {name!r} does not exist; {hint}There are {_list(known)}, and any dictionary folder."


def _list(names: list[str]) -> str:
    return ", ".join(names) if names else "none installed"


def _planted() -> Listed:
    from tools.fake_features import FAKE_FEATURES

    return Listed(FAKE, None, max(FAKE_FEATURES) + 1, "planted")


def _planted_truth() -> tuple[TruthRow, ...]:
    from tools.fake_features import FAKE_FEATURES

    rows: list[dict[str, Any]] = [
        {"index": index, "concept": each.truth, "kind": each.kind, "f1": each.rate, "auroc": each.rate}
        for index, each in FAKE_FEATURES.items()
        if each.kind not in ("dead", "dense")
    ]
    return tuple(TruthRow.model_validate(row) for row in rows)
