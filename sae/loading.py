"""One door for every dictionary: our own folders and the files of every library that publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from sae.card import CARD_FILE, BackboneSpec, Origin, read_card
from sae.dictionary import WEIGHTS_FILE, SparseDictionary, load_dictionary
from sae.errors import BadDictionary, UnfitRequest
from sae.formats.container import open_container
from sae.formats.hub import find_weights
from sae.formats.mapped import read_mapped
from sae.formats.parts import checked
from sae.formats.reading import Hints, Reading, Source, Tokens
from sae.formats.registry import format_of
from sae.formats.wrappers import take_apart
from sae.model_folder import source_and_revision
from sae.pooling import Pooling

OWN = "namesae"
MAPPED = "mapping"
_BROKEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a reader may run into in a file that nobody's library wrote."""
_TOKENS: dict[Pooling, Tokens] = {"cls": "cls", "max": "patch", "mean": "patch", "top-p": "patch"}
_POOLING: dict[Tokens | None, Pooling] = {"cls": "cls"}


@dataclass(frozen=True)
class Loaded:
    """A dictionary, whose it is and what the file leaves open."""

    dictionary: SparseDictionary
    format: str
    """Of sae.formats.registry, 'namesae' for our own folders, 'mapping' for what was mapped."""
    notes: tuple[str, ...]
    """How what the file leaves open was read, a sentence each."""
    hints: Hints
    path: Path
    """The file of weights."""

    def as_origin(
        self,
        name: str,
        *,
        backbone: BackboneSpec | None = None,
        hook_point: str | None = None,
        pooling: Pooling | None = None,
    ) -> Origin:
        """What ``SparseDictionary.save`` needs; arguments win over what the file says.

        BadDictionary names what neither tells.
        """
        hints = self.hints
        spec = backbone or hints.backbone
        if spec is None:
            said = f" (it says {hints.model!r})" if hints.model else ""
            raise UnfitRequest(f"{self.path} does not tell where its backbone is{said}; give it.")
        hook = hook_point or hints.hook_point()
        if hook is None:
            said = f" (it says {hints.place or hints.block!r})" if hints.place or hints.block else ""
            raise UnfitRequest(
                f"{self.path} does not tell the hook point{said}; give one such as block.11 or pooled."
            )
        found = pooling or ("none" if hook == "pooled" else _POOLING.get(hints.tokens))
        if found is None:
            raise UnfitRequest(
                f"{self.path} does not tell how tokens become one activation per image; give a pooling: "
                "none, cls, max, mean or top-p."
            )
        return Origin(name=name, backbone=spec, hook_point=hook, pooling=found)


def load(
    path_or_repo: str | Path,
    *,
    flavor: str | None = None,
    k: int | None = None,
    mapping: Mapping[str, str] | None = None,
    revision: str | None = None,
    device: torch.device | str = "cpu",
) -> Loaded:
    """A dictionary from a file, a folder, a hub id 'org/name[@revision]' or 'org/name/file', in float32.

    ``flavor`` says whose it is where files of several libraries look the same, ``k`` how many features are
    active where the file does not, ``mapping`` which weight is which in a file of no known library
    (sae/formats/mapped.py). Nothing of a file is run. BadDictionary, ModelUnreachable.
    """
    given = str(path_or_repo)
    source, at = (given, None) if Path(given).exists() else source_and_revision(given)
    path = find_weights(source, revision or at)
    own = path.parent if path.name == WEIGHTS_FILE else path
    if flavor is None and mapping is None and (own / CARD_FILE).is_file():
        return _own(own, device)
    apart = _taken_apart(path, flavor=flavor, k=k)
    name, reading = _read(apart, mapping)
    return Loaded(reading.dictionary.to(device), name, reading.notes, reading.hints, apart.path)


def _own(folder: Path, device: torch.device | str) -> Loaded:
    card = read_card(folder)
    hints = Hints(
        model=card.backbone.source,
        backbone=card.backbone.located(folder),
        place=card.hook_point,
        tokens=_TOKENS.get(card.pooling),
    )
    return Loaded(load_dictionary(folder, device=device), OWN, (), hints, folder / WEIGHTS_FILE)


def _taken_apart(path: Path, *, flavor: str | None, k: int | None) -> Source:
    contents = open_container(path)
    try:
        return take_apart(contents, k=k, flavor=flavor)
    except BadDictionary as error:
        raise type(error)(f"{contents.path} cannot be used: {error}.") from error


def _read(source: Source, mapping: Mapping[str, str] | None) -> tuple[str, Reading]:
    name = "a dictionary"
    try:
        if mapping is not None:
            name = MAPPED
            return name, _checked(read_mapped(source, mapping), source)
        found = format_of(source)
        name = found.name
        return name, _checked(found.read(source), source)
    except BadDictionary as error:
        raise type(error)(f"{source.path}, read as {name}: {str(error).removesuffix('.')}.") from error
    except _BROKEN as error:
        raise BadDictionary(
            f"{source.path}, read as {name}, is not as that is written ({type(error).__name__}); download or "
            "save it again."
        ) from error


def _checked(reading: Reading, source: Source) -> Reading:
    dictionary = checked(reading.dictionary)
    if source.k is not None and dictionary.k != source.k:
        raise UnfitRequest(f"k = {source.k} was given, and it is a {dictionary.architecture} without k")
    return reading
