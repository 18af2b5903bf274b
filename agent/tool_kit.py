"""What every feature tool works with: one dictionary's toolbox, a budget, a catalogue of what was shown."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from agent.records import Explanation
from agent.seeds import seeds_of
from agent.shots import draw_shots, every, score_shots
from agent.state import Shot
from agent.tool_catalogue import Catalogue
from agent.tool_purse import Purse
from agent.toolbox import Toolbox
from sae.feature import Feature
from tools.errors import ToolError, UsageError
from tools.protocols import FeatureFacts

LatestName = Callable[[Feature], Explanation | None]
"""The latest stored explanation of a feature; None where it has none."""


def no_name(_: Feature) -> Explanation | None:
    """For kits without a store: nothing was ever named."""
    return None


class RefusedCall(Exception):
    """A tool call that makes no sense or is beyond the budget; the message goes back to whoever called."""


class FeatureKit:
    """The tools of one dictionary with one budget and one catalogue.

    Calls are taken one at a time, whatever threads make them: the budget stays exact, and so do the ids.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        dictionary: str,
        *,
        purse: Purse,
        catalogue: Catalogue | None = None,
        latest_name: LatestName = no_name,
    ) -> None:
        self.toolbox, self.dictionary, self.purse = toolbox, dictionary, purse
        self.catalogue = catalogue or Catalogue()
        self.latest_name = latest_name
        self.seed = 0
        """Run seed whose common search seeds pictures are drawn with."""
        self._lock = threading.Lock()
        self._facts: dict[int, FeatureFacts] = {}

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """One call at a time, its seconds charged; RefusedCall for a caller's mistake or when time is up."""
        with self._lock:
            if self.purse.spent_out() == "seconds":
                raise RefusedCall("The time limit is reached; answer from what has been measured.")
            begun = self.toolbox.clock()
            try:
                yield
            except ToolError as error:
                raise RefusedCall(str(error)) from error
            finally:
                self.purse.charge(seconds=self.toolbox.clock() - begun)

    def facts(self, index: int) -> FeatureFacts:
        """What is known of a feature; read once. RefusedCall for one that does not exist."""
        if index not in self._facts:
            try:
                self._facts[index] = self.toolbox.exemplars.facts(index)
            except UsageError as error:
                raise RefusedCall(str(error)) from error
        return self._facts[index]

    def live(self, index: int) -> FeatureFacts:
        """The facts of a feature that can be measured; RefusedCall for one that never fires."""
        facts = self.facts(index)
        if facts.p99 <= 0:
            raise RefusedCall(
                f"Feature {self.named(index)} never fires on the probe set: there is nothing to measure."
            )
        return facts

    def named(self, index: int) -> str:
        """The feature as it is written."""
        return str(Feature(dictionary=self.dictionary, index=index))

    def shots(self, index: int, prompts: Sequence[str], *, count: int) -> list[Shot]:
        """``count`` pictures of each prompt on common seeds: drawn, charged, scored, and not banked.

        What people ask about is no search: the bank would hint at their questions to later namings. A prompt
        that the generator refuses costs nothing.
        """
        if not prompts:
            return []
        seeds = seeds_of(self.seed, "search", start=0, count=count)
        template = self.toolbox.draw.card.search_template
        shots = draw_shots(self.toolbox, every(prompts, seeds), template=template)
        self.purse.charge(images=sum(shot.charged for shot in shots))
        return score_shots(self.toolbox, shots, index=index)
