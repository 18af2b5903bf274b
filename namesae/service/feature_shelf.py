"""All that is held in memory of one dictionary: its table, and what tells which features are near."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from namesae.dictionaries import Listed
from namesae.file_sums import FileSums
from namesae.service.catalogue import Catalogue
from namesae.service.catalogue_facts import FactsFiles
from namesae.service.catalogue_table import Table
from namesae.service.errors import NotFound
from namesae.service.feature_coactivation import Coactivation
from namesae.service.feature_directions import Directions
from namesae.service.feature_names import Indices, Matches, Scores
from namesae.service.feature_query import MOST_POINTS, Hit, Scatter
from namesae.service.feature_scatter import scatter_of
from tools.errors import UsageError
from tools.protocols import Floats

if TYPE_CHECKING:
    import redis

    from namesae.settings import Settings


class FeatureShelf:
    """One dictionary. Threads may share it."""

    def __init__(self, listed: Listed, settings: Settings, client: redis.Redis) -> None:
        self.listed = listed
        self.facts = FactsFiles(listed, settings, sums=FileSums(client))
        self._catalogue = Catalogue(client, listed, self.facts)
        self._coactivation: Coactivation | None = None
        self._scatter: tuple[Table, Scatter] | None = None

    def table(self) -> Table:
        """Its features as they are in the store now."""
        return self._catalogue.table()

    def check(self, index: int) -> None:
        """NotFound for a feature it does not have."""
        if not 0 <= index < self.listed.n_features:
            name, last = self.listed.name, self.listed.n_features - 1
            raise NotFound(f"Feature {name}#{index} does not exist; {name} has features 0 to {last}.")

    def near_by_decoder(self, index: int) -> Matches:
        """Other features by the cosine of their decoder directions."""
        return _near(self._directions.cosines(index), index)

    def near_by_activation(self, index: int) -> Matches:
        """Other features by the cosine of their activations on the probe pictures."""
        if self._coactivation is None:
            folder = self.facts.probe()
            if folder is None:
                raise UsageError(
                    f"The probe pictures of {self.listed.name} have not been scored here; name one of its "
                    "features, or compare by decoder or name."
                )
            self._coactivation = Coactivation(folder)
        return _near(self._coactivation.cosines(index), index)

    def near_by_name(self, index: int) -> Matches:
        """Other features whose names share words with this one's."""
        table = self.table()
        if not table.named[index]:
            raise UsageError(f"Feature {self.listed.name}#{index} has no name yet to compare; name it first.")
        return table.names.sharing_words(index)

    @cached_property
    def _directions(self) -> Directions:
        if self.listed.folder is None:
            raise UsageError(
                f"Dictionary {self.listed.name!r} has no decoder directions: its features are planted."
            )
        return Directions(self.listed.folder)

    def scatter(self) -> Scatter:
        """Density and scale of its features, worked out once for each state of the table."""
        table = self.table()
        held = self._scatter
        if held is None or held[0] is not table:
            held = self._scatter = (table, scatter_of(table, MOST_POINTS))
        return held[1]

    def hits(self, table: Table, matches: Matches, *, limit: int) -> list[Hit]:
        """The best matches, best first; of equal ones the surer name, then the lower index."""
        order = _best(matches, table.columns.confidence, limit)
        return [
            Hit(
                dictionary=self.listed.name,
                row=table.row(int(matches.indices[at])),
                score=round(float(matches.scores[at]), 4),
            )
            for at in order
        ]


def _near(cosines: Floats, index: int) -> Matches:
    cosines[index] = 0
    found = np.flatnonzero(cosines > 0)
    return Matches(found, cosines[found].astype(np.float64))


def _best(matches: Matches, confidence: Scores, limit: int) -> Indices:
    scores = matches.scores
    kept = np.arange(len(scores))
    if len(scores) > limit:
        # All that equal the last one that counts stay in, so that their order is decided below.
        least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        kept = np.flatnonzero(scores >= least)
    indices = matches.indices[kept]
    sure = np.nan_to_num(confidence[indices])
    order: Indices = np.lexsort((indices, -sure, -scores[kept]))[:limit]
    return kept[order]
