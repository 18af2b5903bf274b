"""What ``namesae sae log`` does: event files to a table."""

from __future__ import annotations

import sys
from pathlib import Path

from namesae.reporters import tell
from sae.event_file import read_log
from sae.event_table import EPOCH, as_csv, as_markdown, tabulate
from tools.errors import UsageError

FORMATS = {"csv": as_csv, "markdown": as_markdown}


def tabulate_log(
    folder: Path, *, form: str, out: Path | None, epoch_steps: int | None, tags: str | None
) -> int:
    """Write the table; the exit code. UsageError for a tag that is not there."""
    scalars = read_log(folder)
    if tags is not None:
        wanted = {each.strip() for each in tags.split(",")} | {EPOCH}
        there = {each.tag for each in scalars}
        missing = [tag for tag in sorted(wanted) if tag not in there and tag != EPOCH]
        if missing:
            raise UsageError(f"Tag {missing[0]!r} is not in {folder}; it has {', '.join(sorted(there))}.")
        scalars = [each for each in scalars if each.tag in wanted or each.tag.endswith(f"/{EPOCH}")]
    text = FORMATS[form](tabulate(scalars, epoch_steps=epoch_steps))
    if out is None:
        sys.stdout.write(text)
        return 0
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    tell(f"wrote {out}", sys.stderr)
    return 0
