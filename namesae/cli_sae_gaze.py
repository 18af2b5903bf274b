"""``namesae sae visualize``, ``steer``, ``taxonomy`` and ``vocabulary``: what features want, do and mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from namesae.cli_options import AsJson, Debug, Download, ImageSet, OneImage, Picture, Quiet, Root, Template
from sae.edit import Mode

How = Literal["cosine", "softmax"]
Feature = Annotated[str, typer.Argument(metavar="DICTIONARY#INDEX", help="A feature.")]


def visualize(
    feature: Feature,
    out: Picture,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of the search.")] = 256,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Images, side by side, the strongest first.")
    ] = 3,
    press: Annotated[
        float, typer.Option(metavar="W", min=0, help="How much all other features are pressed to 0.")
    ] = 0.5,
    images: ImageSet = None,
    root: Root = Path("data"),
    download: Download = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Draw what a feature wants to see: an image made, from noise, to make it active and no other.

    Says how active the feature is on each image beside how active real images make it. An image shows what
    the model answers to, which need not be what a person would call the feature.

    \b
    Examples:
      namesae sae visualize sandbox#68 --steps 64 --out fish.png
      namesae sae visualize sandbox-patch#12 --out patches.png
    """
    from namesae.sae_gazing import VisualizeWanted, draw_visualisation
    from namesae.sae_images import image_choice

    chosen = image_choice(images, root=root, download=download)
    return draw_visualisation(VisualizeWanted(feature, out, steps, seeds, press, chosen, quiet, as_json))


def steer(
    feature: Feature,
    image: OneImage = None,
    mode: Annotated[
        Mode,
        typer.Option(help="Add to the feature's activation, hold it there, scale it, or take it out."),
    ] = "add",
    alpha: Annotated[
        float,
        typer.Option(
            metavar="A",
            help="How much: a percentile of the feature's own activations, where it has any; with scale, "
            "per cent of what there is; minus takes off.",
        ),
    ] = 99.0,
    words: Annotated[
        str | None, typer.Option(metavar="a,b,c", help="Words to tell. Default: the generator's, all kinds.")
    ] = None,
    template: Template = "a picture of {}",
    patches: Annotated[
        str | None,
        typer.Option(metavar="3,7,10-20", help="On these patches only, counted row by row from 0."),
    ] = None,
    images: ImageSet = None,
    root: Root = Path("data"),
    download: Download = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Change one feature inside the model, nothing else, and see what the model then says of an image.

    Several features: DICTIONARY#3,7,10-12. Words are told by the text tower, classes by the model's own end.

    \b
    Examples:
      namesae sae steer sandbox#68 --mode ablate
      namesae sae steer sandbox#68 --image probe:5 --alpha 99 --words fish,bird,cup,chair
      namesae sae steer sandbox-patch#12 --mode clamp --alpha 50 --patches 0-15
      namesae sae steer sandbox-vit#20 --mode scale --alpha 200 --json
    """
    from namesae.sae_gazing import SteerWanted, show_steering
    from namesae.sae_images import image_choice

    chosen = image_choice(images, root=root, download=download)
    return show_steering(
        SteerWanted(feature, image, mode, alpha, words, template, patches, chosen, quiet, as_json)
    )


def taxonomy(
    dictionaries: Annotated[
        list[str], typer.Argument(metavar="DICTIONARY...", help="Two or more, in order of their blocks.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write taxonomy.json and tables as CSV there.")
    ] = None,
    images: ImageSet = None,
    root: Root = Path("data"),
    download: Download = False,
    threshold: Annotated[
        float, typer.Option(metavar="R", min=0, max=1, help="Correlation of a feature that is found again.")
    ] = 0.5,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Compare dictionaries on several blocks, or models, over the same images: which concept lives where.

    For every two the share of features found again, how alike the images' neighbours are, and the best
    matches; for every class of images the feature of each dictionary that goes with it best.

    \b
    Examples:
      namesae sae taxonomy sandbox-patch sandbox
      namesae sae taxonomy sandbox-patch sandbox sandbox-vit --out taxonomy
    """
    from namesae.sae_comparing import TaxonomyWanted, show_taxonomy
    from namesae.sae_images import image_choice

    chosen = image_choice(images, root=root, download=download)
    return show_taxonomy(TaxonomyWanted(tuple(dictionaries), out, chosen, threshold, quiet, as_json))


def vocabulary(
    features: Annotated[
        str, typer.Argument(metavar="DICTIONARY[#3,7,10-20]", help="Some features, or all of a dictionary.")
    ],
    words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A word or phrase a line. Default: the generator's words."),
    ] = None,
    template: Template = "a picture of {}",
    how: Annotated[
        How, typer.Option(help="Score words by cosine, or by its softmax over the vocabulary.")
    ] = "cosine",
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Words a feature.")] = 5,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Say which words lie nearest features' directions, where images and texts have one space.

    No image is drawn or read: a first guess, not a name that was tested.

    \b
    Examples:
      namesae sae vocabulary sandbox#68,92,132
      namesae sae vocabulary sandbox --how softmax --count 3
    """
    from namesae.sae_wording import VocabularyWanted, show_vocabulary

    return show_vocabulary(VocabularyWanted(features, words, template, how, count, quiet, as_json))


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("visualize", short_help="Draw an image that makes a feature active.")(visualize)
    app.command("steer", short_help="Change a feature inside the model and see what it then says.")(steer)
    app.command("taxonomy", short_help="Compare dictionaries: which concept lives where.")(taxonomy)
    app.command("vocabulary", short_help="Say which words lie nearest features.")(vocabulary)
