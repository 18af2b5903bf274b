"""A real service over a real Redis, listening on a free port of this machine, for tests of the API."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI

from namesae.service.app import ServeOptions, create_app
from namesae.service.service import Service
from namesae.service.serving import Server, address_of, listening
from namesae.settings import Settings
from namesae.wiring import open_state

OPTIONS = ServeOptions(port=0, heartbeat_s=0.3, drain_s=2.0)


class Place(NamedTuple):
    """Where a service listens."""

    url: str
    service: Service
    app: FastAPI
    server: Server


def settings_at(url: str, home: Path) -> Settings:
    """Settings with the planted dictionary and no proposer that costs."""
    return Settings.model_validate(
        {"home": home, "redis_url": url, "fakes": True, "proposer": "lexical", "sealed_images": 10}
    )


@contextlib.contextmanager
def served(settings: Settings, options: ServeOptions = OPTIONS) -> Iterator[Place]:
    """A service that answers until the block ends."""
    with open_state(settings) as state, listening(options) as place:
        service = Service(settings, state)
        app = create_app(service, options=options)
        server = Server(app, options)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started
        yield Place(address_of(place, options), service, app, server)
        server.should_exit = True
        app.state.hub.end_streams()
        thread.join(10)
        assert not thread.is_alive()
