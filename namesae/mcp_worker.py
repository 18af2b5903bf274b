"""The worker of an MCP server that runs by itself: a child process, started when an order lies untaken."""

from __future__ import annotations

import threading

from namesae.service.attendant import Attendant


class WorkerOnDemand:
    """Call it to have a worker; calling it again changes nothing.

    Nobody stops the worker: it sees the end of its standard input when this process ends, however that
    happens, finishes its step and leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attendant: Attendant | None = None

    def __call__(self) -> None:
        """Start the worker, the first time."""
        with self._lock:
            if self._attendant is None:
                self._attendant = Attendant()
                self._attendant.start()

    @property
    def pid(self) -> int | None:
        """Of the worker; None while there is none."""
        return None if self._attendant is None else self._attendant.pid
