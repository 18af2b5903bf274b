"""Reading the dictionaries when the service starts, so that nobody waits for it on the first page."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from namesae.service.service import Service

log = logging.getLogger(__name__)


class Warming:
    """A thread that asks once for what every first visitor asks for."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._thread = threading.Thread(target=self._read, name="warming", daemon=True)
        self.is_over = False
        self.then: Callable[[], object] = lambda: None
        """Called when it has read them."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self, wait_s: float) -> None:
        """Until it is over, or ``wait_s`` seconds."""
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    def _read(self) -> None:
        try:
            self._service.features.dictionaries()
            self.then()
        except Exception as error:  # noqa: BLE001 - whoever asks is told; nobody has asked yet
            log.warning("Reading the dictionaries failed: %s", error)
        finally:
            self.is_over = True
