"""All that can be asked of the service. The API, the pages and MCP call these and nothing else.

Methods are plain functions, safe to call from several threads at once.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from namesae.service.batches import Batches
    from namesae.service.evaluations import Evaluations
    from namesae.service.exporting import Exporting
    from namesae.service.features import Features
    from namesae.service.pictures import ServedPictures
    from namesae.service.reviews import Reviews
    from namesae.service.runs import Runs
    from namesae.service.tokens import Tokens
    from namesae.settings import Settings
    from namesae.wiring import State


class Service:
    """One store, seen by everything that asks."""

    def __init__(self, settings: Settings, state: State) -> None:
        self.settings, self.state = settings, state

    @cached_property
    def features(self) -> Features:
        """Dictionaries and their features: list, filter, search, similar ones."""
        from namesae.service.features import Features

        return Features(self.settings, self.state)

    @cached_property
    def runs(self) -> Runs:
        """Namings: start, watch, stop, resume, fork."""
        from namesae.service.runs import Runs

        return Runs(self.settings, self.state)

    @cached_property
    def batches(self) -> Batches:
        """Many features at once."""
        from namesae.service.batches import Batches

        return Batches(self.settings, self.state)

    @cached_property
    def evaluations(self) -> Evaluations:
        """Suites against ground truth."""
        from namesae.service.evaluations import Evaluations

        return Evaluations(self.settings, self.state)

    @cached_property
    def reviews(self) -> Reviews:
        """Names that wait for a person, and votes."""
        from namesae.service.reviews import Reviews

        return Reviews(self.settings, self.state, features=self.features)

    @cached_property
    def pictures(self) -> ServedPictures:
        """Images by hash, as thumbnails or whole."""
        from namesae.service.pictures import ServedPictures

        return ServedPictures(self.settings, self.state)

    @cached_property
    def exporting(self) -> Exporting:
        """Named features in the formats of others."""
        from namesae.service.exporting import Exporting

        return Exporting(self.features)

    @cached_property
    def tokens(self) -> Tokens:
        """Who may do what."""
        from namesae.service.tokens import Tokens

        return Tokens(self.state.client)
