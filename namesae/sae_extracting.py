"""What ``namesae sae extract`` does: images, or a foreign store, to a store of activations."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from namesae.image_progress import ImageProgress
from namesae.places import place_of
from namesae.reporters import take_stdout, tell, write_json
from namesae.sae_images import ImageChoice, open_images
from namesae.settings import load_settings
from namesae.stopping import Interrupted, Stop, stoppable
from sae.card import BACKBONES, BackboneSpec, DictionaryCard
from sae.store.manifest import ITEM_BYTES, MANIFEST_FILE, Dtype, HookPart, Manifest, Scope
from tools.errors import UsageError

if TYPE_CHECKING:
    from sae.store.extract import Progress

SCOPES: dict[str, Scope] = {"none": "pooled", "cls": "cls"}
"""From the pooling of a card; all others read patches."""


class Model(NamedTuple):
    """What is looked at, as the person said it."""

    backbone: str | None
    dictionary: str | None
    hook_points: str | None
    tokens: Scope | None


class Order(NamedTuple):
    """An extraction, as the person said it."""

    out: Path
    images: ImageChoice | None
    model: Model
    foreign: Path | None = None
    layer: int | None = None
    dtype: Dtype = "fp16"
    batch_size: int = 32
    refuse_broken: bool = False
    check: bool = False
    quiet: bool = False
    as_json: bool = False


class Looked(NamedTuple):
    """A backbone and where it is read."""

    spec: BackboneSpec
    hook_points: tuple[str, ...]
    """Empty where the person named none."""
    scope: Scope


def extract(order: Order) -> int:
    """Write or continue a store, say what is in it; the exit code."""
    with output(as_json=order.as_json) as out:
        with stoppable() as stop, ImageProgress(quiet=order.quiet) as progress:
            try:
                manifest = _work(order)(order, progress)
                checked = _check(order, progress) if order.check else None
            except Interrupted:
                return _stopped(stop)
        if order.as_json:
            write_json("done", _record(order.out, manifest, checked=checked), out=out)
            return 0
        for line in lines_of(order.out, manifest, checked=checked):
            tell(line, out)
    return 0


@contextmanager
def output(*, as_json: bool) -> Iterator[TextIO]:
    """Where results go: stdout, for JSON alone where that is asked for."""
    if not as_json:
        yield sys.stdout
        return
    with take_stdout() as out:
        yield out


def look_at(model: Model) -> Looked:
    """The backbone and the hook points meant. UsageError where that cannot be said."""
    named = tuple(each.strip() for each in (model.hook_points or "").split(",") if each.strip())
    if (model.backbone is None) == (model.dictionary is None):
        raise UsageError("Give the model to read: either --backbone KIND:SOURCE or --dictionary NAME.")
    if model.backbone is not None:
        place = place_of(model.backbone, beside=Path.cwd(), kinds=BACKBONES, what="Backbone")
        spec = BackboneSpec(kind=place.kind, source=place.source, revision=place.revision)
        return Looked(spec, named, model.tokens or "patch")
    folder, card = _card(model.dictionary or "")
    scope = model.tokens or SCOPES.get(card.pooling, "patch")
    return Looked(card.backbone.located(folder), named or (card.hook_point,), scope)


def _card(name: str) -> tuple[Path, DictionaryCard]:
    from namesae.dictionaries import find_dictionary

    listed = find_dictionary(name, load_settings())
    if listed.folder is None or listed.card is None:
        raise UsageError(f"Dictionary {name!r} has no backbone to read; give another.")
    return listed.folder, listed.card


def _work(order: Order) -> Callable[[Order, ImageProgress], Manifest]:
    if order.foreign is not None:
        return _convert
    if order.images is not None:
        return _extract
    if order.check and (order.out / MANIFEST_FILE).is_file():
        return lambda order, progress: _finished(order.out)
    raise UsageError("Give images to read, or --from another project's store, or --check of a finished one.")


def _extract(order: Order, progress: ImageProgress) -> Manifest:
    assert order.images is not None
    from sae.store.extract import Extraction, Wanted, load_for_extraction
    from tools.device import best_device

    looked = look_at(order.model)
    if not looked.hook_points:
        raise UsageError("Say where to read with --hook-point, such as block.3,pooled.")
    source = open_images(order.images)
    wanted = Wanted(
        looked.hook_points,
        scope=looked.scope,
        dtype=order.dtype,
        batch_size=order.batch_size,
        skip_unreadable=not order.refuse_broken,
    )

    def told(now: Progress) -> None:
        progress(now.done, now.images, f", {now.skipped} skipped" if now.skipped else "")

    backbone = load_for_extraction(looked.spec, device=best_device())
    return Extraction(source, backbone, wanted).run(order.out, told=told)


def _convert(order: Order, progress: ImageProgress) -> Manifest:
    from sae.store.foreign import ForeignStore
    from sae.store.opening import convert, open_activations

    assert order.foreign is not None
    found = open_activations(order.foreign, layer=order.layer, scope=order.model.tokens or "patch")
    if not isinstance(found, ForeignStore):
        raise UsageError(f"{order.foreign} is a store of ours already; it can be used as it is.")
    return convert(found, order.out, dtype=order.dtype, told=progress)


def _check(order: Order, progress: ImageProgress) -> int:
    from sae.store.reader import check_sums

    return check_sums(order.out)


def _finished(folder: Path) -> Manifest:
    from sae.store.reader import read_manifest

    return read_manifest(folder)


def _stopped(stop: Stop) -> int:
    tell("Stopped by a signal; whole shards are kept, and the same command continues.", sys.stderr)
    return 128 + (stop.number or signal.SIGTERM)


def lines_of(folder: Path, manifest: Manifest, *, checked: int | None) -> list[str]:
    """What a person is told of a store."""
    lines = [_part_line(part, manifest) for part in manifest.plan.parts]
    skipped = manifest.skipped
    if skipped:
        others = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        lines.append(f"{len(skipped)} of {manifest.plan.images:,} images skipped: {skipped[0].image}{others}")
    if checked is not None:
        lines.append(f"checked   every sum of {_size(checked)} is right")
    return [*lines, str(folder)]


def _part_line(part: HookPart, manifest: Manifest) -> str:
    held = manifest.statistics[part.folder]
    size = _size(held.rows * part.width * ITEM_BYTES[manifest.plan.dtype])
    gamma = "none" if held.gamma is None else f"{held.gamma:.2f}"
    return (
        f"{part.hook_point}   {part.scope}   {manifest.images:,} images x {part.tokens} = {held.rows:,} rows "
        f"of {part.width}, {manifest.plan.dtype}, {size}   gamma {gamma}"
    )


def _record(folder: Path, manifest: Manifest, *, checked: int | None) -> dict[str, object]:
    brief = [
        part.model_dump(mode="json")
        | {"rows": held.rows, "gamma": held.gamma, "variance": sum(held.variance) / part.width}
        for part in manifest.plan.parts
        for held in (manifest.statistics[part.folder],)
    ]
    return {
        "store": str(folder),
        "source": manifest.plan.source,
        "images": manifest.images,
        "skipped": [each.model_dump(mode="json") for each in manifest.skipped],
        "dtype": manifest.plan.dtype,
        "data_fingerprint": manifest.data_fingerprint,
        "hook_points": brief,
        "checked_bytes": checked,
    }


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
