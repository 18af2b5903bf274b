"""What the ``python -m namesae.…`` programs have in common: a sentence for an error, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from namesae.faults import fault_of
from namesae.reporters import tell


def run_program(work: Callable[[], str]) -> int:
    """Do the work and print what it says; the exit code, after one sentence for an error that is expected."""
    try:
        said = work()
    except Exception as error:
        fault = fault_of(error)
        if not fault.expected:
            raise
        tell(f"Error: {fault.sentence}", sys.stderr)
        return fault.exit_code
    tell(said, sys.stdout)
    return 0
