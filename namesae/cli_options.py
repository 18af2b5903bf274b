"""Options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from namesae.proposers import ProposerName

Chosen = Annotated[
    ProposerName | None,
    typer.Option(help="Who has the ideas: an LLM, or a search over words. Default: openai with a key."),
]
MaxImages = Annotated[int | None, typer.Option(metavar="N", help="Search images a feature. Default: 100.")]
CostLimit = Annotated[
    float | None, typer.Option(metavar="USD", help="What the LLM may cost a feature. Default: 0.10.")
]
Generator = Annotated[
    str | None, typer.Option(metavar="FOLDER|ID", help="Draw with this diffusers folder or hub id.")
]
Images = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Take exemplars and control images from this folder.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would use; draw and ask nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Spend without a limit in dollars.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, everything else on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

# Of ``namesae sae``.

Tokens = Literal["cls", "patch", "all", "pooled"]
IMAGE_SETS = "A folder, sandbox.sets, torchvision:NAME[:SPLIT] or hf:NAME[:SPLIT]"

DictionaryName = Annotated[
    str, typer.Argument(metavar="DICTIONARY", help="A name (see namesae dictionaries) or a folder.")
]
ReadAs = Annotated[
    str | None,
    typer.Option("--dictionary", metavar="NAME", help="Read where this dictionary reads, as it does."),
]
Backbone = Annotated[
    str | None,
    typer.Option(metavar="KIND:SOURCE", help="open_clip:, timm:, transformers:... and a folder or hub id."),
]
TokenScope = Annotated[
    Tokens | None,
    typer.Option(
        help="Which tokens of each image, where there are any. Default: patch, or the dictionary's."
    ),
]
ImageSet = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="IMAGES",
        help=f"{IMAGE_SETS}; a subfolder is a class. Default: the first dictionary's probe set.",
    ),
]
MostImages = Annotated[
    int | None, typer.Option("--max-images", metavar="N", min=1, help="Draw N of the images.")
]
Root = Annotated[Path, typer.Option(metavar="DIR", help="Where torchvision's sets lie or go.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch a set of torchvision's that is not there.")]
Seed = Annotated[int, typer.Option(metavar="S", min=0, help="Of every draw.")]
OneImage = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|probe:N",
        help="A picture, or the N-th of the probe set. Default: the strongest of the probe set.",
    ),
]
Picture = Annotated[Path, typer.Option(metavar="PNG", help="The picture to write.")]
Template = Annotated[str, typer.Option(metavar="TEXT", help="What words are put into, at {}.")]
