"""A feature: its name and how sure that is, how it was found, what it fires on, and what is near it."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from fastapi import Depends, Path, Request, Response
from starlette.datastructures import FormData

from agent.records import Explanation
from namesae.pages.control_activations import ControlActivations
from namesae.pages.feature_histogram import feature_histogram
from namesae.pages.feature_view import feature_view
from namesae.pages.form_reading import fresh_key, go_to, key_of, order_from
from namesae.pages.page_route import Access, page_router
from namesae.pages.picture_tiles import TileStyle
from namesae.pages.refusals import form_of
from namesae.pages.rendering import render
from namesae.pages.verdict_words import MEANINGS
from namesae.service.errors import NotFound
from namesae.service.feature_query import Hit
from namesae.service.orders import NameOrder
from tools.errors import UsageError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from namesae.service.feature_query import DictionaryRow
    from namesae.service.service import Service

RUNS, NEAR = 6, 8
MOST_ASKED = 500
"""Characters of a question."""
By = Literal["decoder", "name", "activation"]
KINDS: tuple[tuple[By, str, str], ...] = (
    ("decoder", "Decoder directions", "cosine"),
    ("activation", "What they fire on", "cosine of activations"),
    ("name", "Names", "cosine of names"),
)
UNDECIDED = ("failed", "cancelled")
AT_WORK = ("queued", "running", "waiting", "paused")
Form = Annotated[FormData, Depends(form_of)]
Index = Annotated[int, Path(ge=0, le=9_999_999)]


class Near(NamedTuple):
    """Features near one, in one sense."""

    by: By
    title: str
    unit: str
    hits: tuple[Hit, ...]
    why_not: str = ""
    """Why there are none, where that is known."""


def router(service: Service, access: Access) -> APIRouter:
    """``/d/NAME/INDEX``, its parts, and what can be asked of it."""
    made, pages = page_router(), FeaturePages(service, access)
    read, run = [Depends(access.require("read"))], [Depends(access.require("run"))]
    made.get("/d/{name}/{index:int}", dependencies=read)(pages.page)
    made.get("/d/{name}/{index:int}/brief", dependencies=read)(pages.brief)
    made.get("/d/{name}/{index:int}/histogram", dependencies=read)(pages.histogram)
    made.get("/d/{name}/{index:int}/near", dependencies=read)(pages.near)
    made.get("/d/{name}/{index:int}/work", dependencies=read)(pages.work)
    made.post("/d/{name}/{index:int}/name", dependencies=run)(pages.start)
    made.post("/d/{name}/{index:int}/ask", dependencies=read)(pages.ask)
    return made


class FeaturePages:
    """What the routes of a feature answer."""

    def __init__(self, service: Service, access: Access) -> None:
        self.service, self.access = service, access
        self._control = ControlActivations(service)

    def page(self, request: Request, name: str, index: Index, maps: bool = False) -> Response:
        """The whole page; ``maps`` shows relevance at once."""
        features = self.service.features
        row, dictionary = features.row(name, index), features.dictionary(name)
        history = features.history(name, index, count=RUNS)
        told = shown_of(history)
        values: dict[str, Any] = {"name": name, "row": row, "history": history, "told": told, "maps": maps}
        return render(
            request,
            "feature.html.j2",
            **values,
            view=None if told is None else feature_view(told),
            dictionary=dictionary,
            no_maps=no_maps(dictionary),
            tile_style=partial(_tile_style, dictionary, index, shown=maps),
            small=TileStyle("drawn", 56),
            facts=features.facts(name, index) if told is None else None,
            meanings=MEANINGS,
            settings=self.service.settings,
            key=fresh_key(),
        )

    def brief(self, request: Request, name: str, index: Index) -> Response:
        """A feature in three lines, for the scatter plot."""
        return render(request, "feature_brief.html.j2", row=self.service.features.row(name, index))

    def histogram(self, request: Request, name: str, index: Index) -> Response:
        """Activations on control, exemplars and drawn images."""
        told = shown_of(self.service.features.history(name, index, count=RUNS))
        plots = () if told is None else feature_histogram(told, self._control.of(told))
        return render(request, "histogram.html.j2", name=name, index=index, plots=plots)

    def near(self, request: Request, name: str, index: Index) -> Response:
        """The nearest features in each sense."""
        kinds = tuple(self._near(name, index, kind=kind) for kind in KINDS)
        told = shown_of(self.service.features.history(name, index, count=1))
        fired = told.evidence.neighbours if told is not None and told.evidence is not None else ()
        return render(request, "near.html.j2", name=name, index=index, kinds=kinds, fired=fired)

    def work(self, request: Request, name: str, index: Index) -> Response:
        """The run that is at work on it now, if any."""
        runs = self.service.runs.list(feature=f"{name}#{index}", limit=5)
        at_work = [each for each in runs if each.state in AT_WORK]
        return render(request, "feature_work.html.j2", name=name, index=index, runs=at_work)

    def start(self, request: Request, name: str, index: Index, given: Form) -> Response:
        """Start a run and lead to it, or back where the answer was stored."""
        order = order_from(NameOrder, given, feature=f"{name}#{index}")
        who = self.access.principal_of(request).name
        begun = self.service.runs.start(order, who=who, key=key_of(given))
        here, run = f"/d/{quote(name, safe='')}/{index}", f"/runs/{quote(begun.run, safe='')}"
        return go_to(request, here if begun.stored else run)

    def ask(self, request: Request, name: str, index: Index, given: Form) -> Response:
        """How to ask: answers are worked out where the models are."""
        question = str(given.get("question", "")).strip()[:MOST_ASKED]
        if not question:
            raise UsageError("There is no question; write one.")
        self.service.features.row(name, index)
        command = shlex.join(["namesae", "ask", f"{name}#{index}", question])
        has_llm = self.service.settings.openai_api_key is not None
        told: dict[str, Any] = {"question": question, "command": command, "has_llm": has_llm}
        return render(request, "asked.html.j2", name=name, index=index, **told)

    def _near(self, name: str, index: int, *, kind: tuple[By, str, str]) -> Near:
        by, title, unit = kind
        try:
            return Near(by, title, unit, self.service.features.similar(name, index, by=by, limit=NEAR))
        except NotFound:
            raise
        except UsageError as error:
            return Near(by, title, unit, (), str(error))


def shown_of(history: tuple[Explanation, ...]) -> Explanation | None:
    """The explanation a page is about: the latest that came to a verdict, else the latest."""
    decided = (each for each in history if each.verdict not in UNDECIDED)
    return next(decided, history[0] if history else None)


def _tile_style(dictionary: DictionaryRow, index: int, what: str, *, shown: bool) -> TileStyle:
    """How pictures are shown that relevance may be mapped on."""
    if no_maps(dictionary) is not None:
        return TileStyle(what)
    maps = f"/d/{quote(dictionary.name, safe='')}/{index}/relevance/"
    return TileStyle(what, maps=maps, mapped=shown)


def no_maps(dictionary: DictionaryRow) -> str | None:
    """Why relevance cannot be mapped; None where it can be tried."""
    if dictionary.fault is not None:
        return dictionary.fault
    if dictionary.backbone is None:
        return "Relevance maps need weights, and this dictionary is planted."
    return None
