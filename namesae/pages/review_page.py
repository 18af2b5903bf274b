"""The review desk: names that wait, blind choices between two names, and rulings on the name of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from namesae.pages.evals_page import csv_file
from namesae.pages.figures import segment
from namesae.pages.form_reading import order_from
from namesae.pages.page_route import Access, page_router
from namesae.pages.refusals import form_of, refused, texts_of
from namesae.pages.rendering import render
from namesae.pages.search_steps import Shown
from namesae.service.orders import RuleOrder
from namesae.service.review_records import Asking, Choice, Pair, Vote
from tools.errors import NamesaeError, UsageError

if TYPE_CHECKING:
    from agent.records import Explanation
    from namesae.service.service import Service

Form = Annotated[FormData, Depends(form_of)]
Name = Annotated[str, Query(max_length=200)]
DISAGREEMENTS = 25
IMAGES = 16


def router(service: Service, access: Access) -> APIRouter:
    """/review, its votes, and /review/{run}."""
    made = page_router()
    read, run = Depends(access.require("read")), Depends(access.require("run"))
    pages = ReviewPages(service, access)
    made.get("/review", dependencies=[read])(pages.desk)
    made.get("/review/votes.csv", dependencies=[read])(pages.export)
    made.post("/review/vote", dependencies=[run])(pages.vote)
    made.get("/review/{run}", dependencies=[read])(pages.asking)
    made.post("/review/{run}", dependencies=[run])(pages.rule)
    return made


class ReviewPages:
    """What the routes of the review desk answer."""

    def __init__(self, service: Service, access: Access) -> None:
        self.service, self.access = service, access

    def desk(self, request: Request, dictionary: Name = "", voted: Name = "") -> HTMLResponse:
        """What waits, the next two names to choose between, and where names disagree."""
        return self._desk(request, dictionary, voted=voted)

    def vote(self, request: Request, form: Form) -> Response:
        """Write a choice down, then the next two names; what cannot be done is said above them."""
        feature = str(form.get("feature", ""))
        dictionary = feature.rpartition("#")[0]
        try:
            self.service.reviews.vote(
                feature,
                who=self.access.principal_of(request).name,
                choice=_choice(str(form.get("choice", ""))),
                left=str(form.get("a", "")),
                right=str(form.get("b", "")),
                note=str(form.get("note", "")),
            )
        except NamesaeError as error:
            return self._desk(request, dictionary, error=error)
        url = f"/review?dictionary={segment(dictionary)}&voted={segment(feature)}#pair"
        return RedirectResponse(url, status_code=303)

    def export(self, dictionary: Name = "") -> Response:
        """The votes that count as CSV."""
        return csv_file(self.service.reviews.export(dictionary or None), f"votes-{dictionary or 'all'}")

    def asking(self, request: Request, run: str) -> HTMLResponse:
        """The name a run asks about, with what a person needs to rule on it."""
        return self._asking(request, run)

    def rule(self, request: Request, run: str, form: Form) -> Response:
        """Accept, reject or have another name tested, then the run's page."""
        try:
            order = order_from(RuleOrder, form, run=run)
            self.service.runs.rule(order, who=self.access.principal_of(request).name)
        except NamesaeError as error:
            return self._asking(request, run, given=texts_of(form), error=error)
        return RedirectResponse(f"/runs/{segment(run)}", status_code=303)

    def _desk(
        self, request: Request, dictionary: str, *, voted: str = "", error: NamesaeError | None = None
    ) -> HTMLResponse:
        told, reviews = refused(error), self.service.reviews
        names = [each.name for each in self.service.features.dictionaries() if each.fault is None]
        principal = self.access.principal_of(request)
        chosen = dictionary or self._contested(names)
        pair = reviews.pair(chosen, who=principal.name) if chosen else None
        return render(
            request,
            "review.html.j2",
            status=told.status,
            waiting=reviews.waiting(),
            dictionary=chosen,
            dictionaries=names,
            disagreements=reviews.disagreements(chosen, DISAGREEMENTS) if chosen else (),
            pair=pair,
            shown=_exemplars(pair),
            before=self._before(voted, principal.name),
            votes=len(reviews.all_votes(chosen)) if chosen else 0,
            tallies=reviews.tallies(chosen) if chosen else (),
            may_run=principal.scope in ("run", "admin"),
            fault=told.sentence,
        )

    def _contested(self, names: list[str]) -> str:
        """The dictionary in which most names disagree."""
        return max(names, key=lambda name: len(self.service.reviews.disagreements(name, 1_000)), default="")

    def _before(self, feature: str, who: str) -> Vote | None:
        """What this person has just said, which can now be told apart."""
        if not feature:
            return None
        mine = [vote for vote in self.service.reviews.votes(feature) if vote.who == who]
        return mine[-1] if mine else None

    def _asking(
        self,
        request: Request,
        run: str,
        *,
        given: dict[str, str] | None = None,
        error: NamesaeError | None = None,
    ) -> HTMLResponse:
        asking, told = self.service.reviews.asking(run), refused(error)
        explanation = asking.question.explanation
        return render(
            request,
            "review_run.html.j2",
            status=told.status,
            run=run,
            asking=asking,
            told=explanation,
            sealed=_sealed(explanation),
            exemplars=_strongest(explanation),
            open=_is_open(asking),
            given=given or {},
            fault=told.sentence,
            may_run=self.access.principal_of(request).scope in ("run", "admin"),
        )


def _choice(text: str) -> Choice:
    for choice in get_args(Choice):
        if choice == text:
            found: Choice = choice
            return found
    raise UsageError(f"{text[:20]!r} is no choice; there are {', '.join(get_args(Choice))}.")


def _is_open(asking: Asking) -> bool:
    return asking.ruling is None and not asking.ended


def _exemplars(pair: Pair | None) -> tuple[Shown, ...]:
    if pair is None:
        return ()
    threshold = pair.threshold or 0.0
    return tuple(Shown(each.image, each.activation, each.activation > threshold) for each in pair.exemplars)


def _sealed(told: Explanation) -> tuple[Shown, ...]:
    evidence = told.evidence
    if evidence is None:
        return ()
    threshold = evidence.facts.threshold
    pairs = zip(evidence.sealed_images, evidence.sealed_activations, strict=True)
    ordered = sorted(pairs, key=lambda each: -each[1])
    return tuple(Shown(image, value, value > threshold) for image, value in ordered[:IMAGES])


def _strongest(told: Explanation) -> tuple[Shown, ...]:
    evidence = told.evidence
    if evidence is None:
        return ()
    threshold = evidence.facts.threshold
    ordered = sorted(evidence.exemplars, key=lambda each: -each.activation)
    return tuple(Shown(each.image, each.activation, each.activation > threshold) for each in ordered[:IMAGES])
