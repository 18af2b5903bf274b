"""From a folder of results to its scoreboard, and the few lines of it that a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evals.cell import Cell
from evals.contenders import contenders
from evals.figure_text import with_interval
from evals.results import RunRecord
from evals.scoreboard import SanityRow, Scoreboard
from evals.summary import Description, summarise


class Note(NamedTuple):
    """What a reader must know, where one of some conditions was run; of any where none is named."""

    text: str
    conditions: tuple[str, ...] = ()


LINE, MILS = ("line-auc", "line-mad", "line-mean"), ("mils", "mils-short")
NOTES = (
    Note(
        "Every condition is charged for each image its search asks for, races included; images are drawn "
        "once and shared. namesae's verdict takes further images of its own, told as 'own judge'."
    ),
    Note(
        "Names are judged on sealed images: seeds that nothing else has, not even namesae's own judge, a "
        "template that no search uses, and control images that no condition sees."
    ),
    Note(
        "Means are of the names a condition gives: what it abstains from, or cannot be drawn or read, has "
        "none."
    ),
    Note(
        "Without an LLM, LINE and MILS propose with the engine of the lexical proposer, from the history "
        "that the loop shows it and nothing else.",
        (*LINE, *MILS),
    ),
    Note(
        "LINE and MILS draw with the generator's own search template, without the camera angles and "
        "lighting of the original, and a step that fails costs a step, not the run.",
        (*LINE, *MILS),
    ),
    Note(
        "MILS starts from the ten seed classes that LINE gets, where the original starts from one bare "
        "prompt.",
        MILS,
    ),
    Note(
        "LINE, MILS, CLIP-Dissect, cosine and the constant name choose among words and pairs of words; an "
        "OR or NOT only namesae, INVERT and the truth can say.",
        (*LINE, *MILS, "clip-dissect", "cosine", "constant"),
    ),
    Note(
        "namesae also sees tags of the exemplars and the words nearest the decoder, LINE and MILS the "
        "seed classes; INVERT reads labels of the probe set.",
        (*LINE, *MILS, "invert"),
    ),
)
"""What deviates from the methods as published."""
ENGLISH = (
    Note(
        "namesae without an LLM, LINE and MILS search over the generator's words and nearly 1,900 English "
        "ones that it cannot draw. All are told its card; a word that it refuses all the same costs no "
        "image, but a step of LINE and MILS that proposes one is a step."
    ),
    Note(
        "CLIP-Dissect, cosine, INVERT, the constant and the random name are handed the words that can be "
        "drawn, and no others: that flatters them.",
        ("clip-dissect", "cosine", "invert", "constant", "random"),
    ),
)
"""What else holds where the search is over an English list."""


def board_of(cells: Sequence[Cell], record: RunRecord, *, sanity: Sequence[SanityRow] = ()) -> Scoreboard:
    """The scoreboard of a run, finished or not."""
    suite = record.suite
    return summarise(
        cells,
        Description(
            suite=suite.name,
            description=suite.description,
            version=record.version,
            seed=suite.seed,
            proposer=record.proposer,
            sealed=suite.sealed,
            control=record.control,
            expected=record.expected,
            sanity=tuple(sanity),
            quoted=suite.quoted,
            missing=record.missing,
            notes=_notes(record),
        ),
        right=_right,
    )


def leaders(board: Scoreboard, *, most: int) -> list[str]:
    """The first lines of the leaderboard, and what it was made of."""
    lines = [
        f"{each.title:<24} accuracy {with_interval(each.row.accuracy)}   sealed AUROC "
        f"{with_interval(each.row.auroc)}   {each.row.charged:.0f} images a feature"
        for each in contenders(board)[:most]
    ]
    told = board.totals
    return [
        *lines,
        f"{told.cells:,} cells of {told.features} features; {told.charged:,} search images charged, "
        f"{told.distinct:,} distinct; {told.judged:,} judged.",
    ]


def _right(cell: Cell, name: str) -> bool | None:
    return next((each.right for each in cell.interim if each.name == name), None)


def _notes(record: RunRecord) -> tuple[str, ...]:
    listed = {each.condition for each in record.conditions}
    notes = (*NOTES, *(ENGLISH if record.suite.words == "english" else ()))
    return tuple(note.text for note in notes if not note.conditions or listed.intersection(note.conditions))
