"""Options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
