"""The pages over a store, without the rest of the service: open to everybody, with its security headers."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from agent.request import Request as NameRequest
from agent.request import RunSettings
from namesae.dictionaries import find_dictionary
from namesae.pages.site import add_pages
from namesae.service.doorway import HEADERS
from namesae.service.errors import NotFound
from namesae.service.service import Service
from namesae.service.tokens import LOCAL
from namesae.settings import Settings, load_settings
from namesae.wiring import State, Workbench, open_state
from tests.recorded_runs import recorded_trace
from tools.fakes import FakeGenerator, MemoryImageStore
from tools.image_store import png_of
from tools.protocols import DrawRequest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from agent.records import Explanation

CHROMIUM = shutil.which("chromium")
NAMED = (0, 1, 2)
"""Features of the planted dictionary that ``named_service`` names."""


class OpenAccess:
    """Lets everybody do everything."""

    def require(self, scope: str, /) -> Any:
        """A dependency that asks for nothing."""

        def pass_all(request: Request) -> Any:
            request.state.principal = LOCAL
            return LOCAL

        return pass_all

    def principal_of(self, request: Request, /) -> Any:
        """The principal of this machine."""
        return LOCAL


def pages_app(service: Service) -> FastAPI:
    """Pages, images and headers."""
    app = FastAPI()
    add_pages(app, service, OpenAccess())

    @app.get("/images/{sha}")
    def image(sha: str) -> Response:
        try:
            return Response(png_of(service.state.images.get(sha)), media_type="image/png")
        except (KeyError, NotFound):
            return Response(status_code=404)

    @app.middleware("http")
    async def headers(request: Request, handle: Any) -> Any:
        answer = await handle(request)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    return app


@contextlib.contextmanager
def fake_service(redis_url: str, home: Path) -> Iterator[Service]:
    """A service over an empty store, with the planted dictionary ``fake``."""
    settings = load_settings(home=home, redis_url=redis_url, fakes=True)
    with open_state(settings) as state:
        state.client.flushdb()
        yield Service(settings, state)
        state.client.flushdb()


def name_some(service: Service, indices: tuple[int, ...] = NAMED) -> None:
    """Name planted features as a worker does."""
    listed = find_dictionary("fake", service.settings)
    bench = Workbench(service.settings, service.state, listed=listed)
    for index in indices:
        bench.name(index)


def file_run(state: State, settings: Settings, *, text: str, index: int, **changes: Any) -> Explanation:
    """Record a run of fake#INDEX in which ``text`` stands wherever an LLM or a person could have written."""
    told = recorded_trace(state.images, text=text).explanation
    assert told is not None
    feature = told.feature.model_copy(update={"index": index})
    request = NameRequest(feature=feature, models="m", proposer="lexical", settings=RunSettings(seed=index))
    run = state.runs.begin(request, now=time.time(), again=True)
    filed = told.model_copy(update={"feature": feature, "run": run, **changes})
    state.runs.finish(request, filed, now=time.time())
    return filed


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app on a free port of this machine; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("The server did not start.")
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def picture_of(prompt: str) -> bytes:
    """A PNG of what the planted dictionary sees there."""
    store = MemoryImageStore()
    (drawn,) = FakeGenerator(store)([DrawRequest(prompt=prompt, seed=3)])
    assert drawn.image is not None
    return png_of(store.get(drawn.image))
