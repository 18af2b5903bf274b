"""The command ``export``: named features in the formats of others."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from namesae.cli_options import Debug, DictionaryName
from tools.errors import UsageError

if TYPE_CHECKING:
    from agent.records import VerdictKind

Format = Literal["csv", "jsonl", "explanations", "neuronpedia", "cosy"]
BINARY: tuple[Format, ...] = ("neuronpedia",)
"""Formats that are no text."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export", short_help="Write named features as CSV, JSON lines, or for other tools.")(export)


def export(
    dictionary: DictionaryName,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="|".join(get_args(Format)),
            help="Figures a feature, whole explanations, or names for Neuronpedia (gzipped) or CoSy.",
        ),
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here, in one step. Default: stdout.")
    ] = None,
    verdict: Annotated[
        list[str] | None, typer.Option(metavar="VERDICT", help="Only these; may be repeated.")
    ] = None,
    min_auroc: Annotated[
        float | None, typer.Option(metavar="A", min=0, max=1, help="Only of a sealed AUROC of at least A.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Write what is known of the features of a dictionary that have a verdict, in order of their index."""
    from namesae.dictionaries import find_dictionary
    from namesae.service.exporting import Exporting
    from namesae.service.feature_query import FeatureQuery
    from namesae.service.features import Features
    from namesae.settings import load_settings
    from namesae.wiring import open_state

    if out is None and form in BINARY and sys.stdout.isatty():
        raise UsageError(f"Format {form} is no text; give a file with --out.")
    settings = load_settings()
    listed = find_dictionary(dictionary, settings)
    query = FeatureQuery(which="answered", verdict=_verdicts(verdict or ()), min_auroc=min_auroc)
    with open_state(settings) as state:
        exporting = Exporting(Features(settings, state, also=[listed]))
        parts = exporting.stream(listed.name, form, query=query)
        if out is None:
            sys.stdout.buffer.writelines(parts)
            sys.stdout.buffer.flush()
        else:
            _write_file(parts, out)
    return 0


def _verdicts(given: Sequence[str]) -> tuple[VerdictKind, ...]:
    from agent.records import VerdictKind

    known: tuple[VerdictKind, ...] = get_args(VerdictKind)
    for each in given:
        if each not in known:
            raise UsageError(f"Verdict {each!r} does not exist; there are {', '.join(known)}.")
    return tuple(each for each in known if each in given)


def _write_file(parts: Iterable[bytes], path: Path) -> None:
    from sae.whole_file import whole_file

    if path.is_dir():
        raise UsageError(f"{path} is a folder; give --out a file.")
    try:
        with whole_file(path) as partial, partial.open("wb") as file:
            file.writelines(parts)
    except FileNotFoundError as error:
        raise UsageError(f"Folder {path.parent} does not exist; make it, or write elsewhere.") from error
