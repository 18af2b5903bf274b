"""A proposer without an LLM: it asks the generator twenty questions over words (agent/belief.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from agent.belief import EXCLUDED, SHOWN, Asked, Beliefs, Claim
from agent.lexicon import Lexicon
from agent.plans import Candidate, ConcludePlan, ContradictPlan, DrawPlan, Plan
from agent.priors import LexicalSettings, claims_of, promising, suggested
from agent.proposer import Turn, View
from agent.records import Intent, Proposal
from agent.reward import rewards
from tools.cards import unknown_words
from tools.digest import digest

Prompt = frozenset[str]

_LEVELS = {"or": 0, "not": 0, "one": 1, "and": 2}


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
        return Turn(plan=_Search(view, self._lexicon, self._settings).plan())


class _Search:
    """What one view says, worked out once."""

    def __init__(self, view: View, lexicon: Lexicon, settings: LexicalSettings) -> None:
        self._view, self._lexicon, self._settings = view, lexicon, settings
        self._promise = suggested(view, lexicon, universe=settings.universe)
        self._asked = [self._read(trial.proposal.prompt, trial.activations) for trial in view.trials]
        self._tried = {trial.proposal.prompt for trial in view.trials}
        self._tried |= {refusal.prompt for refusal in view.refused}

    def plan(self) -> Plan:
        """The next plan; the same for the same view."""
        if not self._promise:
            return ConcludePlan(reason="no word of the lexicon can be drawn")
        if self._view.must_conclude or self._is_sure():
            return self._conclusion()
        proposals = self._questions()
        if not proposals:
            return self._conclusion()
        if all(each.intent == "contradict" for each in proposals):
            return ContradictPlan(claim=self._text(self._ranked[0][0]), proposals=proposals)
        return DrawPlan(proposals=proposals)

    @cached_property
    def _beliefs(self) -> Beliefs:
        settings, lexicon = self._settings, self._lexicon
        best = promising(lexicon, self._promise, asked=self._asked, settings=settings)
        claims = claims_of(lexicon, self._promise, best=best, settings=settings)
        return Beliefs(lexicon, claims, asked=self._asked, rates=settings.rates)

    @cached_property
    def _ranked(self) -> list[tuple[Claim, float]]:
        return self._beliefs.ranked()

    def _read(self, prompt: str, activations: Sequence[float | None]) -> Asked:
        earned = rewards(activations, self._view.facts.p99)
        return Asked(frozenset(self._lexicon.read(prompt)), images=len(earned), fired=sum(earned))

    def _is_sure(self) -> bool:
        drawn = sum(each.images for each in self._asked)
        return drawn >= self._settings.least_images and self._ranked[0][1] >= self._settings.sure

    def _questions(self) -> tuple[Proposal, ...]:
        wanted = self._settings.prompts_per_round if self._asked else self._settings.first_round
        count = min(wanted, self._view.images_left // self._view.images_per_prompt)
        prompts = self._candidate_prompts([claim for claim, _ in self._ranked[:8]])
        if not prompts or count <= 0:
            return ()
        top = self._ranked[0][0]
        chosen = [prompts[at] for at in self._beliefs.choose(prompts, count=count)]
        return tuple(self._proposal(prompt, top) for prompt in chosen)

    def _proposal(self, prompt: Prompt, top: Claim) -> Proposal:
        said = int(
            Beliefs(self._lexicon, {top: 0.0}, asked=(), rates=self._settings.rates).logic([prompt])[0, 0]
        )
        intents: dict[int, Intent] = {SHOWN: "vary", EXCLUDED: "contradict"}
        intent = "exploit" if prompt == frozenset(top.words) else intents.get(said, "explore")
        return Proposal(
            prompt=self._drawable(prompt), intent=intent, rationale=f"asks about {self._text(top)!r}"
        )

    def _candidate_prompts(self, claims: Iterable[Claim]) -> list[Prompt]:
        """Every word alone, joined claims, and for the best claims each word exchanged or given company."""
        prompts = [frozenset((word,)) for word in self._promise]
        joined = [claim for claim, _ in self._ranked if claim.kind == "and"]
        prompts += [frozenset(claim.words) for claim in joined[: self._settings.joined_asked]]
        for claim in claims:
            prompts += self._variants(claim)
        return [
            prompt
            for prompt in dict.fromkeys(prompts)
            if self._drawable(prompt) not in self._tried and self._is_known(prompt)
        ]

    def _variants(self, claim: Claim) -> list[Prompt]:
        found: list[Prompt] = []
        for word in claim.words:
            others = [other for other in claim.words if other != word] if claim.kind == "and" else []
            found += [frozenset((*others, sibling)) for sibling in self._some(self._lexicon.siblings(word))]
            found += [frozenset((*others, member)) for member in self._lexicon.members(word)]
            if claim.kind != "and":
                found += [frozenset((word, other)) for other in self._company(word)]
        return found

    def _company(self, word: str) -> list[str]:
        """Words of other slots, a few from each."""
        slots: dict[str, list[str]] = {}
        for other in self._promise:
            slot = self._lexicon.slot(other)
            if slot and slot != self._lexicon.slot(word):
                slots.setdefault(slot, []).append(other)
        return [other for others in slots.values() for other in self._some(others)]

    def _some(self, words: Sequence[str]) -> list[str]:
        """The promising few of some words, best first."""
        known = [word for word in words if word in self._promise]
        return sorted(known, key=lambda word: -self._promise[word])[: self._settings.siblings_tried]

    def _is_known(self, prompt: Prompt) -> bool:
        return not unknown_words(self._view.card, self._drawable(prompt))

    def _drawable(self, prompt: Prompt) -> str:
        return self._lexicon.compose(sorted(prompt))

    def _text(self, claim: Claim) -> str:
        if claim.kind == "or":
            return " or ".join(claim.words)
        return f"not {claim.words[0]}" if claim.kind == "not" else self._lexicon.phrase(claim.words)

    def _conclusion(self) -> ConcludePlan:
        ladder = self._ladder()
        judges = Beliefs(self._lexicon, dict.fromkeys(ladder, 0.0), asked=(), rates=self._settings.rates)
        own = {prompt for claim in ladder for prompt in self._own(claim)}
        asked = [prompt for prompt in self._candidate_prompts(ladder) if prompt not in own]
        count, variety = self._settings.claims_raced, self._settings.race_variety
        picked = [asked[at] for at in judges.choose(asked, count=count, variety=variety)] if asked else []
        pool = [*sorted(own, key=sorted), *picked]
        said = judges.logic(pool)
        candidates = tuple(
            self._candidate(claim, list(zip(pool, said[:, at].tolist(), strict=True)))
            for at, claim in enumerate(ladder)
        )
        weight = self._ranked[0][1]
        return ConcludePlan(
            candidates=candidates, reason=f"weight {weight:.2f} after {len(self._asked)} prompts"
        )

    def _ladder(self) -> list[Claim]:
        """The most believed claims, and beside the best one what is wider and narrower than it."""
        ranked = [claim for claim, _ in self._ranked]
        best = ranked[0]
        near = [Claim("one", (word,)) for word in best.words] if len(best.words) > 1 else []
        near += [claim for claim in ranked if claim.kind == "and" and set(best.words) < set(claim.words)][:1]
        near += [claim for claim in ranked if claim.kind == "one" and self._is_wider(claim, best)][:1]
        kept = [best, *(claim for claim in dict.fromkeys(near) if claim in ranked and claim != best)]
        likely = [claim for claim, weight in self._ranked if weight >= self._settings.worth_racing]
        kept += [claim for claim in likely if claim not in kept]
        return kept[: self._settings.ladder]

    def _is_wider(self, claim: Claim, best: Claim) -> bool:
        wider = claim.words[0]
        return wider not in best.words and any(self._lexicon.is_kind_of(word, wider) for word in best.words)

    def _own(self, claim: Claim) -> list[Prompt]:
        if claim.kind == "not":
            return [frozenset((sibling,)) for sibling in self._lexicon.siblings(claim.words[0])]
        return (
            [frozenset((word,)) for word in claim.words] if claim.kind == "or" else [frozenset(claim.words)]
        )

    def _candidate(self, claim: Claim, said: Sequence[tuple[Prompt, int]]) -> Candidate:
        own = tuple(self._drawable(prompt) for prompt in self._own(claim))
        texts = [(self._drawable(prompt), value) for prompt, value in said]
        return Candidate(
            name=self._text(claim),
            kind=claim.kind,
            parts=claim.words if claim.kind in ("and", "or") else (),
            prompts=own,
            fires=tuple(text for text, value in texts if value == SHOWN and text not in own),
            rests=tuple(text for text, value in texts if value == EXCLUDED),
            level=_LEVELS[claim.kind] - bool(claim.kind == "one" and self._lexicon.members(claim.words[0])),
        )
