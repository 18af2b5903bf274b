"""A page of the service in a real browser, and whatever it did that it should not have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from namesae.service.service import Service
from tests.pages_app import chromium, pages_app, serving
from tests.xss_payloads import EVIL

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE = 120_000
"""Milliseconds: the machine may be busy."""
WATCH = """
window.reports = []; window.owned = (what) => window.reports.push("ran: " + what);
document.addEventListener("securitypolicyviolation", (e) => window.reports.push(
  "csp: " + e.violatedDirective + " " + e.blockedURI));
"""
FOUND = """() => [...window.reports,
  ...[...document.querySelectorAll("*")]
    .filter((e) => [...e.attributes].some((a) => /^on|^hx-on/i.test(a.name)))
    .map((e) => "handler: " + e.outerHTML.slice(0, 80)),
  ...[...document.querySelectorAll(
      "script:not([src]), iframe, base, #bait, link[href*=evil], [data-watch='/login']")]
    .map((e) => "element: " + e.outerHTML.slice(0, 80)),
  ...[...document.querySelectorAll("[href], [src], [action]")].flatMap((e) => [e.href, e.src, e.action])
    .filter((u) => typeof u === "string" && u && !u.startsWith(location.origin))
    .map((u) => "leads away: " + u)]"""
INSERT = """async ([path, form]) => {
  const body = form ? new URLSearchParams(form) : null;
  const answer = await fetch(path, {method: form ? "POST" : "GET", body, headers: {"HX-Request": "true"}});
  const place = document.createElement("div");
  place.innerHTML = await answer.text();
  document.querySelector("main").append(place);
  htmx.process(place);
  await new Promise((done) => setTimeout(done, 5));
  return answer.status;
}"""


class Watched(NamedTuple):
    """A page and what it did that it should not have."""

    page: Page
    url: str
    faults: list[str]

    def open(self, path: str) -> int:
        """Visit a path, wait for what it fetches, and note what went wrong; its status."""
        answer = self.page.goto(self.url + path, wait_until="load")
        assert answer is not None
        self.faults.extend(f"{path[:60]}: {each}" for each in self.page.evaluate(FOUND))
        return answer.status

    def insert(self, path: str, form: dict[str, str] | None = None) -> int:
        """Put an answer into the open page, as HTMX does, and note what went wrong; its status."""
        status: int = self.page.evaluate(INSERT, [path, form])
        self.faults.extend(f"{path[:60]}: {each}" for each in self.page.evaluate(FOUND))
        self.page.evaluate("document.querySelector('main').lastElementChild.remove()")
        return status


@contextlib.contextmanager
def watching(service: Service) -> Iterator[Watched]:
    """The pages over a service, in a browser that notes dialogs, errors and requests to elsewhere."""
    with serving(pages_app(service)) as url, chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        context.add_init_script(WATCH)
        page, faults = context.new_page(), list[str]()
        page.set_default_timeout(PATIENCE)
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: _note_foreign(request.url, url, faults))
        yield Watched(page, url, faults)
        context.close()


def _note_foreign(asked: str, own: str, faults: list[str]) -> None:
    if not asked.startswith((own, "data:", "about:", "blob:")) or EVIL in asked.partition("?")[0]:
        faults.append(f"asked for {asked}")
