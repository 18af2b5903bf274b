"""The survey of one batch: planned once, drawn once, by whichever process comes first."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.lexicon import lexicon_for
from agent.order import naming_order
from agent.survey import SurveyOutcome, SurveyPlan, carry_out, plan_survey
from agent.survey_log import Schedule, SurveyLog
from agent.wishes import is_searched
from namesae.wiring import LIBRARIES, Workbench
from tools.claims import Claims

if TYPE_CHECKING:
    from namesae.batch_reporters import BatchReporter

POLL_S = 0.5
PART = 4
"""A survey of default size takes at most one in so many of the batch's images."""


def most_surveyed(searched: int, *, images: int | None, most: int | None) -> int:
    """Images of a survey for ``searched`` features; ``images`` and ``most`` as for ``schedule``."""
    wanted = searched if images is None else images
    return wanted if most is None else min(wanted, most // PART if images is None else most)


class BatchSurvey:
    """Its plan, its drawing and what it was charged."""

    def __init__(self, bench: Workbench, batch: str, *, reporter: BatchReporter) -> None:
        self._bench, self._batch, self._reporter = bench, batch, reporter
        self.log = SurveyLog(bench.state.client, batch)
        self._claims = Claims(bench.state.client, "batch")

    def schedule(self, indices: Sequence[int], *, images: int | None, most: int | None) -> Schedule:
        """The schedule, once its survey is drawn.

        ``images``: of the survey; None is about one a feature. ``most``: of the batch; None is no limit.
        """
        while True:
            schedule = self.log.schedule()
            if schedule is not None and self.log.done:
                return schedule
            with self._claims.taken([f"{self._batch}:survey"]) as ours:
                if ours and not self.log.done:
                    schedule = self.log.schedule()
                    if schedule is None:
                        schedule = self.log.keep(self._planned(indices, images=images, most=most))
                    self._draw(schedule.plan)
            if not ours:
                # Another process draws it.
                time.sleep(POLL_S)

    def outcome(self, plan: SurveyPlan) -> SurveyOutcome:
        """What it came to, over all processes."""
        charged = sum(self.log.charged().values())
        return SurveyOutcome(prompts=len(plan.prompts), images=plan.images, charged=charged)

    def _planned(self, indices: Sequence[int], *, images: int | None, most: int | None) -> Schedule:
        models = self._bench.models
        self._reporter.say(f"Reading what is known of {len(indices):,} features.")
        exemplars, card = models.exemplars(), models.draw.card
        facts = {index: exemplars.facts(index) for index in indices}
        lexicon = lexicon_for(card, models.lexicon)
        wanted = most_surveyed(sum(map(is_searched, facts.values())), images=images, most=most)
        plan = plan_survey(facts, lexicon, card=card, images=wanted)
        return Schedule(plan=plan, order=naming_order(facts, lexicon, card=card))

    def _draw(self, plan: SurveyPlan) -> None:
        began = time.monotonic()
        if plan.prompts:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=LIBRARIES)
                carry_out(
                    plan,
                    self._bench.toolbox(f"{self._batch}-survey"),
                    seed=self._bench.settings.seed,
                    log=self.log,
                    heard=lambda images: self._reporter.drawn(images, plan.images),
                )
        self.log.took(time.monotonic() - began)
        self.log.finish()
