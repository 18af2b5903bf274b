"""``namesae sae eval`` and ``namesae sae density``: what a dictionary is worth, in figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from namesae.cli_options import AsJson, Debug, DictionaryName, Download, ImageSet, Quiet, Root

Store = Annotated[
    Path | None, typer.Option(metavar="STORE", help="Stored activations instead of images; no model is run.")
]
Count = Annotated[int, typer.Option(metavar="N", help="Measure on at most N images, drawn by seed.")]
Seed = Annotated[int, typer.Option(metavar="S", help="Of the choice, the controls and the intervals.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write files there.")]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="none|ATTRIBUTE",
        help="none: use no labels. Of the drawn world: object, colour, texture, background, size, count.",
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(metavar="OTHER", help="Another dictionary to measure beside it; may be repeated."),
]
Judge = Annotated[
    str | None,
    typer.Option(metavar="KIND:SOURCE", help="The model that says which images are alike, e.g. timm:FOLDER."),
]
Template = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Put class names into it, at {}; may be repeated."),
]
NoiseSteps = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, help="Training steps of the control on a random backbone; 0: no such control."
    ),
]


def evaluate(
    dictionary: DictionaryName,
    images: ImageSet = None,
    root: Root = Path("data"),
    download: Download = False,
    store: Store = None,
    labels: Labels = None,
    against: Against = None,
    judge: Judge = None,
    template: Template = None,
    count: Count = 2000,
    noise_steps: NoiseSteps = 600,
    out: Out = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Measure a dictionary: fit, sparsity, geometry, meaning, what the model still tells, and controls.

    Prints one table. With --out: report.html, evaluation.json, features.csv and the tables as CSV.

    \b
    Examples:
      namesae sae eval sandbox --count 500
      namesae sae eval sandbox-patch --count 300 --labels texture --out report
      namesae sae eval sandbox-vit --against sandbox --noise-steps 0 --count 500
      namesae sae eval sandbox --count 500 --json
    """
    from namesae.sae_evaluating import Wanted
    from namesae.sae_evaluating import evaluate as measure
    from namesae.sae_images import image_choice

    return measure(
        Wanted(
            dictionary=dictionary,
            images=image_choice(images, root=root, download=download),
            store=store,
            labels=labels,
            most=count,
            against=tuple(against or ()),
            judge=judge,
            templates=tuple(template or ()),
            noise_steps=noise_steps,
            out=out,
            seed=seed,
            quiet=quiet,
            as_json=as_json,
        )
    )


def density(
    dictionary: DictionaryName,
    images: ImageSet = None,
    root: Root = Path("data"),
    download: Download = False,
    store: Store = None,
    count: Count = 2000,
    out: Out = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Show how often features are active, by powers of ten, with the ultra-low-density cluster marked.

    With --out: density.csv, a feature a line, and density.svg.

    \b
    Examples:
      namesae sae density sandbox
      namesae sae density sandbox-patch --count 300 --out densities
      namesae sae density sandbox-vit --json
    """
    from namesae.sae_evaluating import Wanted, show_density
    from namesae.sae_images import image_choice

    return show_density(
        Wanted(
            dictionary=dictionary,
            images=image_choice(images, root=root, download=download),
            store=store,
            labels="none",
            most=count,
            out=out,
            seed=seed,
            quiet=quiet,
            as_json=as_json,
        )
    )


def add_to(app: typer.Typer) -> None:
    """Register both commands."""
    app.command("eval", short_help="Measure a dictionary, with controls beside it.")(evaluate)
    app.command("density", short_help="Show how often its features are active.")(density)
