"""``namesae sae collage`` and ``namesae sae relevance``: what features fire on, and where they look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from namesae.cli_options import (
    AsJson,
    Debug,
    DictionaryName,
    Download,
    ImageSet,
    OneImage,
    Picture,
    Quiet,
    Root,
)


def collage(
    dictionary: DictionaryName,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where collages and table go.")],
    images: ImageSet = None,
    root: Root = Path("data"),
    download: Download = False,
    features: Annotated[
        str | None,
        typer.Option(metavar="3,7,10-20", help="These features. Default: those of highest mean activation."),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="So many features, where none are given.")
    ] = 300,
    grid: Annotated[str, typer.Option(metavar="ROWSxCOLUMNS", help="Pictures of a collage.")] = "4x3",
    tile: Annotated[int, typer.Option(metavar="PIXELS", min=16, max=1024, help="Side of a picture.")] = 224,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Draw the images each feature is strongest on, and write a table to put down what they show.

    The table, interpretations.csv, has a line a feature: rank, index, collage, mean and highest activation,
    pictures, interpretation. Stored names are filled in; what a person wrote there before stays. The codes
    of the images are indexed once: the next call reads no image that was read before.

    \b
    Examples:
      namesae sae collage sandbox --out collages --top 20
      namesae sae collage sandbox --features 68,92,132 --grid 2x4 --out three
      namesae sae collage sandbox-vit --features 'truth>=0.9' --out objects
    """
    from namesae.sae_images import image_choice
    from namesae.sae_looking import CollageWanted, make_collages

    chosen = image_choice(images, root=root, download=download)
    wanted = CollageWanted(dictionary, chosen, features, top, grid, tile, out, quiet, as_json)
    return make_collages(wanted)


def relevance(
    feature: Annotated[
        str,
        typer.Argument(
            metavar="DICTIONARY#INDEX", help="A feature; with --word the dictionary alone will do."
        ),
    ],
    out: Picture,
    image: OneImage = None,
    word: Annotated[
        str | None,
        typer.Option(metavar="W", help="Not one feature, but those whose directions lie near this word."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="activation, chefer, chefer-rows, rollout, gradient-input, occlusion, random. "
            "Default: activation for dictionaries on patches, else chefer-rows.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say how much better than chance the map finds what matters.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Draw where in an image a feature looks: a map from black to white over what the model sees.

    \b
    Examples:
      namesae sae relevance sandbox#68 --out fish.png
      namesae sae relevance sandbox#68 --method occlusion --check --out fish.png
      namesae sae relevance sandbox --word fish --image probe:5 --out word.png
      namesae sae relevance sandbox-patch#12 --out patches.png
    """
    from namesae.sae_mapping import RelevanceWanted, draw_relevance

    wanted = RelevanceWanted(feature, image, word, method, out, check, quiet, as_json)
    return draw_relevance(wanted)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("collage", short_help="Draw the images features are strongest on, with a table.")(collage)
    app.command("relevance", short_help="Draw where in an image a feature looks.")(relevance)
