"""Errors of requests, each with the HTTP status that says the same."""

from __future__ import annotations

from tools.errors import NamesaeError, UsageError


class NotFound(UsageError):
    """There is nothing of that name (404)."""


class Conflict(UsageError):
    """It cannot be done as things stand: already decided, already ended, another body under one key (409)."""


class QueueFull(NamesaeError):
    """As many jobs wait as may (429)."""

    exit_code = 4

    def __init__(self, waiting: int, *, retry_after_s: int) -> None:
        super().__init__(f"{waiting:,} jobs wait already; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class NotAllowed(NamesaeError):
    """The token is missing, unknown or expired (401), or does not reach so far (403)."""

    exit_code = 2

    def __init__(self, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.status = status
        """401 asks for a token; 403 says that this one does not suffice."""
