"""A training's log as a table: the mean of every tag, epoch by epoch or step by step."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from sae.event_file import Scalar

By = Literal["epoch", "step"]
EPOCH = "epoch"
"""Tag that says in which epoch a step was."""


class LogTable(NamedTuple):
    """Means by tag."""

    by: By
    tags: tuple[str, ...]
    rows: tuple[LogRow, ...]


class LogRow(NamedTuple):
    """One epoch or step."""

    at: int
    means: tuple[float | None, ...]
    """By tag; None where a tag has no value here."""


def tabulate(scalars: Sequence[Scalar], *, epoch_steps: int | None = None) -> LogTable:
    """Average every tag by epoch: of ``epoch_steps`` steps each, or as the tag 'epoch' beside it says.

    A tag for which neither is known counts its own steps as epochs, as logs written once an epoch do.
    """
    epochs = {(_place(each.tag), each.step): int(each.value) for each in scalars if _name(each.tag) == EPOCH}
    tags = tuple(dict.fromkeys(each.tag for each in scalars if _name(each.tag) != EPOCH))
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in scalars:
        if _name(each.tag) != EPOCH:
            known = epochs.get((_place(each.tag), each.step), each.step)
            at = known if epoch_steps is None else each.step // epoch_steps
            found[at][each.tag].append(each.value)
    rows = tuple(
        LogRow(at, tuple(fmean(found[at][tag]) if found[at][tag] else None for tag in tags))
        for at in sorted(found)
    )
    by: By = "epoch" if epochs or epoch_steps else "step"
    return LogTable(by, tags, rows)


def as_csv(table: LogTable) -> str:
    """Comma-separated values with a header; missing ones are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([table.by, *table.tags])
    writer.writerows(
        [row.at, *("" if mean is None else f"{mean:.9g}" for mean in row.means)] for row in table.rows
    )
    return out.getvalue()


def as_markdown(table: LogTable) -> str:
    """A Markdown table, four significant digits."""
    head = f"| {' | '.join((table.by, *(tag.replace('|', '/') for tag in table.tags)))} |"
    rule = f"|{'---:|' * (1 + len(table.tags))}"
    lines = [
        f"| {' | '.join((str(row.at), *('' if mean is None else f'{mean:.4g}' for mean in row.means)))} |"
        for row in table.rows
    ]
    return "\n".join([head, rule, *lines]) + "\n"


def _name(tag: str) -> str:
    return tag.rpartition("/")[2]


def _place(tag: str) -> str:
    return tag.rpartition("/")[0]
