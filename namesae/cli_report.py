"""The command ``report``: what is known of a dictionary as a whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from namesae.cli_options import AsJson, Debug, DictionaryName
from tools.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", short_help="Tell how far and how well a dictionary is named.")(report)


def report(
    dictionary: DictionaryName,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one self-contained page, a line a feature."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Tell how far a dictionary is named, how well its names hold on images the search has not seen, what
    they cost, and which names several features share."""
    from namesae.dictionaries import find_dictionary
    from namesae.dictionary_report import report_on
    from namesae.report_lines import report_lines
    from namesae.report_page import write_report_page
    from namesae.reporters import write_json
    from namesae.service.features import Features
    from namesae.settings import load_settings
    from namesae.wiring import open_state

    if html is not None and html.is_dir():
        raise UsageError(f"{html} is a folder; give --html a file.")
    settings = load_settings()
    listed = find_dictionary(dictionary, settings)
    with open_state(settings) as state:
        found, answers = report_on(listed.name, Features(settings, state, also=[listed]))
        if html is not None:
            write_report_page(found, answers, state.images, path=html)
    if as_json:
        write_json("report", found.model_dump(mode="json"), out=sys.stdout)
    elif html is not None:
        sys.stdout.write(f"{html}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in report_lines(found))
    return 0
