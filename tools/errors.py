"""Errors the person is told in one sentence: what, the value, the remedy. Exit code by class."""

from __future__ import annotations


class NamesaeError(Exception):
    """Base of every error that prints as one sentence, without a traceback."""

    exit_code = 1


class UsageError(NamesaeError):
    """The request or the configuration is wrong (exit 2)."""

    exit_code = 2


class DependencyError(NamesaeError):
    """Something we need could not be reached: Redis, an LLM endpoint, a model hub (exit 3)."""

    exit_code = 3


class BudgetError(NamesaeError):
    """A limit set by the person stopped the work (exit 4)."""

    exit_code = 4


class IntegrityError(NamesaeError):
    """A stored thing is not what its manifest says (exit 5)."""

    exit_code = 5


class ToolError(Exception):
    """The agent's mistake: told to the proposer as a failed proposal, never to the person."""
