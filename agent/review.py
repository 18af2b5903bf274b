"""The review: a person sees the judged name before it is accepted, and accepts, rejects or replaces it.

A person never changes a figure: another name is tested like any other, on sealed images nobody has seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.concluding import raceable
from agent.events import Event, Happening, Judged, Raced, Ruled
from agent.judge import Case, judge
from agent.plan_reply import Line, NameReply
from agent.plans import Candidate
from agent.recording import explain
from agent.records import Question, Reviewed, Rival, Ruling, RulingAction
from agent.seeds import seeds_of
from agent.shots import Wanted, activations, control_activations, draw_shots, score_shots
from agent.sight import look
from agent.state import NamingState, RaceRecord, Shot
from agent.toolbox import SealedImages, Toolbox
from tools.cards import unknown_words, words_of
from tools.errors import UsageError
from tools.protocols import GeneratorCard

MAX_RETESTS = 3
"""Names that may be tested in place of the first: each further one is another chance to be lucky."""
OWN_IMAGES = 6
"""Race images of a name that is retested, as many as a winner of the race has at least."""
MAX_WHO, MAX_WHY = 80, 400

Ask = Callable[[Any], Any]
"""Shows a question and returns the answer, once there is one (langgraph's ``interrupt``)."""

_LINE: TypeAdapter[str] = TypeAdapter(Line)
_OR = re.compile(r"\s+or\s+", re.IGNORECASE)


def after_judge(state: NamingState) -> str:
    """To the person, where the run is to be reviewed."""
    return "review" if state["settings"].review else "record"


def after_review(state: NamingState) -> str:
    """Test the name that was given instead, or write down what was decided."""
    return "retest" if state["reviewed"][-1].ruling.action == "retest" else "record"


def question_of(state: NamingState, toolbox: Toolbox) -> Question:
    """What the person is asked."""
    winner, names = state["raced"].winner, state.get("reviewed", ())
    if winner is None:
        raise ValueError("There is no name to review; the race must come first.")
    seen = look(state, toolbox)
    told = explain(state, proposer=toolbox.proposer, now=toolbox.clock(), sightings=seen)
    return Question(
        run=state["run"],
        turn=len(names),
        name=winner.name,
        verdict=told.verdict,
        retests_left=MAX_RETESTS - len(names),
        since=told.created,
        explanation=told,
        names=names,
    )


def review_name(state: NamingState, toolbox: Toolbox, *, ask: Ask) -> NamingState:
    """Wait for a person's ruling on the name. The step begins anew when the ruling has come."""
    question = question_of(state, toolbox)
    ruling = Ruling.model_validate(
        ask(question.model_dump(mode="json", exclude={"explanation": {"evidence"}}))
    )
    told, before = question.explanation, question.names
    ruled = Reviewed(
        name=question.name,
        verdict=question.verdict,
        confidence=told.confidence,
        sealed=told.sealed,
        retest=before[-1].ruling.retest if before else 0,
        ruling=ruling,
    )
    _tell(state, toolbox, node="review", what=Ruled(name=question.name, ruling=ruling))
    return {"reviewed": (*before, ruled)}


def retest(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Draw the name a person gave with the race's seeds, beside its rivals, and judge it on new seeds."""
    ruling, race, spent = state["reviewed"][-1].ruling, state["raced"], state["spent"]
    settings = state["settings"]
    candidate = typed_candidate(ruling.name or "", toolbox.draw.card)
    raced, charged = _beside_rivals(state, toolbox, candidate=candidate)
    tested = [each.name for each in state["reviewed"]]
    case = Case(
        feature=state["feature"],
        facts=state["facts"],
        candidate=candidate,
        images=settings.limits.sealed,
        seed=settings.seed,
        retest=ruling.retest,
    )
    judgement = judge(replace(toolbox, sealed=Apart(toolbox.sealed, (*tested, candidate.name))), case)
    search = spent.search + charged
    _tell(state, toolbox, node="retest", what=_raced(raced, search=search))
    told = Judged(
        name=candidate.name,
        sealed=judgement.sealed,
        floor=judgement.floor,
        floor_names=judgement.floor_names,
    )
    _tell(state, toolbox, node="retest", what=told)
    others = tuple(each for each in state.get("candidates", ()) if each.name != candidate.name)
    sealed = spent.sealed + settings.limits.sealed
    return {
        "raced": raced.model_copy(update={"shots": _joined(race.shots, raced.shots)}),
        "candidates": (candidate, *others),
        "judgement": judgement,
        "spent": spent.model_copy(update={"search": search, "sealed": sealed}),
    }


@dataclass(frozen=True)
class Apart:
    """The judges' images without those of some names: what was tested here is no floor for what is."""

    sealed: SealedImages
    without: tuple[str, ...]

    def add(self, name: str, images: Sequence[str]) -> None:
        """Record the images judged under a name."""
        self.sealed.add(name, images)

    def others(self, name: str, *, top: int) -> dict[str, tuple[str, ...]]:
        """Up to ``top`` other names that share no word with ``name``."""
        if not top:
            return {}
        found = self.sealed.others(name, top=top + len(self.without))
        kept = [each for each in found if each not in self.without][:top]
        return {each: found[each] for each in kept}


def ruling_of(action: RulingAction, *, who: str, why: str = "", now: float) -> Ruling:
    """A ruling as it may be stored; UsageError where its texts cannot be."""
    person = _checked(who, "reviewer", most=MAX_WHO)
    if not person:
        raise UsageError("A review needs to know who reviews; give --as NAME or set NAMESAE_USER.")
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    return Ruling(action=action, who=person, at=at, why=_checked(why, "reason", most=MAX_WHY))


def typed_candidate(name: str, card: GeneratorCard) -> Candidate:
    """A name that a person gave, held to what is asked of an LLM's; 'a or b' is drawn through its parts.

    UsageError where it is empty, too long, not printable, or has words the generator does not know.
    """
    told = _checked(name, "name", most=10_000)
    parts = _OR.split(told)
    level = min(9, len(words_of(told)))
    try:
        reply = NameReply(
            name=told,
            kind="or" if len(parts) > 1 else "one",
            parts=parts if len(parts) > 1 else [],
            level=level,
            fires=[],
            rests=[],
        )
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise UsageError(f"Name {told[:60]!r} cannot be tested: {said}; give another.") from None
    prompts = tuple(reply.parts) or (reply.name,)
    unknown = [word for prompt in prompts for word in unknown_words(card, prompt)]
    if unknown:
        listed = ", ".join(repr(word) for word in dict.fromkeys(unknown))
        raise UsageError(f"{card.generator} does not know {listed}; name it in words of its vocabulary.")
    made = Candidate(
        name=" or ".join(prompts), kind=reply.kind, parts=tuple(reply.parts), prompts=prompts, level=level
    )
    if not raceable((made,), card) or not all(words_of(prompt) for prompt in prompts):
        raise UsageError(f"Name {told!r} has no word that can be drawn; give another.")
    return made


def refuse_retest(question: Question, candidate: Candidate) -> None:
    """UsageError where a retest is not allowed: none is left, or the name was judged in this run already."""
    if question.retests_left < 1:
        raise UsageError(
            f"Run {question.run} has tested {MAX_RETESTS} other names, which is all it may; accept or reject "
            f"{question.name!r}."
        )
    tested = (question.name, *(each.name for each in question.names))
    same = next((each for each in tested if words_of(each) == words_of(candidate.name)), None)
    if same is not None:
        raise UsageError(f"Name {same!r} was judged in run {question.run} already; give another.")


def _beside_rivals(state: NamingState, toolbox: Toolbox, *, candidate: Candidate) -> tuple[RaceRecord, int]:
    """The race with the candidate at its head, on the seeds its rivals had; and the images charged."""
    template, index = toolbox.draw.card.search_template, state["feature"].index
    each = max(1, OWN_IMAGES // len(candidate.prompts))
    seeds = seeds_of(state["settings"].seed, "race", start=0, count=each)
    wanted = [Wanted(prompt, seed) for prompt in candidate.prompts for seed in seeds]
    shots = score_shots(toolbox, draw_shots(toolbox, wanted, template=template), index=index, bank=template)
    rival = _rival(state, toolbox, candidate=candidate, shots=shots)
    others = tuple(each for each in state["raced"].rivals if each.name != candidate.name)
    record = RaceRecord(
        shots=tuple(shots), rivals=(rival, *others), winner=candidate, decided=False, score=rival.auroc
    )
    return record, sum(shot.charged for shot in shots)


def _rival(state: NamingState, toolbox: Toolbox, *, candidate: Candidate, shots: Sequence[Shot]) -> Rival:
    own = activations(shots)
    if not len(own):
        return Rival(name=candidate.name, auroc=None, auroc_ci=None, rate=None, n_images=0)
    control = control_activations(toolbox, state["feature"].index)
    score = toolbox.cosy(own, control, threshold=state["facts"].threshold)
    return Rival(
        name=candidate.name,
        auroc=score.auroc,
        auroc_ci=score.auroc_ci,
        rate=score.activation_rate,
        n_images=len(own),
    )


def _joined(before: Sequence[Shot], after: Sequence[Shot]) -> tuple[Shot, ...]:
    """All shots of a race, each image once."""
    known = {(shot.prompt, shot.seed) for shot in before}
    return (*before, *(shot for shot in after if (shot.prompt, shot.seed) not in known))


def _raced(race: RaceRecord, *, search: int) -> Raced:
    winner = race.winner.name if race.winner else None
    return Raced(rivals=race.rivals, winner=winner, decided=race.decided, search=search)


def _checked(text: str, what: str, *, most: int) -> str:
    try:
        line = _LINE.validate_python(text)
    except ValidationError:
        raise UsageError(
            f"The {what} {text[:60]!a} holds characters that cannot be printed; leave them out."
        ) from None
    if len(line) > most:
        raise UsageError(f"The {what} {line[:40]!r}... has {len(line)} characters; {most} is the most.")
    return line


def _tell(state: NamingState, toolbox: Toolbox, *, node: str, what: Happening) -> None:
    rounds = state["spent"].rounds
    toolbox.emit(Event(run=state["run"], at=toolbox.clock(), node=node, round=rounds, what=what))
