"""How a lexical search concludes: a ladder of names with what each predicts, and where each claim stands."""

from __future__ import annotations

from collections.abc import Sequence

from agent.belief import EXCLUDED, SHOWN, Beliefs, Claim
from agent.hypotheses import Hypothesis, HypothesisState, Rung, Tally
from agent.mind import Mind, Prompt
from agent.plans import Candidate, ConcludePlan
from agent.priors import f1_of

_BEST: Rung = "best"
_LEVELS = {"or": 0, "not": 0, "one": 1, "and": 2}


class Ladder:
    """The names that a mind would race, and beside them the claims it has refuted."""

    def __init__(self, mind: Mind) -> None:
        self._mind = mind

    def conclusion(self) -> ConcludePlan:
        mind = self._mind
        ladder = self._ladder()
        judges = Beliefs(mind.lexicon, dict.fromkeys(ladder, 0.0), asked=(), rates=mind.settings.rates)
        own = {prompt for claim in ladder for prompt in mind.own(claim)}
        pool = [*sorted(own, key=sorted), *self._predicted(ladder, judges, own=own)]
        said = judges.logic(pool)
        candidates = tuple(
            self._candidate(claim, list(zip(pool, said[:, at].tolist(), strict=True)))
            for at, claim in enumerate(ladder)
        )
        weight = mind.ranked[0][1]
        return ConcludePlan(
            candidates=candidates, reason=f"weight {weight:.2f} after {len(mind.asked)} prompts"
        )

    def _predicted(self, ladder: Sequence[Claim], judges: Beliefs, *, own: set[Prompt]) -> list[Prompt]:
        """Fresh prompts on which the names of a ladder differ; of one name alone, ones that check it: a
        change of each word, which must rest, and company, which must not matter."""
        mind = self._mind
        best = ladder[0]
        if len(ladder) > 1:
            asked = [prompt for prompt in mind.candidate_prompts(ladder) if prompt not in own]
            count = min(mind.settings.claims_raced, mind.settings.claims_a_name * len(ladder))
            chosen = judges.choose(asked, count=count, variety=mind.settings.race_variety) if asked else []
            return [asked[at] for at in chosen]
        rests = [next(filter(mind.is_fresh, changes), None) for _, changes in mind.changes(best)]
        checks = [*filter(None, rests), *mind.varied(best)]
        return list(dict.fromkeys(checks))[: mind.settings.claims_a_name]

    def _ladder(self) -> list[Claim]:
        """The most believed claims; beside the best one what is wider and narrower, unless it is refuted."""
        mind = self._mind
        best = mind.ranked[0][0]
        near = [*self._broader(best), *self._narrower(best)]
        near = [claim for claim in near if mind.weights[claim] >= mind.settings.refuted]
        likely = [claim for claim, weight in mind.ranked if weight >= mind.settings.worth_racing]
        return list(dict.fromkeys([best, *near, *likely]))[: mind.settings.ladder]

    def _broader(self, best: Claim) -> list[Claim]:
        mind = self._mind
        parts = [Claim("one", (word,)) for word in best.words] if len(best.words) > 1 else []
        wider = [claim for claim, _ in mind.ranked if claim.kind == "one" and self._is_wider(claim, best)]
        return [claim for claim in dict.fromkeys([*parts, *wider[:1]]) if claim in mind.weights]

    def _narrower(self, best: Claim) -> list[Claim]:
        mind = self._mind
        joined = [claim for claim, _ in mind.ranked if claim.kind == "and"]
        members = [Claim("one", (word,)) for word in mind.lexicon.members(best.words[0])]
        below = [claim for claim in joined if set(best.words) < set(claim.words)][:1]
        known = [claim for claim in members if claim in mind.weights] if best.kind == "one" else []
        return [*below, *sorted(known, key=lambda claim: -mind.weights[claim])[:1]]

    def _is_wider(self, claim: Claim, best: Claim) -> bool:
        wider = claim.words[0]
        return wider not in best.words and any(
            self._mind.lexicon.is_kind_of(word, wider) for word in best.words
        )

    def _candidate(self, claim: Claim, said: Sequence[tuple[Prompt, int]]) -> Candidate:
        mind = self._mind
        own = tuple(mind.drawable(prompt) for prompt in mind.own(claim))
        texts = [(mind.drawable(prompt), value) for prompt, value in said]
        return Candidate(
            name=mind.text(claim),
            kind=claim.kind,
            parts=claim.words if claim.kind in ("and", "or") else (),
            prompts=own,
            against=tuple(map(mind.drawable, [frozenset(claim.words)])) if claim.kind == "not" else (),
            fires=tuple(text for text, value in texts if value == SHOWN and text not in own),
            rests=tuple(text for text, value in texts if value == EXCLUDED),
            belief=round(mind.weights[claim], 4),
            told=f1_of(claim, mind.view.facts.readings),
            level=_LEVELS[claim.kind] - bool(claim.kind == "one" and mind.lexicon.members(claim.words[0])),
        )

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """The best claim, what is broader and narrower, and the most believed others, with their evidence."""
        mind = self._mind
        if not mind.promise:
            return ()
        best = mind.ranked[0][0]
        broader, narrower = self._broader(best), self._narrower(best)
        others = [claim for claim, _ in mind.ranked[: mind.settings.ladder] if claim != best]
        rungs: dict[Claim, Rung] = {claim: "rival" for claim in others}
        rungs.update({claim: "broader" for claim in broader})
        rungs.update({claim: "narrower" for claim in narrower})
        return tuple(self._hypothesis(claim, rung) for claim, rung in [(best, _BEST), *rungs.items()])

    def _hypothesis(self, claim: Claim, rung: Rung) -> Hypothesis:
        mind = self._mind
        weight = mind.weights[claim]
        tallies = {
            value: [each for each in mind.asked if mind.says(claim, each.words) == value]
            for value in (SHOWN, EXCLUDED)
        }
        fires, rests = (
            Tally(
                images=sum(each.images for each in asked), earned=round(sum(each.fired for each in asked), 3)
            )
            for asked in tallies.values()
        )
        refuted = bool(mind.asked) and weight < mind.settings.refuted
        sure = weight >= mind.settings.sure and not mind.untested(claim)
        state: HypothesisState = "refuted" if refuted else "supported" if sure else "open"
        return Hypothesis(
            claim=mind.text(claim),
            state=state,
            rung=rung,
            weight=round(weight, 4),
            fires=fires,
            rests=rests,
        )
