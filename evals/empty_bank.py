"""A bank that knows nothing and keeps nothing: every naming starts from scratch, whatever ran before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tools.bank import BankRow, PromptFiring, PromptResponse


class EmptyBank:
    """Implements agent.toolbox.Bank."""

    def prompts_that_fire(self, index: int, *, top: int) -> Sequence[PromptFiring]:
        """None."""
        return ()

    def responses(self, index: int, *, top: int = 400, quiet: int = 400) -> Sequence[PromptResponse]:
        """None."""
        return ()

    def add(self, rows: Iterable[BankRow]) -> int:
        """Drops them."""
        return 0

    def row(self, image: str) -> BankRow | None:
        """None."""
        return None
