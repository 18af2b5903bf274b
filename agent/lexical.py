"""A proposer without an LLM: it asks the generator twenty questions over words (agent/belief.py)."""

from __future__ import annotations

from agent.belief import EXCLUDED, SHOWN, Claim
from agent.budget import REPEATS
from agent.ladder import Ladder
from agent.lexicon import Lexicon
from agent.mind import Mind, Prompt
from agent.plans import ConcludePlan, ContradictPlan, DrawPlan, Plan
from agent.priors import LexicalSettings
from agent.proposer import Turn, View
from agent.records import Intent, Proposal
from tools.digest import digest


class LexicalProposer:
    """Search over words by score; implements Proposer. The floor that any LLM must beat."""

    name = "lexical"
    paid = False
    priced = True

    def __init__(self, lexicon: Lexicon, settings: LexicalSettings | None = None) -> None:
        self._lexicon = lexicon
        self._settings = settings or LexicalSettings()
        self.fingerprint = digest(
            proposer="lexical",
            version=1,
            settings=self._settings.model_dump(mode="json"),
            words=[[word, lexicon.slot(word), *lexicon.members(word)] for word in lexicon.words],
        )

    def plan(self, view: View) -> Turn:
        """Draw the prompts that the claims disagree about most; conclude when one is sure or images end."""
        mind = Mind(view, self._lexicon, self._settings)
        ladder = Ladder(mind)
        return Turn(plan=_Search(mind, ladder).plan(), hypotheses=ladder.hypotheses())


class _Search:
    """What to draw next, or whether to stop."""

    def __init__(self, mind: Mind, ladder: Ladder) -> None:
        self._mind, self._ladder = mind, ladder

    def plan(self) -> Plan:
        """The next plan; the same for the same view."""
        mind = self._mind
        if not mind.promise:
            return ConcludePlan(reason="no word of the lexicon can be drawn")
        if mind.view.must_conclude or self._is_sure() or self._is_hopeless():
            return self._ladder.conclusion()
        proposals = self._questions()
        if not proposals:
            return self._ladder.conclusion()
        if all(each.intent == "contradict" for each in proposals):
            return ContradictPlan(claim=mind.text(mind.ranked[0][0]), proposals=proposals)
        return DrawPlan(proposals=proposals)

    def _is_sure(self) -> bool:
        """Whether the best claim is believed, and was itself put to the test."""
        mind = self._mind
        best, weight = mind.ranked[0]
        if weight < mind.settings.sure:
            return False
        if not mind.view.facts.readings and mind.drawn < mind.settings.least_images:
            return False
        return not mind.untested(best)

    def _is_hopeless(self) -> bool:
        """Whether after many images none is better explained by any claim than by one rate for all."""
        mind = self._mind
        if mind.drawn < mind.settings.hopeless_images:
            return False
        best = mind.beliefs.claims.index(mind.ranked[0][0])
        return bool(mind.beliefs.log_evidence[best] <= mind.beliefs.log_anything)

    def _questions(self) -> tuple[Proposal, ...]:
        """What a test of the best claim lacks, then what the claims disagree about most."""
        mind = self._mind
        settings = mind.settings
        read = bool(mind.view.facts.readings)
        wanted = settings.first_round if not (mind.asked or read) else settings.prompts_per_round
        count = min(wanted, mind.view.images_left // mind.view.images_per_prompt)
        top, weight = mind.ranked[0]
        forced = [each for each in mind.untested(top) if self._may_draw(each)]
        if read and weight >= settings.sure:
            chosen = forced[:count]
        else:
            prompts = mind.candidate_prompts([claim for claim, _ in mind.ranked[:8]])
            if not mind.contradicts:
                prompts = [each for each in prompts if mind.says(top, each) != EXCLUDED]
            picked = [prompts[at] for at in mind.beliefs.choose(prompts, count=count)] if prompts else []
            chosen = list(dict.fromkeys([*forced, *picked]))[:count]
        return tuple(self._proposal(prompt, top) for prompt in chosen) if count > 0 else ()

    def _may_draw(self, prompt: Prompt) -> bool:
        """Whether a prompt may be drawn, once more if it was before."""
        mind = self._mind
        text = mind.drawable(prompt)
        drawn = sum(trial.proposal.prompt == text for trial in mind.view.trials)
        refused = any(each.prompt == text for each in mind.view.refused)
        repeats = 1 if "halving" in mind.view.without else REPEATS
        return drawn < repeats and not refused and mind.is_known(prompt)

    def _proposal(self, prompt: Prompt, top: Claim) -> Proposal:
        mind = self._mind
        intents: dict[int, Intent] = {SHOWN: "vary", EXCLUDED: "contradict"}
        said = intents.get(mind.says(top, prompt), "explore")
        intent = "exploit" if prompt in mind.own(top) else said
        return Proposal(
            prompt=mind.drawable(prompt),
            intent=intent,
            rationale=f"asks about {mind.text(top)!r}",
        )
