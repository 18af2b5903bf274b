"""What ``namesae sae import`` does: any published dictionary into a folder of ours, checked on images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from namesae.sae_files import PATCH_POOLINGS, Written, backbone_spec, parse_mapping, refuse_existing, unfit
from namesae.sae_images import ImageChoice, open_images
from sae.card import BackboneSpec, Origin
from sae.pooling import Pooling
from tools.errors import UsageError

if TYPE_CHECKING:
    from sae.dictionary import SparseDictionary
    from sae.hooked import HookedBackbone
    from sae.loading import Loaded
    from sae.verifying import Fit, Verification

Accept = Literal["loaded", "best"]
SHOWN = 5


class Wanted(NamedTuple):
    """An import, as the person said it."""

    source: str
    out: Path
    flavor: str | None = None
    k: int | None = None
    mapping: str | None = None
    backbone: str | None = None
    hook_point: str | None = None
    pooling: Pooling | None = None
    verify: str | None = None
    images: int = 64
    accept: Accept | None = None
    name: str | None = None


class _Checked(NamedTuple):
    """A reading to be written."""

    dictionary: SparseDictionary
    origin: Origin
    verification: Verification | None = None


def import_dictionary(wanted: Wanted) -> Written:
    """Load, check where images are given, write; what to tell. IntegrityError where another reading fits."""
    from sae.loading import load

    refuse_existing(wanted.out)
    loaded = load(wanted.source, flavor=wanted.flavor, k=wanted.k, mapping=parse_mapping(wanted.mapping))
    spec = backbone_spec(wanted.backbone) if wanted.backbone else loaded.hints.backbone
    backbone = _load_backbone(spec, wanted, loaded)
    hook_point = wanted.hook_point or loaded.hints.hook_point(_blocks(backbone))
    origin = loaded.as_origin(
        wanted.name or wanted.out.name, backbone=spec, hook_point=hook_point, pooling=wanted.pooling
    )
    checked = _Checked(loaded.dictionary, origin)
    if wanted.verify is not None:
        if backbone is None:
            raise UsageError("Verifying takes a backbone; give it with --backbone KIND:SOURCE.")
        checked = _verified(wanted, loaded, origin, backbone=backbone)
    checked.dictionary.save(wanted.out, checked.origin)
    return _told(wanted, loaded, checked)


def _load_backbone(spec: BackboneSpec | None, wanted: Wanted, loaded: Loaded) -> HookedBackbone | None:
    """Only where something hangs on it: images to verify with, or a layer counted from the end."""
    from sae.backbone import load_backbone

    block = loaded.hints.block
    from_end = wanted.hook_point is None and block is not None and block < 0
    if spec is None or not (wanted.verify or from_end):
        return None
    return load_backbone(spec)


def _blocks(backbone: HookedBackbone | None) -> int | None:
    if backbone is None:
        return None
    return sum(name.startswith("block.") for name in backbone.hook_points)


def _verified(wanted: Wanted, loaded: Loaded, origin: Origin, *, backbone: HookedBackbone) -> _Checked:
    from sae.verifying import activations_around, verify

    source = open_images(ImageChoice(wanted.verify or "", most=wanted.images))
    pixels = backbone.preprocess([source.read(row).image for row in range(len(source))])
    tokens = _tokens(loaded, origin.pooling)
    around = activations_around(backbone, pixels, origin.hook_point, tokens=tokens)
    found = verify(loaded, around)
    if found.confirmed or wanted.accept == "loaded":
        return _Checked(loaded.dictionary, origin, found)
    if wanted.accept == "best":
        return _Checked(found.best_dictionary, _moved(origin, found.best), found)
    raise unfit(
        f"{found.sentence.rstrip('.')}; give other options, or --accept best or --accept loaded to write one."
    )


def _tokens(loaded: Loaded, pooling: Pooling) -> str:
    if loaded.hints.tokens == "all" and pooling in PATCH_POOLINGS:
        return "all"
    return {"none": "none", "cls": "cls"}.get(pooling, "patch")


def _moved(origin: Origin, best: Fit) -> Origin:
    """The origin with the place of the best reading."""
    hook, _, tokens = best.place.partition(" ")
    pooling = origin.pooling
    if tokens == "cls":
        pooling = "cls"
    elif tokens == "patch" and pooling not in PATCH_POOLINGS:
        pooling = "max"
    return origin.model_copy(update={"hook_point": hook, "pooling": pooling})


def _told(wanted: Wanted, loaded: Loaded, checked: _Checked) -> Written:
    made, origin = checked.dictionary, checked.origin
    shape = f"{made.architecture}, {made.n_features:,} features of width {made.width:,}"
    lines = [
        f"read as {loaded.format}   {shape}",
        f"activations of   {origin.backbone.source} at {origin.hook_point}, pooling {origin.pooling}",
        *(f"note   {note}" for note in loaded.notes),
        *_fit_lines(checked.verification),
        str(wanted.out),
    ]
    record: dict[str, Any] = {
        "format": loaded.format,
        "path": str(wanted.out),
        "architecture": made.architecture,
        "features": made.n_features,
        "width": made.width,
        "hook_point": origin.hook_point,
        "pooling": origin.pooling,
        "notes": list(loaded.notes),
        "verification": _fit_record(checked.verification),
    }
    return Written(lines, record)


def _fit_lines(found: Verification | None) -> list[str]:
    if found is None:
        return []
    rows = [f"  FVU {fit.fvu:9.3f}   L0 {fit.l0:8.1f}   {fit.reading}" for fit in found.fits[:SHOWN]]
    return [f"verified   {found.sentence}", *rows]


def _fit_record(found: Verification | None) -> dict[str, Any] | None:
    if found is None:
        return None
    fits = [{"reading": fit.reading, "fvu": fit.fvu, "l0": fit.l0} for fit in found.fits]
    return {"confirmed": found.confirmed, "sentence": found.sentence, "fits": fits}
