"""How fast a batch goes: what is done, how many images a feature took, how long the rest will take."""

from __future__ import annotations

import time

from namesae.batch_records import BatchProgress, BatchRow


class Pace:
    """Counts of one call."""

    def __init__(self, total: int) -> None:
        self._total, self._began = total, time.monotonic()
        self._rows: dict[int, BatchRow] = {}
        self._fresh = self._surveyed = 0

    def survey(self, charged: int) -> None:
        """The survey is over: its images are everybody's, and the clock of the namings starts."""
        self._surveyed, self._began = charged, time.monotonic()

    def count(self, row: BatchRow, *, fresh: bool) -> None:
        """A feature is through; ``fresh``: it was named by this call."""
        self._rows[row.index] = row
        self._fresh += fresh

    def progress(self) -> BatchProgress:
        """How far it is."""
        done, named = len(self._rows), sum(row.put_forward for row in self._rows.values())
        search = sum(row.search for row in self._rows.values())
        each = (time.monotonic() - self._began) / self._fresh if self._fresh else None
        return BatchProgress(
            done=done,
            total=self._total,
            named=named,
            abstained=done - named,
            images=search / done + self._surveyed / self._total if done else None,
            seconds_left=None if each is None else each * (self._total - done),
        )
