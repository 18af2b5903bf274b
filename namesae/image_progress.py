"""How far a command is that reads many images."""

from __future__ import annotations

import time

from namesae.meter import Mark, Meter


class ImageProgress(Meter):
    """Told how many images are done; the first call counts as what was there before."""

    def __init__(self, *, quiet: bool = False, bar: bool | None = None) -> None:
        super().__init__(quiet=quiet, bar=bar, transient=True)
        self._begun: tuple[float, int] | None = None

    def __call__(self, done: int, of: int, note: str = "") -> None:
        """So many are done, of so many."""
        now = time.monotonic()
        self._begun = self._begun or (now, done)
        speed = (done - self._begun[1]) / max(now - self._begun[0], 1e-9)
        line = f"{done:,} of {of:,} images   {speed:,.0f} a second{note}"
        self.show(Mark("images", done, of, note.strip()), line, last=self._begun[1] < done == of)
