"""``namesae evals``: run a suite, write its report, export its results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from namesae.cli_options import AsJson, Debug, Quiet, Yes
from namesae.proposers import ProposerName

evals = typer.Typer(rich_markup_mode=None)

Suite = Annotated[
    str, typer.Argument(metavar="SUITE", help="A suite file (TOML or YAML), or sandbox-quick, ...")
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The --out of a run.")]


@evals.command("run", short_help="Run a suite, or what of it is missing.")
def run(
    suite: Suite,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results and the report go.")],
    conditions: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these of the suite's conditions.")
    ] = None,
    proposer: Annotated[ProposerName | None, typer.Option(help="Instead of the suite's.")] = None,
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Run what is missing of a suite, then write its report. Stopped at any point, the command continues."""
    from namesae.evals_reporters import choose_listener
    from namesae.evaluating import Wanted, run_suite

    only = (
        None if conditions is None else tuple(each.strip() for each in conditions.split(",") if each.strip())
    )
    wanted = Wanted(suite=suite, out=out, only=only, proposer=proposer, yes=yes, debug=debug)
    return run_suite(wanted, choose_listener(as_json=as_json, quiet=quiet))


@evals.command("report", short_help="Write the report of a run, finished or not.")
def report(folder: Folder, as_json: AsJson = False, debug: Debug = False) -> int:
    """Write report.html, report.md and the tables of a run; a report over half a run says what is missing."""
    from namesae.evaluating import report_on

    return report_on(folder, as_json=as_json)


@evals.command("list", short_help="List the built-in suites and the conditions.")
def show(as_json: AsJson = False, debug: Debug = False) -> int:
    """List the built-in suites and the conditions there are."""
    from namesae.evaluating import list_suites

    return list_suites(as_json=as_json)


@evals.command("export", short_help="Export results for other tools.")
def export(
    folder: Folder,
    to: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    form: Annotated[
        str, typer.Option("--format", metavar="inspect|datasets", help="For which tool.")
    ] = "inspect",
    debug: Debug = False,
) -> int:
    """Write results as inspect_ai .eval logs, one a condition, or as a Hugging Face data set."""
    from namesae.evaluating import export_results

    return export_results(folder, to, form=form)
