"""The worker that runs beside a service on a laptop: a child process, started again when it dies."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "namesae", "worker")
STEADY_S = 30.0
"""A worker that lived this long did not die of its beginning."""
LONGEST_PAUSE_S = 30.0


class Attendant:
    """Keeps one worker alive until stopped."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._command = command
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the worker; None while there is none."""
        with self._lock:
            return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def stop(self, patience_s: float) -> None:
        """Have the worker finish its step and leave; it is killed after ``patience_s`` seconds."""
        self._stopping.set()
        with self._lock:
            child = self._child
            if child is not None:
                child.terminate()
        if child is not None:
            try:
                child.wait(patience_s)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _keep(self) -> None:
        pause_s = 0.5
        while not self._stopping.is_set():
            began = time.monotonic()
            code = self._run()
            if self._stopping.is_set():
                return
            lived = time.monotonic() - began
            pause_s = 0.5 if lived > STEADY_S else min(2 * pause_s, LONGEST_PAUSE_S)
            log.warning("The worker ended with code %s; it is started again in %.1f s.", code, pause_s)
            self._stopping.wait(pause_s)

    def _run(self) -> int | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            # Ctrl-C goes to all processes of a terminal: in a session of its own it is told to stop by us.
            # The end of its standard input tells it that we are gone.
            child = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)
            self._child = child
        with child:
            code = child.wait()
        with self._lock:
            self._child = None
        return code
