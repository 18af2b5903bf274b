"""What a conversation, or anyone's graph, may still use: the one place that grants and charges tool calls."""

from __future__ import annotations

from agent.budget import Budget, Limit, Limits, Spent, Usage

LAST = 1.5
"""Turns of the last one's size that must be left for another tool call; with fewer, the answer is due."""


class Purse:
    """Limits beside what was spent so far. Not for several threads: the kit's lock guards it."""

    def __init__(self, limits: Limits, spent: Spent | None = None) -> None:
        self.limits, self.spent = limits, spent or Spent()

    @property
    def images_left(self) -> int:
        """Images that may still be asked for."""
        return Budget(self.limits, self.spent).left(race=True)

    def affords(self, images: int) -> bool:
        """Whether this many more images may be drawn."""
        return images <= self.images_left

    def charge(self, *, images: int = 0, seconds: float = 0.0) -> None:
        """Images asked of the generator, and time."""
        spent = self.spent
        self.spent = spent.model_copy(
            update={"search": spent.search + images, "seconds": spent.seconds + max(0.0, seconds)}
        )

    def turn(self, usage: Usage, *, seconds: float) -> None:
        """One exchange with an LLM."""
        self.charge(seconds=seconds)
        rounds = self.spent.rounds + 1
        self.spent = self.spent.model_copy(update={"rounds": rounds, "usage": self.spent.usage + usage})

    def spent_out(self) -> Limit | None:
        """The limit that forbids another exchange with the LLM; None where none does."""
        return self._beyond(0.0)

    def answer_due(self) -> Limit | None:
        """The limit that leaves room for one exchange and not for two, judged by the mean one so far."""
        return self._beyond(LAST)

    def _beyond(self, turns: float) -> Limit | None:
        spent, limits = self.spent, self.limits
        used: tuple[tuple[Limit, float | None, float | None], ...] = (
            ("llm_calls", spent.usage.calls, limits.llm_calls),
            ("tokens", spent.usage.tokens, limits.tokens),
            ("usd", spent.usage.usd, limits.usd),
            ("seconds", spent.seconds, limits.seconds),
        )
        for name, now, most in used:
            if most is None:
                continue
            each = 1.0 if name == "llm_calls" else (now or 0.0) / max(1, spent.usage.calls)
            if (now or 0.0) >= most or (now or 0.0) + turns * each > most:
                return name
        return None
