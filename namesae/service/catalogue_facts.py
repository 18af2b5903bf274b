"""What is known of a dictionary's features before any is named: read from the files that hold it."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from namesae.dictionaries import FACTS_FILE, Listed
from namesae.service.catalogue_lines import Known
from namesae.service.feature_names import Indices
from sae.errors import BadDictionary
from tools.errors import NamesaeError
from tools.exemplars import MANIFEST as PROBE_FILE
from tools.protocols import FeatureFacts

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from namesae.settings import Settings

LOOK_AGAIN_S = 60.0
"""Where the probe set would be: which pictures there are in a folder takes a while to say."""


class _Brief(TypedDict):
    density: float
    p99: float


_BRIEFS: TypeAdapter[list[_Brief]] = TypeAdapter(list[_Brief], config=ConfigDict(extra="ignore"))


class _Held(NamedTuple):
    """A facts file, and where its lines are."""

    path: Path
    mtime: int
    starts: Indices
    """(F + 1,) byte at which the line of each feature starts."""


class FactsFiles:
    """The facts of one dictionary, wherever they lie: with it, or worked out beside its probe set."""

    def __init__(
        self, listed: Listed, settings: Settings, *, sums: MutableMapping[str, str] | None = None
    ) -> None:
        self._listed, self._settings, self._sums = listed, settings, sums
        self._lock = Lock()
        self._held: _Held | None = None
        self._probes: tuple[Path, ...] = ()
        self._look_again = 0.0

    def known(self) -> Known | None:
        """Density and scale of every feature; None where nobody has worked them out."""
        return self._statistics() or self._briefs()

    def facts(self, index: int) -> FeatureFacts | None:
        """What the file says of one feature; None where there is none."""
        held = self._open()
        if held is None:
            return None
        with held.path.open("rb") as file:
            file.seek(int(held.starts[index]))
            line = file.read(int(held.starts[index + 1] - held.starts[index]))
        try:
            return FeatureFacts.model_validate_json(line.strip().removesuffix(b","))
        except ValidationError:
            return None

    def probe(self) -> Path | None:
        """The folder of the dictionary's scored probe pictures; None where nobody has scored them."""
        probes = self._settings.home / "probes"
        if self._listed.folder is None or not probes.is_dir():
            return None
        with self._lock:
            if time.monotonic() >= self._look_again:
                self._probes = self._places()
                self._look_again = time.monotonic() + LOOK_AGAIN_S
            folders = self._probes
        return next((folder for folder in folders if (folder / PROBE_FILE).is_file()), None)

    def _places(self) -> tuple[Path, ...]:
        from namesae.real_models import probe_folders

        try:
            return probe_folders(self._listed, self._settings, sums=self._sums)
        except (NamesaeError, OSError):
            # Its pictures or its backbone are not here: then they were not scored here either.
            return ()

    def _path(self) -> Path | None:
        if self._listed.folder is None:
            return None
        shipped = self._listed.folder / FACTS_FILE
        if shipped.is_file():
            return shipped
        probe = self.probe()
        kept = [] if probe is None else [*probe.glob("facts-*.json")]
        return max(kept, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _statistics(self) -> Known | None:
        from sae.statistics import STATISTICS_FILE, load_statistics

        folder = self._listed.folder
        if folder is None or not (folder / STATISTICS_FILE).is_file():
            return None
        try:
            read = load_statistics(folder)
        except BadDictionary:
            return None
        known = Known(read.density.astype(np.float64), read.p99.astype(np.float64))
        return known if len(known.density) == self._listed.n_features else None

    def _briefs(self) -> Known | None:
        path = self._path()
        try:
            briefs = [] if path is None else _BRIEFS.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
        if len(briefs) != self._listed.n_features:
            return None
        density = np.array([each["density"] for each in briefs], np.float64)
        return Known(density, np.array([each["p99"] for each in briefs], np.float64))

    def _open(self) -> _Held | None:
        path = self._path()
        if path is None:
            return None
        mtime = path.stat().st_mtime_ns
        with self._lock:
            held = self._held
            if held is None or (held.path, held.mtime) != (path, mtime):
                starts = _starts(path, self._listed.n_features)
                held = self._held = None if starts is None else _Held(path, mtime, starts)
            return held


def _starts(path: Path, count: int) -> Indices | None:
    """Where the lines are in a file as ``tools.feature_facts.write_facts`` writes it; None for another."""
    ends = np.flatnonzero(np.fromfile(path, np.uint8) == ord("\n"))
    return ends[: count + 1] + 1 if len(ends) == count + 2 else None
