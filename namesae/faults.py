"""From an exception to one sentence and an exit code."""

from __future__ import annotations

import errno
from typing import NamedTuple

from sae.errors import (
    BadCheckpoint,
    BadDictionary,
    BadEvents,
    BadImages,
    BadIndex,
    BadInterpretations,
    BadModel,
    BadRecipe,
    BadStore,
    ModelUnreachable,
    NoAttention,
    NoTextTower,
    SilentFeature,
    UnfitMethod,
    UnfitRequest,
    UnknownHookPoint,
    UnreadableWords,
    WrongStore,
    WrongTokens,
)
from tools.errors import DependencyError, IntegrityError, NamesaeError, UsageError

EXIT_CODES: dict[type[Exception], int] = {
    UnfitRequest: UsageError.exit_code,
    BadDictionary: IntegrityError.exit_code,
    BadModel: IntegrityError.exit_code,
    UnknownHookPoint: UsageError.exit_code,
    NoTextTower: UsageError.exit_code,
    WrongStore: UsageError.exit_code,
    BadStore: IntegrityError.exit_code,
    BadImages: UsageError.exit_code,
    BadIndex: IntegrityError.exit_code,
    BadInterpretations: UsageError.exit_code,
    BadRecipe: UsageError.exit_code,
    BadCheckpoint: IntegrityError.exit_code,
    BadEvents: UsageError.exit_code,
    WrongTokens: UsageError.exit_code,
    NoAttention: UsageError.exit_code,
    SilentFeature: UsageError.exit_code,
    UnfitMethod: UsageError.exit_code,
    UnreadableWords: UsageError.exit_code,
    ModelUnreachable: DependencyError.exit_code,
}
"""Of errors that know nothing of command lines; a subclass stands before its class."""


class Fault(NamedTuple):
    """What the person is told."""

    sentence: str
    exit_code: int
    expected: bool
    """False for a mistake of ours, whose traceback matters."""


def fault_of(error: BaseException) -> Fault:
    """The sentence and the exit code of an error."""
    if isinstance(error, NamesaeError):
        return Fault(_one_line(str(error)), error.exit_code, True)
    for kind, code in EXIT_CODES.items():
        if isinstance(error, kind):
            return Fault(_one_line(str(error)), code, True)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        where = f" {error.filename}" if error.filename else ""
        return Fault(
            f"Writing{where} failed ({error.strerror}); make room or set NAMESAE_HOME to another folder, "
            "then repeat the command to continue.",
            DependencyError.exit_code,
            True,
        )
    told = _one_line(str(error))[:300]
    return Fault(
        f"Unexpected {type(error).__name__}{': ' if told else ''}{told}; repeat with --debug to see where.",
        1,
        False,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
