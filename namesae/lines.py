"""One line of text for each thing a person is told. Pure functions; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from namesae.ask_lines import ASK_LINES

if TYPE_CHECKING:
    from agent.events import Event, Happening
    from agent.forks import Step
    from agent.records import Explanation, Question
    from namesae.naming import Launch
    from tools.protocols import CosyScore

GAP = "   "
NO_NAME = "(no name)"


def plain(text: str) -> str:
    """The text on one line, without anything a terminal would obey: an LLM may have written it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def percent(share: float) -> str:
    """A share as a whole percentage; one decimal below 10 where the whole one would say 0 or 1."""
    figure = share * 100
    return f"{figure:.1f} %" if 0 < figure < 1.5 else f"{figure:.0f} %"


def score_text(score: CosyScore) -> str:
    """AUROC with its interval and ceiling, and how often the feature fires."""
    ceiling = "" if score.ceiling is None else f" (ceiling {score.ceiling:.2f})"
    interval = f"[{score.auroc_ci.low:.2f}, {score.auroc_ci.high:.2f}]"
    fires = (
        f"fires on {percent(score.activation_rate)} of drawn images, {percent(score.control_rate)} of control"
    )
    return f"AUROC {score.auroc:.2f} {interval}{ceiling}{GAP}{fires}"


def images_text(explanation: Explanation) -> str:
    """Search images + sealed images."""
    return f"{explanation.images.search} + {explanation.images.sealed} images"


def cost_text(explanation: Explanation) -> str:
    """What the proposer cost; empty where it is free."""
    cost = explanation.cost
    if not cost.llm_calls:
        return ""
    price = "price unknown" if cost.usd is None else f"${cost.usd:.4f}"
    return f"{cost.llm_calls} LLM calls, {price}"


def feature_line(explanation: Explanation, *, several: bool = False) -> str:
    """The result: name, verdict, figures, images; with the feature in front where there are several."""
    parts = [str(explanation.feature)] if several else []
    parts += [explanation.name or NO_NAME, verdict_text(explanation)]
    parts += [] if explanation.sealed is None else [score_text(explanation.sealed)]
    parts += [images_text(explanation), cost_text(explanation), review_text(explanation)]
    parts += [f"stored {explanation.created[:10]}"] if explanation.stored else []
    return plain(GAP.join(part for part in parts if part))


def verdict_text(explanation: Explanation) -> str:
    """The verdict, with its code where there is one: 'failed (llm_unreachable)'."""
    return f"{explanation.verdict} ({explanation.code})" if explanation.code else explanation.verdict


def review_text(explanation: Explanation) -> str:
    """Who decided, after how many retests; empty where nobody was asked."""
    review = explanation.review
    if review is None:
        return ""
    tests = f" after {review.retests} retest{'s' if review.retests > 1 else ''}" if review.retests else ""
    what = f" {review.name!r}" if review.decision == "rejected" else ""
    return f"{review.who} {review.decision}{what}{tests}"


def question_line(question: Question) -> str:
    """A name that waits: what accepting it would give, and how to rule on it."""
    told = question.explanation
    parts = [str(told.feature), question.name, f"waits for a review: {question.verdict}"]
    parts += [] if told.sealed is None else [score_text(told.sealed)]
    parts += [images_text(told), cost_text(told)]
    if question.turn:
        parts.append(f"retest {question.turn}")
    return plain(GAP.join(part for part in (*parts, f"namesae review {question.run}") if part))


def question_lines(question: Question) -> list[str]:
    """A name that waits, with what a person needs to rule on it."""
    told = question.explanation
    evidence = told.evidence
    sealed = "no usable image" if told.sealed is None else score_text(told.sealed)
    lines = [
        f"{told.feature}: {question.name!r} would be {question.verdict}, confidence {told.confidence:.2f}",
        f"  sealed   {sealed}",
    ]
    if evidence is not None and evidence.floor_auroc is not None:
        lines.append(f"  floor    AUROC {evidence.floor_auroc:.2f} of other names on this feature")
    rivals = [
        f"{each.name} {'-' if each.auroc is None else format(each.auroc, '.2f')}" for each in told.rivals[:6]
    ]
    lines += [f"  race     {', '.join(rivals)}"] if rivals else []
    lines.append(f"  used     {images_text(told)}{GAP}{cost_text(told)}".rstrip())
    before = [f"{each.name} ({each.verdict})" for each in question.names]
    lines += [f"  before   {', '.join(before)}"] if before else []
    return [plain(line) for line in lines]


def step_line(step: Step) -> str:
    """A step of a run: its number, what was done, and what came next."""
    node = "start" if step.node == "__start__" else step.node
    then = "end" if step.next is None else f"then {step.next}"
    return plain(f"{step.number:>4}  {node:<8}  {then:<13}  {step.what}".rstrip())


