"""The pictures and figures that tools have shown, by the short ids that an answer may cite."""

from __future__ import annotations

from collections.abc import Sequence

from agent.tool_results import DIGITS, Figure, Picture
from sae.intervals import Interval


class Catalogue:
    """Gives ids in order; goes on where the given pictures and figures end."""

    def __init__(self, pictures: Sequence[Picture] = (), figures: Sequence[Figure] = ()) -> None:
        self.pictures = {each.id: each for each in pictures}
        self.figures = {each.id: each for each in figures}

    def picture(self, image: str, activation: float, *, meaning: str) -> Picture:
        """A picture under an id; the same picture shown for the same reason keeps its first."""
        activation = round(activation, DIGITS)
        for each in self.pictures.values():
            if (each.image, each.activation, each.meaning) == (image, activation, meaning):
                return each
        made = Picture(
            id=f"img-{len(self.pictures) + 1}", image=image, activation=activation, meaning=meaning
        )
        self.pictures[made.id] = made
        return made

    def figure(
        self, value: float, meaning: str, *, interval: tuple[float, float] | Interval | None = None
    ) -> Figure:
        """A figure under an id; the same value of the same meaning keeps its first."""
        low, high = (None, None) if interval is None else (round(each, DIGITS) for each in interval)
        figure = Figure(
            id=f"fig-{len(self.figures) + 1}",
            value=round(value, DIGITS),
            low=low,
            high=high,
            meaning=meaning,
        )
        for each in self.figures.values():
            if each.model_copy(update={"id": figure.id}) == figure:
                return each
        self.figures[figure.id] = figure
        return figure
