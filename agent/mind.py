"""What the lexical search makes of one view: how far it believes each claim, what it could ask about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from agent.belief import EXCLUDED, SHOWN, Asked, Beliefs, Claim, says
from agent.lexicon import Lexicon
from agent.priors import LexicalSettings, claims_of, promising, suggested
from agent.proposer import View
from agent.reward import Scale, rewards
from tools.cards import unknown_words

Prompt = frozenset[str]
"""An image prompt as the words it says."""


class Mind:
    """What one view says, worked out once and when asked for."""

    def __init__(self, view: View, lexicon: Lexicon, settings: LexicalSettings) -> None:
        self.view, self.lexicon, self.settings = view, lexicon, settings
        self.contradicts = "contradictions" not in view.without
        """Whether prompts may be asked that exclude the best claim."""
        self.promise = suggested(view, lexicon, universe=settings.universe)
        self._scale = Scale.of(view.facts)
        self.asked = [self._read(trial.proposal.prompt, trial.activations) for trial in view.trials]
        self.asked += [self._read(hint.prompt, hint.on_images()) for hint in view.hints]
        self._tried = {trial.proposal.prompt for trial in view.trials}
        self._tried |= {refusal.prompt for refusal in view.refused}

    @cached_property
    def beliefs(self) -> Beliefs:
        settings, lexicon = self.settings, self.lexicon
        best = promising(lexicon, self.promise, asked=self.asked, settings=settings)
        readings = self.view.facts.readings
        claims = claims_of(lexicon, self.promise, best=best, readings=readings, settings=settings)
        return Beliefs(lexicon, claims, asked=self.asked, rates=settings.rates)

    @cached_property
    def ranked(self) -> list[tuple[Claim, float]]:
        return self.beliefs.ranked()

    @cached_property
    def weights(self) -> dict[Claim, float]:
        return dict(self.ranked)

    @cached_property
    def singles(self) -> dict[str, float]:
        return {claim.words[0]: weight for claim, weight in self.ranked if claim.kind == "one"}

    @cached_property
    def drawn(self) -> int:
        return sum(each.images for each in self.asked)

    def _read(self, prompt: str, activations: Sequence[float | None]) -> Asked:
        earned = rewards(activations, self._scale)
        return Asked(frozenset(self.lexicon.read(prompt)), images=len(earned), fired=sum(earned))

    def says(self, claim: Claim, prompt: Prompt) -> int:
        return says(self.lexicon, claim, prompt=prompt)

    def text(self, claim: Claim) -> str:
        if claim.kind == "or":
            return " or ".join(claim.words)
        return f"not {claim.words[0]}" if claim.kind == "not" else self.lexicon.phrase(claim.words)

    def drawable(self, prompt: Prompt) -> str:
        return self.lexicon.compose(sorted(prompt))

    def is_known(self, prompt: Prompt) -> bool:
        return not unknown_words(self.view.card, self.drawable(prompt))

    def is_fresh(self, prompt: Prompt) -> bool:
        return self.drawable(prompt) not in self._tried and self.is_known(prompt)

    def own(self, claim: Claim) -> list[Prompt]:
        if claim.kind == "not":
            siblings = [frozenset((each,)) for each in self.lexicon.siblings(claim.words[0])]
            return [each for each in siblings if self.is_known(each)][: self.settings.few_siblings]
        return (
            [frozenset((word,)) for word in claim.words] if claim.kind == "or" else [frozenset(claim.words)]
        )

    def _some(self, words: Sequence[str]) -> list[str]:
        """The promising few of some words, best first."""
        known = [word for word in words if word in self.promise]
        return sorted(known, key=lambda word: -self.promise[word])[: self.settings.siblings_tried]

    def company(self, word: str) -> list[str]:
        """Words of other slots, a few from each."""
        slots: dict[str, list[str]] = {}
        for other in self.promise:
            slot = self.lexicon.slot(other)
            if slot and slot != self.lexicon.slot(word):
                slots.setdefault(slot, []).append(other)
        return [other for others in slots.values() for other in self._some(others)]

    def _rivals(self, word: str, claim: Claim) -> list[str]:
        """The siblings of a word of a claim that may be drawn, most likely first."""
        known = [
            each for each in self.lexicon.siblings(word) if each in self.promise and each not in claim.words
        ]
        return sorted(known, key=lambda each: -self.singles.get(each, 0.0))

    def changes(self, claim: Claim) -> list[tuple[Prompt, list[Prompt]]]:
        """For each word of a claim what stays and the prompts that differ in this word alone, most promising
        first; for an OR those that show none of its words."""
        if claim.kind == "not":
            return [(frozenset(), [frozenset(claim.words)])]
        siblings = {word: self._rivals(word, claim) for word in claim.words}
        if claim.kind == "or":
            slots = {self.lexicon.slot(word) for word in claim.words}
            rivals = [siblings[word] for word in claim.words][: len(slots)]
            return [(frozenset(), [frozenset(each) for each in zip(*rivals, strict=False)])]
        found = []
        for word in claim.words:
            others = frozenset(each for each in claim.words if each != word)
            found.append((others, [others | {each} for each in siblings[word]]))
        return found

    def varied(self, claim: Claim) -> list[Prompt]:
        """Fresh prompts that show a claim in other company."""
        if claim.kind not in ("one", "and"):
            return []
        slots = {self.lexicon.slot(word) for word in claim.words}
        others = [other for word in claim.words for other in self.company(word)]
        company = [frozenset((*claim.words, each)) for each in others if self.lexicon.slot(each) not in slots]
        spread = company[:: max(1, len(company) // 7)]
        return [each for each in dict.fromkeys(spread) if self.is_fresh(each)]

    def _images_of(self, prompts: Sequence[Prompt]) -> int:
        return sum(each.images for each in self.asked if each.words in prompts)

    def _excluded_beside(self, claim: Claim, kept: Prompt) -> int:
        """Images drawn of prompts that hold some words and yet exclude a claim."""
        asked = [each for each in self.asked if kept <= each.words]
        return sum(each.images for each in asked if self.says(claim, each.words) == EXCLUDED)

    def untested(self, claim: Claim) -> list[Prompt]:
        """The prompts that are missing before a claim has been tested: its own, its own in other company, and
        for each of its words one that differs in this word alone and must rest."""
        settings, own = self.settings, self.own(claim)
        missing = [each for each in own[: settings.own_tested] if not self._images_of([each])]
        shown = sum(each.images for each in self.asked if self.says(claim, each.words) == SHOWN)
        lacking = settings.least_shown - shown - self.view.images_per_prompt * len(missing)
        if lacking > 0:
            count = -(-lacking // self.view.images_per_prompt)
            missing += self.varied(claim)[:count] or missing[:count] or own[:count]
        for kept, changes in self.changes(claim) if self.contradicts else ():
            if self._excluded_beside(claim, kept) < settings.least_excluded:
                missing += [each for each in changes if self.says(claim, each) == EXCLUDED][:1]
        return missing

    def candidate_prompts(self, claims: Iterable[Claim]) -> list[Prompt]:
        """Every word alone, joined claims, and for the best claims each word exchanged or given company."""
        prompts = [frozenset((word,)) for word in self.promise]
        joined = [claim for claim, _ in self.ranked if claim.kind == "and"]
        prompts += [frozenset(claim.words) for claim in joined[: self.settings.joined_asked]]
        for claim in claims:
            prompts += self._variants(claim)
        return [
            prompt
            for prompt in dict.fromkeys(prompts)
            if self.drawable(prompt) not in self._tried and self.is_known(prompt)
        ]

    def _variants(self, claim: Claim) -> list[Prompt]:
        found: list[Prompt] = []
        for word in claim.words:
            others = [other for other in claim.words if other != word] if claim.kind == "and" else []
            found += [frozenset((*others, sibling)) for sibling in self._some(self.lexicon.siblings(word))]
            found += [frozenset((*others, member)) for member in self.lexicon.members(word)]
            if claim.kind != "and":
                found += [frozenset((word, other)) for other in self.company(word)]
        return found