def launch_line(launch: Launch) -> str:
    """What is about to be done, by whom and within which limits."""
    limits, count = launch.limits, len(launch.features)
    what = launch.features[0] if count == 1 else f"{count} features"
    price = f", at most ${limits.usd:.2f} a feature" if launch.paid and limits.usd is not None else ""
    return (
        f"Naming {what} with the {launch.proposer} proposer: up to {limits.images} search and "
        f"{limits.sealed} sealed images{' each' if count > 1 else ''}{price}, seed {launch.seed}."
    )


def timed_line(event: Event) -> str:
    """When, in UTC, at which node, and what happened."""
    at = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
    return plain(f"{at}  {event.node:<8} {event_line(event)}")


def event_line(event: Event) -> str:
    """What has just happened in a run."""
    said = plain(_TELL[event.what.kind](event.what))
    # A plan is told before its round is counted, what was scored for it after.
    number = {"planned": event.round + 1, "scored": event.round}.get(event.what.kind)
    return said if number is None else f"round {number}: {said}"


def quoted(texts: Sequence[str], *, most: int = 6) -> str:
    """'striped fish', 'ball' and 3 more."""
    shown = ", ".join(repr(text) for text in texts[:most])
    return f"{shown} and {len(texts) - most} more" if len(texts) > most else shown


def _started(what: Happening) -> str:
    assert what.kind == "started"
    return "goes on where it was interrupted" if what.resumed else "begins"


def _observed(what: Happening) -> str:
    assert what.kind == "observed"
    return (
        f"active on {percent(what.facts.density)} of the probe set; {what.exemplars} exemplars, "
        f"{what.hints} prompts known to fire it"
    )


def _planned(what: Happening) -> str:
    assert what.kind == "planned"
    if what.names:
        return f"concludes: {quoted(what.names)} will race"
    refused = f"; {len(what.refused)} refused" if what.refused else ""
    best = what.hypotheses[0] if what.hypotheses else None
    weight = "" if best is None or best.weight is None else f", weight {best.weight:.2f}"
    held = "" if best is None or best.held is None else f" (the LLM: {best.held})"
    holds = f"; holds {best.claim!r} {best.state}{weight}{held}" if best is not None else ""
    return f"{what.plan} {quoted([each.prompt for each in what.granted])}{refused}{holds}"


def _asked(what: Happening) -> str:
    assert what.kind == "asked"
    call = what.call
    blind = "; it takes no pictures, and was asked without" if call.blind else ""
    return f"{call.model} answered in {call.seconds:.1f} s{blind}" + (f": {call.fault}" if call.fault else "")


def _streamed(what: Happening) -> str:
    assert what.kind == "streamed"
    return f"the LLM writes: {what.text[-120:]}"


def _scored(what: Happening) -> str:
    assert what.kind == "scored"
    best = max(
        (
            (value, trial.proposal.prompt)
            for trial in what.trials
            for value in trial.activations
            if value is not None
        ),
        default=None,
    )
    strongest = f"; strongest {best[0]:.2f} on {best[1]!r}" if best else ""
    return f"{what.search} images so far{strongest}"


def _raced(what: Happening) -> str:
    assert what.kind == "raced"
    shown = ", ".join(
        f"{rival.name} {'-' if rival.auroc is None else format(rival.auroc, '.2f')}"
        for rival in what.rivals[:5]
    )
    return f"race: {shown}"


def _judged(what: Happening) -> str:
    assert what.kind == "judged"
    score = "no usable image" if what.sealed is None else score_text(what.sealed)
    return f"sealed judge: {what.name}{GAP}{score}"


def _ended(what: Happening) -> str:
    assert what.kind == "ended"
    return f"{what.name or NO_NAME}: {what.verdict}"


def _ruled(what: Happening) -> str:
    assert what.kind == "reviewed"
    ruling = what.ruling
    said = {"accept": "accepts", "reject": "rejects", "retest": "replaces"}[ruling.action]
    other = f" with {ruling.name!r}" if ruling.name else ""
    return f"review: {ruling.who} {said} {what.name!r}{other}" + (f": {ruling.why}" if ruling.why else "")


def _forked(what: Happening) -> str:
    assert what.kind == "forked"
    changes = f": {', '.join(what.changes)}" if what.changes else ""
    return f"forked from {what.origin.run} at step {what.origin.step}{changes}"


_TELL = {
    "started": _started,
    "observed": _observed,
    "planned": _planned,
    "asked": _asked,
    "streamed": _streamed,
    "scored": _scored,
    "raced": _raced,
    "judged": _judged,
    "ended": _ended,
    "reviewed": _ruled,
    "forked": _forked,
    **ASK_LINES,
}
