"""``namesae sae extract`` and ``namesae sae layers``: store activations, choose where to read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from namesae.cli_options import (
    IMAGE_SETS,
    AsJson,
    Backbone,
    Debug,
    Download,
    MostImages,
    Quiet,
    ReadAs,
    Root,
    Seed,
    TokenScope,
)

Numbers = Literal["fp16", "bf16", "fp32"]

HookPoint = Annotated[
    str | None, typer.Option(metavar="A,B", help="block.3, pooled, or the path of a module; several at once.")
]
Batch = Annotated[int, typer.Option(metavar="N", min=1, help="Images a pass.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("extract", short_help="Store activations of images.")(extract)
    app.command("layers", short_help="Compare hook points, to choose one.")(layers)


def extract(
    out: Annotated[Path, typer.Option(metavar="STORE", help="The store's folder.")],
    images: Annotated[str | None, typer.Argument(metavar="[IMAGES]", help=f"{IMAGE_SETS}.")] = None,
    backbone: Backbone = None,
    dictionary: ReadAs = None,
    hook_point: HookPoint = None,
    tokens: TokenScope = None,
    dtype: Annotated[Numbers, typer.Option(help="How numbers are stored.")] = "fp16",
    batch_size: Batch = 32,
    max_images: MostImages = None,
    seed: Seed = 0,
    root: Root = Path("data"),
    download: Download = False,
    refuse_broken: Annotated[
        bool, typer.Option("--refuse-broken", help="Stop at an image that cannot be decoded, do not skip it.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read the whole store and compare its sums.")
    ] = False,
    foreign: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="Convert a store of MSAE, sative or saev.")
    ] = None,
    layer: Annotated[int | None, typer.Option(metavar="N", help="Which layer of that store.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Read images through a backbone and store what its hook points hold; the same command continues.

    Examples:

      namesae sae extract sandbox.sets --backbone open_clip:sandbox/models/clip
      --hook-point block.2,pooled --out store

      namesae sae extract sandbox.sets --dictionary sandbox-patch --max-images 500 --out store-patch

      namesae sae extract --out store --check
    """
    from namesae.sae_extracting import Model, Order
    from namesae.sae_extracting import extract as work
    from namesae.sae_images import ImageChoice

    chosen = images and ImageChoice(images, root=root, download=download, most=max_images, seed=seed)
    order = Order(
        out=out,
        images=chosen or None,
        model=Model(backbone, dictionary, hook_point, tokens),
        foreign=foreign,
        layer=layer,
        dtype=dtype,
        batch_size=batch_size,
        refuse_broken=refuse_broken,
        check=check,
        quiet=quiet,
        as_json=as_json,
    )
    return work(order)


def layers(
    images: Annotated[str, typer.Argument(metavar="IMAGES", help=f"{IMAGE_SETS}.")],
    backbone: Backbone = None,
    dictionary: ReadAs = None,
    hook_point: HookPoint = None,
    tokens: TokenScope = None,
    batch_size: Batch = 32,
    max_images: Annotated[int, typer.Option(metavar="N", min=4, help="Draw N of the images.")] = 1000,
    seed: Seed = 0,
    root: Root = Path("data"),
    download: Download = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Measure what the activations of every hook point are like, to choose the one to train on.

    variance: mean over dimensions. gamma: how far off centre, above 1 centre first. rank: effective
    rank. kurtosis: excess. outliers: dimensions six times the median size. massive: tokens five times
    the median norm. classes: share of variance between classes. kNN: nearest images of the same class.
    CKNNA: agreement about neighbours with the next and with the last hook point.

    Examples:

      namesae sae layers sandbox.sets --backbone open_clip:sandbox/models/clip

      namesae sae layers sandbox.sets --backbone timm:sandbox/models/vit --max-images 500 --json
    """
    from namesae.sae_extracting import Model
    from namesae.sae_images import ImageChoice
    from namesae.sae_layers import Order, compare_layers

    chosen = ImageChoice(images, root=root, download=download, most=max_images, seed=seed)
    model = Model(backbone, dictionary, hook_point, tokens)
    return compare_layers(Order(chosen, model, batch_size, seed, quiet=quiet, as_json=as_json))
