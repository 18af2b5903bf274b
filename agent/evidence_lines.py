"""What was measured of a feature, as lines of a message: what fired and what did not, hypotheses, pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from agent.hypotheses import Hypothesis, Pair, Tally, believed, minimal_pairs
from agent.proposer import Hint, View
from agent.records import Trial
from agent.reward import Scale, graded, reward
from tools.cards import FUNCTION_WORDS, words_of
from tools.protocols import Reading

MAX_QUOTED = 200
"""Characters of any text that is quoted in a message."""
MAX_FIRED, MAX_RESTED = 40, 30
"""Trials told of those that fired, strongest first, and of those that did not, latest first."""
MAX_KNOWN_FIRED, MAX_KNOWN_RESTED = 16, 8
"""Prompts of the bank told, of the same two kinds."""
MAX_PAIRS = 10
MAX_HYPOTHESES = 12
MAX_REFUSED = 12
MAX_READINGS = 12


def quoted(text: str, *, limit: int = MAX_QUOTED) -> str:
    """Foreign text as one JSON string that cannot end the data block it stands in."""
    safe = json.dumps(text[:limit], ensure_ascii=True)
    return safe.replace("<", "\\u003c").replace(">", "\\u003e")


def evidence_of(view: View) -> str:
    """Everything measured that a view holds, part by part, an empty line between them."""
    return "\n\n".join(part for part in _parts(view) if part)


def _parts(view: View) -> Iterable[str]:
    facts, scale = view.facts, Scale.of(view.facts)
    yield _listed("Words seen more in its exemplars than elsewhere (lift):", facts.tags)
    yield _listed("Words nearest its direction (cosine):", facts.vocabulary)
    readings = [(_reading(each), each.f1) for each in facts.readings[:MAX_READINGS]]
    yield _listed(
        "Words that tell on which probe pictures it fires, as another model sees them (F1):", readings
    )
    if view.exemplars and facts.p99 > 0:
        levels = ", ".join(f"{each.activation / facts.p99:.2f}" for each in view.exemplars)
        yield f"Activations of its exemplars: {levels}."
    yield _known(view.hints, scale)
    yield _trials(view.trials, scale)
    yield _hypotheses(view.trials, scale)
    yield _pairs(view.trials, scale)
    refused = [f"- {quoted(each.prompt)}: {quoted(each.why)}" for each in view.refused[-MAX_REFUSED:]]
    yield _block("Refused, not drawn:", refused)


def _reading(reading: Reading) -> str:
    joint = {"and": " and ", "or": " or "}.get(reading.kind, ", ")
    words = joint.join(reading.words)
    return f"not {words}" if reading.kind == "not" else words


def _listed(title: str, rows: Iterable[tuple[str, float]]) -> str:
    return _block(title, [f"- {quoted(text)} {strength:.2f}" for text, strength in rows])


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *lines]) if lines else ""


def _known(hints: Sequence[Hint], scale: Scale) -> str:
    """What the bank knows; of what did not fire, what says most of the words that did."""
    fired = [hint for hint in hints if _fired(hint.on_images(), scale)][:MAX_KNOWN_FIRED]
    loud = {word for hint in fired for word in words_of(hint.prompt)} - FUNCTION_WORDS
    rested = [hint for hint in hints if not _fired(hint.on_images(), scale)]
    rested.sort(key=lambda hint: -len(loud.intersection(words_of(hint.prompt))))
    lines = [
        f"- {_measure(hint.on_images(), scale)}: {quoted(hint.prompt)}"
        for hint in (*fired, *rested[:MAX_KNOWN_RESTED])
    ]
    return _block("Known of earlier runs (score, mean activation, pictures that fired):", lines)


def _trials(trials: Sequence[Trial], scale: Scale) -> str:
    """What fired and what did not, apart: what did not tells as much."""
    if not trials:
        return "Nothing has been drawn yet."
    loud = [trial for trial in trials if _fired(trial.activations, scale)]
    loud.sort(key=lambda trial: -(graded(trial.activations, scale) or 0.0))
    quiet = [trial for trial in reversed(trials) if not _fired(trial.activations, scale)]
    parts = (
        _block(
            "Drawn, and fired, best first (score: mean activation and share of pictures that fired, added):",
            [_trial(trial, scale) for trial in loud[:MAX_FIRED]],
        ),
        _block(
            "Drawn, and did not fire, latest first:", [_trial(trial, scale) for trial in quiet[:MAX_RESTED]]
        ),
    )
    return "\n\n".join(part for part in parts if part)


def _trial(trial: Trial, scale: Scale) -> str:
    proposal = trial.proposal
    said = {"fires": "says it fires", "rests": "says it rests", "either": "is asked about"}
    claim = f"; {quoted(proposal.claim)} {said[proposal.expects]}" if proposal.claim else ""
    return f"- {_measure(trial.activations, scale)}: {quoted(proposal.prompt)} ({proposal.intent}{claim})"


def _measure(activations: Sequence[float | None], scale: Scale) -> str:
    usable = [each for each in activations if each is not None]
    score = graded(usable, scale)
    if score is None:
        return "nothing usable"
    mean = sum(usable) / len(usable) / scale.p99
    return f"score {score:.2f}, mean {mean:.2f}, {_fired(usable, scale)} of {len(usable)} fired"


def _fired(activations: Iterable[float | None], scale: Scale) -> int:
    return sum(reward(each, scale) >= 0.5 for each in activations if each is not None)


def _hypotheses(trials: Sequence[Trial], scale: Scale) -> str:
    """All that trials were made to test; where they stand follows from their pictures alone."""
    found = believed({}, trials, scale=scale)
    title = "Hypotheses, each with what is measured of it:"
    return _block(title, [_hypothesis(each) for each in found[:MAX_HYPOTHESES]])


def _hypothesis(each: Hypothesis) -> str:
    told = f"should fire: {_tally(each.fires)}; should rest: {_tally(each.rests)}"
    return f"- {each.state}: {quoted(each.claim)} ({told})"


def _tally(tally: Tally) -> str:
    return f"{tally.earned:.1f} of {tally.images} fired" if tally.images else "not drawn"


def _pairs(trials: Sequence[Trial], scale: Scale) -> str:
    """What one changed word did."""
    found = minimal_pairs(trials, scale=scale)
    title = "One word changed, same seeds (mean activation of the first less the second's):"
    return _block(title, [_pair(each) for each in found[:MAX_PAIRS]])


def _pair(pair: Pair) -> str:
    pictures = "picture" if pair.images == 1 else "pictures"
    return (
        f"- {pair.difference:+.2f} over {pair.images} {pictures}: "
        f"{quoted(pair.prompt)} against {quoted(pair.other)}"
    )
