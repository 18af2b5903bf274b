"""``namesae sae train`` and ``namesae sae log``: train dictionaries, tabulate how that went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from namesae.cli_options import (
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

Format = Literal["markdown", "csv"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train", short_help="Train dictionaries on activations.")(train)
    app.command("log", short_help="Tabulate TensorBoard logs of a training.")(log)


def train(
    source: Annotated[
        str,
        typer.Argument(metavar="STORE|IMAGES", help="A store of activations, or images to read on the fly."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The dictionary's folder, or that of several.")],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YAML file of one recipe, or of several.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME[,NAME]", help="Recipes by name, trained side by side.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of all, e.g. optimiser.lr=1e-3."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier call stopped.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the activations are like and what would be trained.")
    ] = False,
    backbone: Backbone = None,
    dictionary: ReadAs = None,
    hook_point: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of a store that holds several, or where to read images."),
    ] = None,
    tokens: TokenScope = None,
    layer: Annotated[int | None, typer.Option(metavar="N", help="Which layer of a foreign store.")] = None,
    max_images: MostImages = None,
    seed: Seed = 0,
    root: Root = Path("data"),
    download: Download = False,
    every: Annotated[
        int, typer.Option("--checkpoint-every", metavar="N", min=1, help="Steps between checkpoints.")
    ] = 1000,
    log_every: Annotated[int, typer.Option(metavar="N", min=1, help="Steps between lines of the log.")] = 50,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Train one dictionary, or several on the same pass over the activations.

    A recipe comes from --config, --preset or both; --set changes it. What the activations are like is
    measured first, with what that asks of the recipe. Stopped at any point, --resume continues to the
    same dictionary. DIR/logs holds TensorBoard's files.

    Examples:

      namesae sae extract sandbox.sets --dictionary sandbox --out store

      namesae sae train store --preset namesae-topk --set n_features=256 --set k=8 --set steps=500
      --set batch_size=512 --out trained

      namesae sae train store --preset msae-rw,dn-cbm,openai-topk --set steps=200 --set batch_size=512
      --out three

      namesae sae train sandbox.sets --dictionary sandbox --preset namesae-batchtopk --dry-run --out other
    """
    from namesae.sae_extracting import Model
    from namesae.sae_images import ImageChoice
    from namesae.sae_training import Order, train_dictionaries

    return train_dictionaries(
        Order(
            images=ImageChoice(source, root=root, download=download, most=max_images, seed=seed),
            model=Model(backbone, dictionary, hook_point, tokens),
            layer=layer,
            out=out,
            config=config,
            presets=tuple(each.strip() for each in (preset or "").split(",") if each.strip()),
            changes=tuple(changes or ()),
            resume=resume,
            dry_run=dry_run,
            seed=seed,
            every=every,
            log_every=log_every,
            quiet=quiet,
            as_json=as_json,
        )
    )


def log(
    folder: Annotated[
        Path, typer.Argument(metavar="LOGDIR", help="A folder of event files, or one of them.")
    ],
    form: Annotated[Format, typer.Option("--format", help="Of the table.")] = "markdown",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where it goes; default: stdout.")] = None,
    epoch_steps: Annotated[
        int | None,
        typer.Option("--epoch-steps", metavar="N", min=1, help="Steps of an epoch, where logs do not say."),
    ] = None,
    tags: Annotated[str | None, typer.Option(metavar="A,B", help="Only these tags.")] = None,
    debug: Debug = False,
) -> int:
    """Average every logged figure by epoch: logs of namesae, or TensorBoard's of anybody.

    Where logs do not say which epoch a step was in, every step is a row.

    Examples:

      namesae sae train store --preset namesae-topk --set k=8 --set steps=300 --set batch_size=512
      --out trained

      namesae sae log trained/logs

      namesae sae log trained/logs --format csv --tags fvu,l0 --out trained.csv
    """
    from namesae.sae_log import tabulate_log

    return tabulate_log(folder, form=form, out=out, epoch_steps=epoch_steps, tags=tags)
