"""What dictionaries are trained on, as a person names it: a store of activations, or images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from namesae.sae_extracting import Looked, Model, look_at
from namesae.sae_images import ImageChoice, open_images
from sae.card import BackboneSpec, Origin, ProbeSet
from sae.pooling import Pooling
from sae.store.manifest import MANIFEST_FILE, PLAN_FILE, Scope
from tools.errors import UsageError

if TYPE_CHECKING:
    from sae.store.reader import ActivationStore
    from sae.stream import ActivationStream

POOLINGS: dict[Scope, Pooling] = {"pooled": "none", "cls": "cls", "patch": "max", "all": "max"}
"""How features of an image are read off what was trained on."""


class TrainingSource(NamedTuple):
    """A stream and where it comes from."""

    stream: ActivationStream
    identity: str
    """Changes when the activations do."""
    origin: Origin
    """Of every dictionary trained on it, their names left to them."""
    live: bool = False
    """Whether every epoch reads the images through the model anew."""


def open_source(images: ImageChoice, model: Model, *, layer: int | None) -> TrainingSource:
    """The activations meant. UsageError, BadStore, BadImages, BadModel."""
    path = Path(images.given).expanduser()
    if (path / MANIFEST_FILE).is_file() or (path / PLAN_FILE).is_file():
        return _store(path, model)
    if path.is_file() or (path.is_dir() and _holds_rows(path)):
        return _foreign(path, model, layer=layer)
    return _live(images, model)


def _holds_rows(path: Path) -> bool:
    from sae.store.saev import is_saev

    return is_saev(path) or any(path.glob("*.npy"))


def _store(path: Path, model: Model) -> TrainingSource:
    from sae.store.reader import open_store
    from sae.store.shuffle import RowStream

    store = open_store(path, model.hook_points)
    plan = store.manifest.plan
    if plan.backbone is None:
        looked = _looked(model, path)
        spec, hook_point = looked.spec, looked.hook_points[0]
    else:
        spec, hook_point = plan.backbone, store.part.hook_point
    return TrainingSource(
        RowStream(store),
        f"store {store.manifest.data_fingerprint} {hook_point} {store.part.scope} {plan.dtype}",
        _origin(spec, hook_point, store.part.scope, probe=_probe(plan.source, store)),
    )


def _foreign(path: Path, model: Model, *, layer: int | None) -> TrainingSource:
    from sae.store.opening import open_activations
    from sae.store.shuffle import RowStream

    looked = _looked(model, path)
    found = open_activations(path, layer=layer, scope=looked.scope)
    return TrainingSource(
        RowStream(found),
        f"{path.resolve()} layer {layer} {looked.scope}",
        _origin(looked.spec, looked.hook_points[0], looked.scope, probe=None),
    )


def _live(images: ImageChoice, model: Model) -> TrainingSource:
    from sae.store.extract import load_for_extraction
    from sae.store.live import BackboneStream
    from sae.store.tokens import hook_parts
    from tools.device import best_device

    source, looked = open_images(images), look_at(model)
    if len(looked.hook_points) != 1:
        raise UsageError("Say where to read the images with one --hook-point, such as block.3 or pooled.")
    backbone = load_for_extraction(looked.spec, device=best_device())
    stream = BackboneStream(backbone.model, source, looked.hook_points[0], scope=looked.scope)
    (part,) = hook_parts(backbone.model, looked.hook_points, looked.scope)
    return TrainingSource(
        stream,
        f"images {source.fingerprint} {backbone.fingerprint} {part.hook_point} {part.scope}",
        _origin(looked.spec, part.hook_point, part.scope, probe=_named_set(source.name, len(source))),
        live=True,
    )


def _looked(model: Model, path: Path) -> Looked:
    """The backbone of activations that do not say theirs."""
    if model.backbone is None and model.dictionary is None:
        raise UsageError(
            f"{path} does not say which model it is of; add --backbone KIND:SOURCE --hook-point NAME."
        )
    looked = look_at(model)
    if len(looked.hook_points) != 1:
        raise UsageError(f"{path} does not say where it was read; add one --hook-point.")
    return looked


def _probe(source: str, store: ActivationStore) -> ProbeSet | None:
    return _named_set(source, store.manifest.images)


def _named_set(source: str, images: int) -> ProbeSet | None:
    """Images that exemplars can be found in again: a folder or the drawn world, not a choice from them."""
    kind, _, folder = source.partition(":")
    if kind == "folder" and Path(folder).is_dir():
        return ProbeSet(source=folder, images=images)
    return ProbeSet(source=source, images=images) if source == "sandbox.sets" else None


def _origin(spec: BackboneSpec, hook_point: str, scope: Scope, *, probe: ProbeSet | None) -> Origin:
    folder = Path(spec.source)
    source = str(folder.resolve()) if folder.is_dir() else spec.source
    return Origin(
        name="dictionary",
        backbone=spec.model_copy(update={"source": source}),
        hook_point=hook_point,
        pooling=POOLINGS[scope],
        probe_set=probe,
    )
