"""What the features of a dictionary do on the control set, as far as that is on record."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.records import Explanation
from tools.errors import NamesaeError
from tools.protocols import Floats, Ints, SparseCode

if TYPE_CHECKING:
    from namesae.service.service import Service

MOST_KEPT = 4
"""Dictionaries whose control set stays in memory."""


class _Columns(NamedTuple):
    """The control set by feature: the activations of feature f lie at starts[f] to starts[f + 1]."""

    n_images: int
    starts: Ints
    values: Floats

    def of(self, index: int) -> tuple[float, ...]:
        """One activation an image; empty where there is no such feature."""
        if not 0 <= index < len(self.starts) - 1:
            return ()
        held = self.values[self.starts[index] : self.starts[index + 1]].tolist()
        return (*held, *(0.0,) * (self.n_images - len(held)))


class ControlActivations:
    """Read once a dictionary, from the ledger of scores; scores nothing."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Columns] = OrderedDict()

    def of(self, told: Explanation) -> tuple[float, ...]:
        """Activations of the explained feature; empty where its models or their control set have gone."""
        try:
            columns = self._columns(told)
        except NamesaeError:
            return ()
        return () if columns is None else columns.of(told.feature.index)

    def _columns(self, told: Explanation) -> _Columns | None:
        row = self._service.state.runs.row(told.run)
        if row is None:
            return None
        key = (told.feature.dictionary, row.request.models)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            found = self._read(*key)
            if found is not None:
                self._kept[key] = found
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
            return found

    def _read(self, dictionary: str, models: str) -> _Columns | None:
        from namesae.wiring import open_workbench
        from tools import sparse_code
        from tools.ledger import Ledger
        from tools.ledgered import SCORE

        bench = open_workbench(dictionary, self._service.settings, state=self._service.state)
        if bench.models.fingerprint != models:
            return None
        ledger, score = Ledger(self._service.state.client), bench.models.score.fingerprint
        names = [ledger.key(SCORE, score=score, image=image) for image in bench.models.control().images]
        records = ledger.get_many(SCORE, names)
        codes = [sparse_code.decode(record) for record in records if record is not None]
        return _columns(codes, bench.listed.n_features) if len(codes) == len(names) else None


def _columns(codes: list[SparseCode], n_features: int) -> _Columns:
    indices = np.concatenate([code.indices for code in codes])
    order = np.argsort(indices, kind="stable")
    counts = np.bincount(indices, minlength=n_features)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return _Columns(len(codes), starts, np.concatenate([code.values for code in codes])[order])
