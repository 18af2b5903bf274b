"""The survey before a batch: words drawn once for all features, chosen so that they serve most of them.

A greedy weighted cover (the classic one of a submodular gain): each feature wishes for images of the prompts
that test its likely claims (agent/wishes.py), a prompt serves every feature that wishes for it, and the n-th
image of a wish is worth less than the one before.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from agent.lexicon import Lexicon
from agent.seeds import seeds_of
from agent.shots import Wanted, draw_shots, every, score_shots
from agent.state import Shot
from agent.toolbox import Toolbox
from agent.wishes import Prompt, Wish, general_wishes, wishes_of
from sae.feature import Frozen
from tools.protocols import FeatureFacts, GeneratorCard

VERSION = 1
"""Of what is planned here: part of what a batch is."""
FIRST_SEED = 2**16
"""Index of the survey's first common seed of the search; no single search comes so far."""
LEAST_GAIN = 0.1
"""Features' worth of wishes that an image must serve: with less, a search of its own is as cheap."""
CHUNK = 32
"""Images drawn, scored and banked together."""


class SeedCount(NamedTuple):
    """Images a prompt of the survey gets."""

    least: int = 2
    most: int = 4


SEEDS = SeedCount()


class SurveyPrompt(Frozen):
    """One prompt of a survey."""

    prompt: str
    seeds: int
    """Images, with as many of the survey's common seeds."""


class SurveyPlan(Frozen):
    """What to draw before anything is named, the most useful first."""

    prompts: tuple[SurveyPrompt, ...] = ()

    @property
    def images(self) -> int:
        """Of all prompts."""
        return sum(each.seeds for each in self.prompts)


class SurveyOutcome(Frozen):
    """What a survey came to."""

    prompts: int
    images: int
    """Asked for."""
    charged: int
    """Of them, those that the bank did not hold before."""
    refused: int = 0
    """Prompts that the generator would not draw."""


class ChargeLog(Protocol):
    """What each prompt of a survey was charged, once (agent/survey_log.py)."""

    def charged(self) -> Mapping[str, int]: ...
    def note(self, prompts: Mapping[str, int]) -> None:
        """Write down the images charged to prompts; what was written first stays."""
        ...


def plan_survey(
    facts: Mapping[int, FeatureFacts],
    lexicon: Lexicon,
    *,
    card: GeneratorCard,
    images: int,
    seeds: SeedCount = SEEDS,
) -> SurveyPlan:
    """The prompts worth ``images`` images at most; none where nothing is worth an image.

    ``facts``: by feature, of all that will be named. The same facts give the same plan.
    """
    own = wishes_of(facts, lexicon, card)
    wishes = [wish for each in own.values() for wish in each] + general_wishes(facts, lexicon, card)
    chosen = _Cover(wishes, seeds).choose(images)
    return SurveyPlan(
        prompts=tuple(
            SurveyPrompt(prompt=lexicon.compose(sorted(words)), seeds=count)
            for words, count in chosen.items()
        )
    )


def carry_out(
    plan: SurveyPlan,
    toolbox: Toolbox,
    *,
    seed: int,
    log: ChargeLog,
    heard: Callable[[int], None] = lambda images: None,
) -> SurveyOutcome:
    """Draw a plan with common seeds of the search, score it for all features, and bank it.

    What the bank held before is not charged. Killed anywhere and called again it goes on, charges nothing
    twice and has nothing recorded drawn again. ``heard``: is told how many images are done.
    """
    template, known = toolbox.draw.card.search_template, set(log.charged())
    refused = done = 0
    for chunk in _chunks(plan.prompts):
        wanted = wanted_of(chunk, seed=seed)
        shots = draw_shots(toolbox, wanted, template=template)
        if any(each.prompt not in known for each in chunk):
            # Before they are banked: afterwards nobody could tell which of them are new.
            log.note({each.prompt: _fresh(shots, toolbox, prompt=each.prompt) for each in chunk})
        score_shots(toolbox, shots, index=0, bank=template)
        refused += len({shot.prompt for shot in shots if not shot.charged})
        done += len(wanted)
        heard(done)
    charged = log.charged()
    return SurveyOutcome(
        prompts=len(plan.prompts),
        images=plan.images,
        charged=sum(charged.get(each.prompt, 0) for each in plan.prompts),
        refused=refused,
    )


def wanted_of(prompts: Sequence[SurveyPrompt], *, seed: int) -> list[Wanted]:
    """The images of some prompts, in order."""
    return [
        want
        for each in prompts
        for want in every([each.prompt], seeds_of(seed, "search", start=FIRST_SEED, count=each.seeds))
    ]


def share_of_survey(charged: int, place: int, *, features: int) -> int:
    """Images of a survey that the feature at a place of the order bears: equal shares, whole images."""
    return charged // features + (place < charged % features)


def _fresh(shots: Sequence[Shot], toolbox: Toolbox, *, prompt: str) -> int:
    mine = [shot for shot in shots if shot.prompt == prompt and shot.charged]
    return sum(shot.image is None or toolbox.bank.row(shot.image) is None for shot in mine)


def _chunks(prompts: Sequence[SurveyPrompt]) -> list[list[SurveyPrompt]]:
    chunks: list[list[SurveyPrompt]] = []
    held = CHUNK
    for each in prompts:
        if held + each.seeds > CHUNK:
            chunks.append([])
            held = 0
        chunks[-1].append(each)
        held += each.seeds
    return chunks


class _Cover:
    """Greedy, with gains looked at again only when they lead: they never grow."""

    def __init__(self, wishes: Sequence[Wish], seeds: SeedCount) -> None:
        self._wishes, self._seeds = wishes, seeds
        self._served = [0] * len(wishes)
        self._of: dict[Prompt, list[int]] = {}
        for at, wish in enumerate(wishes):
            for prompt in wish.prompts:
                self._of.setdefault(prompt, []).append(at)
        self.chosen: dict[Prompt, int] = {}

    def choose(self, images: int) -> dict[Prompt, int]:
        """Prompts with their images, at most ``images`` together."""
        heap = [(-self._gain(prompt), len(prompt), sorted(prompt)) for prompt in self._of]
        heapq.heapify(heap)
        left = images
        while heap and -heap[0][0] >= LEAST_GAIN and left > 0:
            promised, size, words = heapq.heappop(heap)
            prompt = frozenset(words)
            gain, step = self._gain(prompt), self._step(prompt)
            if gain < -promised - 1e-12:
                heapq.heappush(heap, (-gain, size, words))
                continue
            if step > left:
                continue
            self._take(prompt, step)
            left -= step
            if self.chosen[prompt] < self._seeds.most:
                heapq.heappush(heap, (-self._gain(prompt), size, words))
        return self.chosen

    def _step(self, prompt: Prompt) -> int:
        return 1 if prompt in self.chosen else self._seeds.least

    def _gain(self, prompt: Prompt) -> float:
        """Per image of the next step."""
        step = self._step(prompt)
        return sum(self._worth(at, step) for at in self._of[prompt]) / step

    def _worth(self, at: int, more: int) -> float:
        wish, now = self._wishes[at], self._served[at]
        return wish.weight * (_met(now + more, wish.images) - _met(now, wish.images))

    def _take(self, prompt: Prompt, step: int) -> None:
        self.chosen[prompt] = self.chosen.get(prompt, 0) + step
        for at in self._of[prompt]:
            self._served[at] += step


def _met(images: int, enough: int) -> float:
    return math.sqrt(min(images, enough) / enough)
