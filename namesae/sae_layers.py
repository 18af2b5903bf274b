"""What ``namesae sae layers`` does: a table of hook points from which to choose one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from namesae.image_progress import ImageProgress
from namesae.reporters import tell, write_json
from namesae.sae_extracting import Model, look_at, output
from namesae.sae_images import ImageChoice, open_images

if TYPE_CHECKING:
    from sae.layer_quality import LayerQuality, LayerTable

NO_FIGURE = "-"


class Order(NamedTuple):
    """What the person wants to compare."""

    images: ImageChoice
    model: Model
    batch_size: int = 32
    seed: int = 0
    quiet: bool = False
    as_json: bool = False


class _Column(NamedTuple):
    """A figure of the table."""

    title: str
    text: Callable[[LayerQuality], str]


def compare_layers(order: Order) -> int:
    """Measure hook points and print what they are like; the exit code."""
    with output(as_json=order.as_json) as out:
        _compare(order, out)
    return 0


def _compare(order: Order, out: TextIO) -> None:
    from sae.backbone import load_backbone
    from sae.layer_quality import LayerOptions, measure_layers
    from tools.device import best_device

    looked = look_at(order.model)
    source = open_images(order.images)
    backbone = load_backbone(looked.spec, device=best_device())
    # Blocks first, what follows them last.
    named = order.model.hook_points and looked.hook_points
    scope = looked.scope if named else order.model.tokens or "patch"
    points = named or sorted(backbone.hook_points, key=lambda name: not name.startswith("block."))
    options = LayerOptions(scope=scope, batch_size=order.batch_size, seed=order.seed)
    with ImageProgress(quiet=order.quiet) as progress:
        table = measure_layers(source, backbone, hook_points=points, options=options, told=progress)
    if not order.as_json:
        for line in table_lines(table):
            tell(line, out)
        return
    for layer in table.layers:
        write_json("layer", layer.model_dump(mode="json"), out=out)
    write_json("done", table.model_dump(mode="json", exclude={"layers"}), out=out)


COLUMNS = (
    _Column("hook point", lambda layer: layer.hook_point),
    _Column("tokens", lambda layer: f"{layer.tokens} {layer.scope}"),
    _Column("width", lambda layer: str(layer.width)),
    _Column("norm", lambda layer: f"{layer.norm:.3g}"),
    _Column("variance", lambda layer: f"{layer.variance:.3g}"),
    _Column("gamma", lambda layer: _figure(layer.gamma)),
    _Column("rank", lambda layer: f"{layer.effective_rank:.1f}"),
    _Column("kurtosis", lambda layer: f"{layer.kurtosis:.2f}"),
    _Column("outliers", lambda layer: str(layer.outlier_dimensions)),
    _Column("massive", lambda layer: f"{layer.massive_tokens:.2%}"),
    _Column("classes", lambda layer: _figure(layer.separability)),
    _Column("kNN", lambda layer: _figure(layer.purity)),
)


def table_lines(table: LayerTable) -> list[str]:
    """The table, how much each hook point agrees with the next and the last, and what was read."""
    names = [layer.hook_point for layer in table.layers]
    found = {(each.first, each.second): each.cknna for each in table.alignment}
    rows = [[column.title for column in COLUMNS] + ["CKNNA next", "last"]]
    for at, layer in enumerate(table.layers):
        following = [found.get((layer.hook_point, name)) for name in (*names[at + 1 : at + 2], names[-1])]
        shown = [_figure(value) for value in following]
        rows.append([column.text(layer) for column in COLUMNS] + [*[NO_FIGURE] * (2 - len(shown)), *shown])
    chance = table.layers[0].purity_by_chance
    told = f"{table.images:,} images" + (f", {table.skipped} skipped" if table.skipped else "")
    classes = "" if chance is None else f", {table.classes} classes, kNN by chance {chance:.2f}"
    return [*_aligned(rows), f"{told}{classes}"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if at == 0 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _figure(value: float | None) -> str:
    return NO_FIGURE if value is None else f"{value:.2f}"
