"""A policy in an LLM's place: it reads messages, weighs claims by what was drawn, and answers with a plan."""

from __future__ import annotations

from typing import Any

from agent.hypotheses import Hypothesis
from agent.lexical import LexicalProposer
from agent.plans import Candidate, ConcludePlan, ContradictPlan, proposals_of
from agent.priors import LexicalSettings
from agent.proposer import Turn, View
from agent.records import Proposal, Trial
from agent.reward import Scale, reward
from benchmarks.policy_reading import Blank, blanked, read_message
from benchmarks.policy_words import book_of
from sae.feature import Frozen
from tools.protocols import FeatureFacts

MOST_LISTED = 8
"""Prompts or parts in one list of a name."""
EXPECTED = {"exploit": "fires", "vary": "fires", "contradict": "rests"}


class Trust(Frozen):
    """How far the policy believes what is said before anything is drawn; set on planted@1."""

    readings: float = 30.0
    """Log odds between two claims of which one tells the probe set by 1 of F1 better, while it asks. What it
    concludes knows of all this only the words, each suggested as much as any other."""
    unsuggested: float = 3.0
    """Log odds lost by a word that nothing suggests."""
    others: float = 0.5
    """How far a word of the tags or of the direction is suggested, where those of the readings are fully."""
    first_round: int = 8
    """Prompts of the first round."""
    a_round: int = 6
    """Prompts of each round after it."""

    @property
    def told(self) -> str:
        """Short enough for a model's name."""
        return "-".join(f"{each:g}" for each in self.model_dump().values())


class Policy:
    """Answers chat.completions requests; remembers nothing between them."""

    def __init__(self, trust: Trust | None = None, *, blank: Blank = "") -> None:
        """``blank``: evidence it does not get to see."""
        self._trust, self._blank = trust or Trust(), blank
        self._settings = LexicalSettings(
            trust=self._trust.readings,
            unsuggested=self._trust.unsuggested,
            first_round=self._trust.first_round,
            prompts_per_round=self._trust.a_round,
        )

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """The plan, as the reply schema wants it, to the messages of a request."""
        text = next(_text(each) for each in body["messages"] if each["role"] == "user")
        told = read_message(blanked(text, self._blank))
        turn = self._turn(told.view)
        return _reply(turn, told.view, refuted=told.refuted)

    def _turn(self, view: View) -> Turn:
        """Ask what the readings make likely; conclude with what was drawn alone, and ask on where that is
        not yet sure. Of the few names that this leaves, the one the readings tell best leads."""
        book = book_of(view.card.vocabulary or ())
        scale = Scale.of(view.facts)
        view = view.model_copy(update={"trials": tuple(_fired_or_not(each, scale) for each in view.trials)})
        proposer = LexicalProposer(book, self._settings)
        asking = proposer.plan(view)
        if not isinstance(asking.plan, ConcludePlan):
            return asking
        doubting = view.model_copy(update={"facts": self._doubted(view.facts)})
        return _tie_broken(proposer.plan(doubting), asking.plan)

    def _doubted(self, facts: FeatureFacts) -> FeatureFacts:
        """The words that were said before anything was drawn, in no order."""
        said = {word: self._trust.others for word, _ in (*facts.vocabulary, *facts.tags)}
        said |= {word: 1.0 for each in facts.readings for word in each.words}
        tags = tuple(sorted(said.items()))
        return facts.model_copy(update={"tags": tags, "vocabulary": (), "readings": ()})


def _tie_broken(turn: Turn, asking: ConcludePlan) -> Turn:
    """The names of a conclusion, led by the first of another one if it is among them."""
    plan = turn.plan
    if not isinstance(plan, ConcludePlan) or not asking.candidates:
        return turn
    favourite = asking.candidates[0].name
    order = sorted(plan.candidates, key=lambda each: each.name != favourite)
    return turn.model_copy(update={"plan": plan.model_copy(update={"candidates": tuple(order)})})


def _fired_or_not(trial: Trial, scale: Scale) -> Trial:
    levels = tuple(None if each is None else float(reward(each, scale) >= 0.5) for each in trial.activations)
    return trial.model_copy(update={"activations": levels})


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def _reply(turn: Turn, view: View, *, refuted: tuple[str, ...]) -> dict[str, Any]:
    plan = turn.plan
    concludes = isinstance(plan, ConcludePlan)
    held = [each for each in turn.hypotheses if each.claim not in refuted or each is turn.hypotheses[0]]
    hypotheses = _hypotheses(held[:5])
    action = "conclude" if concludes else "contradict" if isinstance(plan, ContradictPlan) else "draw"
    claim = hypotheses[0]["claim"] if hypotheses else ""
    return {
        "thought": plan.reason if isinstance(plan, ConcludePlan) else f"after round {view.round}",
        "hypotheses": hypotheses,
        "action": action,
        "claim": claim if action == "contradict" else "",
        "prompts": [_prompt(each, claim) for each in proposals_of(plan)],
        "low": 0.0,
        "high": 1.0,
        "names": [_name(each) for each in plan.candidates] if isinstance(plan, ConcludePlan) else [],
    }


def _hypotheses(held: list[Hypothesis]) -> list[dict[str, Any]]:
    """The best is what the others, its controls, would make wrong."""
    told = [{"claim": each.claim, "state": each.state, "control": at > 0} for at, each in enumerate(held)]
    if len(told) == 1:
        told.append({"claim": "none of these: it fires by chance", "state": "open", "control": True})
    return told


def _prompt(each: Proposal, claim: str) -> dict[str, Any]:
    expects = EXPECTED.get(each.intent, "either")
    return {"prompt": each.prompt, "intent": each.intent, "why": each.rationale, "claim": claim,
            "expects": expects}  # fmt: skip


def _name(each: Candidate) -> dict[str, Any]:
    parts = {"one": (), "and": each.parts, "or": each.parts, "not": each.prompts}[each.kind]
    return {
        "name": each.name,
        "kind": each.kind,
        "parts": list(parts[:MOST_LISTED]),
        "level": max(0, each.level),
        "fires": list(each.fires[:MOST_LISTED]),
        "rests": list(each.rests[:MOST_LISTED]),
    }
