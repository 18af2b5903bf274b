"""How a training goes: the figures of each dictionary, as they are logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from namesae.meter import Mark, Meter

if TYPE_CHECKING:
    from sae.trainer.run import Seen


class TrainingProgress(Meter):
    """Told what is logged."""

    def __call__(self, seen: Seen) -> None:
        """One logged step of one dictionary."""
        figures = f"FVU {seen.fvu:.3f}   L0 {seen.l0:.1f}   dead {seen.dead:,}   lr {seen.lr:.2g}"
        line = f"{seen.name}   step {seen.step:,} of {seen.steps:,}   {figures}"
        self.show(Mark(seen.name, seen.step, seen.steps, figures), line, last=seen.step == seen.steps)
