"""``make demo``: one clear feature of the embedded dictionary, named, and where to look."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from agent.records import Explanation
from namesae.dictionaries import FAKE, TruthRow, find_dictionary, read_truth
from namesae.lines import cost_text, images_text
from namesae.naming import Order, name_features
from namesae.reporters import choose_reporter
from namesae.settings import Settings, load_settings
from namesae.wiring import open_state

DICTIONARY = "sandbox"
WELCOME = """\
namesae names a feature of a sparse autoencoder: it proposes pictures, draws them, looks at what the
feature does on them, and has the best name judged on pictures it has never seen. No LLM, no download.
"""
CLEAR = ("texture", "object", "word")
"""Kinds of concepts that a single word names and a single picture shows."""


def main() -> None:
    """``python -m namesae.demo``"""
    sys.exit(run_demo())


def run_demo(*, debug: bool = False) -> int:
    """Name the feature, always without an LLM, and print where everything is; the exit code."""
    settings = load_settings(proposer="lexical")
    dictionary = FAKE if settings.fakes else DICTIONARY
    row = clearest(read_truth(find_dictionary(dictionary, settings)))
    print(WELCOME)
    order = Order(selection=f"{dictionary}#{row.index}")
    outcome = name_features(
        order, settings, reporter=choose_reporter(as_json=False, quiet=False), debug=debug
    )
    if outcome.summary.error:
        print(f"Error: {outcome.summary.error}", file=sys.stderr)
    for explanation in outcome.explanations:
        _point(explanation, row=row, settings=settings)
    return outcome.summary.exit_code


def clearest(rows: tuple[TruthRow, ...]) -> TruthRow:
    """The feature of one word that its activation tells best; the lowest index of equals."""
    clear = [row for row in rows if row.kind in CLEAR and len(row.concept.split()) == 1]
    return max(clear or rows, key=lambda row: (round(row.f1 or 0.0, 3), -row.index))


def _point(explanation: Explanation, *, row: TruthRow, settings: Settings) -> None:
    sheet, page = write_reports(explanation, settings)
    spent = f"{explanation.cost.seconds:.0f} s"
    if explanation.stored:
        spent = f"{spent} on {explanation.created[:10]}; stored, so nothing was drawn now"
    told = {
        "truth": f"{row.concept!r} (F1 {row.f1 or 0.0:.2f}), which the search did not know",
        "cost": f"{cost_text(explanation) or '$0, no LLM'}, {images_text(explanation)}, {spent}",
        "pictures": str(sheet),
        "trace": str(page),
    }
    print()
    for label, text in told.items():
        print(f"  {label:<10}{text}")
    print("\nNext:")
    for command, why in next_commands(explanation):
        print(f"  {command}\n      {why}")


def write_reports(explanation: Explanation, settings: Settings) -> tuple[Path, Path]:
    """Write contact sheet and trace page of a run into the data folder; their paths."""
    from namesae.contact_sheet import write_contact_sheet
    from namesae.trace_html import write_trace_html
    from namesae.traces import read_trace

    folder = settings.home / "reports"
    with open_state(settings) as state:
        trace = read_trace(explanation.run, state, settings=settings)
        return (
            write_contact_sheet(explanation, state.images, path=folder / f"{explanation.run}.png"),
            write_trace_html(trace, state.images, path=folder / f"{explanation.run}.html"),
        )


def next_commands(explanation: Explanation) -> tuple[tuple[str, str], ...]:
    """Three commands to try, each with what it does."""
    namesae, feature = command_name(), explanation.feature
    return (
        (
            f"{namesae} name '{feature.dictionary}#truth>=0.8' --sample 5",
            "five more features, one after another",
        ),
        (
            f"OPENAI_API_KEY=sk-... {namesae} name {feature}",
            "the same feature, with the ideas of an LLM and your own key, at most $0.10",
        ),
        (
            f"{python_name()} -m namesae.make_dictionary PICTURES && {namesae} name clip-b32#0",
            "a dictionary of a folder of your pictures on CLIP ViT-B/32, drawn by SD-Turbo (wants a GPU)",
        ),
    )


def command_name() -> str:
    """How this installation's command is called from here."""
    beside = Path(sys.executable).with_name("namesae")
    return "namesae" if shutil.which("namesae") or not beside.exists() else _from_here(beside)


def python_name() -> str:
    """How this installation's Python is called from here."""
    return _from_here(Path(sys.executable))


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


if __name__ == "__main__":
    main()
