"""What ``namesae sae import``, ``export``, ``clean``, ``push`` and ``pull`` do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from namesae.dictionaries import find_dictionary
from namesae.places import place_of
from namesae.reporters import take_stdout, tell, write_json
from namesae.settings import load_settings
from sae.card import BACKBONES, BackboneSpec, Origin, read_card
from sae.pooling import Pooling
from tools.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from sae.dictionary import SparseDictionary
    from sae.exports.cleaning import Cleaned


class Written(NamedTuple):
    """What a command tells when it is done."""

    lines: Sequence[str]
    record: dict[str, Any]
    """The same for programs."""


def report(work: Callable[[], Written], *, as_json: bool) -> int:
    """Do the work and tell it in lines, or in one JSON line; the exit code."""
    if not as_json:
        for line in work().lines:
            tell(line, sys.stdout)
        return 0
    with take_stdout() as out:
        write_json("done", work().record, out=out)
    return 0


def backbone_spec(given: str) -> BackboneSpec:
    """KIND:SOURCE[@REVISION]. UsageError."""
    place = place_of(given, beside=Path.cwd(), kinds=BACKBONES, what="Backbone")
    return BackboneSpec(kind=place.kind, source=place.source, revision=place.revision)


def parse_mapping(given: str | None) -> dict[str, str] | None:
    """'W_enc=enc,W_dec=dec' as a mapping. UsageError."""
    if given is None:
        return None
    pairs = [each.partition("=") for each in given.split(",")]
    if not all(name and at and held for name, at, held in pairs):
        raise UsageError(f"Mapping {given!r} is not of the form W_enc=NAME,W_dec=NAME; write it so.")
    return {name.strip(): held.strip() for name, _, held in pairs}


def export_dictionary(name: str, to: Path, *, form: str) -> Written:
    """Write a dictionary, ours or any that loads, for another library."""
    from sae.exports.export import TARGETS, export

    if form not in TARGETS:
        raise UsageError(f"Format {form!r} does not exist; have {', '.join(TARGETS)}.")
    dictionary, origin = open_dictionary(name)
    done = export(dictionary, to, form, origin=origin)
    said = f"{dictionary.architecture}, {dictionary.n_features:,} features of width {dictionary.width:,}"
    lines = [
        f"{name} as {form}   {said}",
        f"read back   reconstructions differ by {done.difference:.1e} at most",
        str(done.path),
    ]
    record = {"dictionary": name, "format": form, "path": str(done.path), "difference": done.difference}
    return Written(lines, record)


def open_dictionary(name: str) -> tuple[SparseDictionary, Origin | None]:
    """By a name or a folder as every command takes it, else any file that loads."""
    from sae.dictionary import load_dictionary
    from sae.loading import load

    try:
        listed = find_dictionary(name, load_settings())
    except UsageError:
        if not Path(name).exists():
            raise
        return load(name).dictionary, None
    if listed.folder is None:
        raise UsageError(f"Dictionary {name!r} has no weights to export; give another.")
    card = read_card(listed.folder)
    origin = Origin.model_validate({field: getattr(card, field) for field in Origin.model_fields})
    return load_dictionary(listed.folder), origin


def clean_checkpoint(checkpoint: Path, to: Path, *, flavor: str | None, k: int | None) -> Written:
    """Write a checkpoint without what only its training needed."""
    from sae.exports.cleaning import clean

    done = clean(checkpoint, to, flavor=flavor, k=k)
    removed = ", ".join(done.removed) or "nothing"
    lines = [
        f"left out   {removed}",
        f"size   {_size(done.before)} before, {_size(done.after)} now",
        *(["form   a plain torch file, since its own form did not stand alone"] if done.rewritten else []),
        str(done.path),
    ]
    return Written(lines, _cleaned(done))


def _cleaned(done: Cleaned) -> dict[str, Any]:
    return {
        "path": str(done.path),
        "removed": list(done.removed),
        "bytes_before": done.before,
        "bytes_after": done.after,
        "rewritten": done.rewritten,
    }


def push_dictionary(
    name: str, repository: str, *, backbone: str | None, licence: str | None, private: bool
) -> Written:
    """Upload a dictionary folder with a model card."""
    from sae.hub import Upload, push

    listed = find_dictionary(name, load_settings())
    if listed.folder is None:
        raise UsageError(f"Dictionary {name!r} has no weights to push; give another.")
    spec = None if backbone is None else backbone_spec(backbone)
    upload = Upload(licence=licence, private=private, backbone=spec)
    address = push(listed.folder, repository, upload=upload)
    return Written([address], {"dictionary": name, "repository": repository, "address": address})


def pull_dictionary(repository: str, to: Path) -> Written:
    """Download a dictionary folder of ours."""
    from sae.hub import pull
    from sae.model_folder import source_and_revision

    source, revision = source_and_revision(repository)
    card = pull(source, to, revision=revision)
    line = f"{card.name}   {card.architecture}, {card.n_features:,} features, {card.backbone.source}"
    return Written([line, str(to)], {"repository": repository, "path": str(to), "name": card.name})


def refuse_existing(folder: Path) -> None:
    """UsageError where something is in the way."""
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already; give a folder where nothing is.")


def unfit(sentence: str) -> IntegrityError:
    """A reading that real activations speak against."""
    return IntegrityError(sentence)


PATCH_POOLINGS: tuple[Pooling, ...] = ("max", "mean", "top-p")


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
