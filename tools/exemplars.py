"""The probe set, searched: an inverted index feature -> images, highest activation first.

A probe folder holds ``images.npy`` (n ids), ``rows.npy`` and ``values.npy`` (one entry per non-zero
activation, feature by feature, highest first), ``offsets.npy`` (where each feature starts) and, written
last, ``probe.json``. The arrays are memory-mapped: only the features asked for are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sae.feature import Exemplar
from sae.statistics import firing_facts
from sae.whole_file import whole_file
from tools.bands import band_slice
from tools.digest import digest
from tools.errors import IntegrityError, UsageError
from tools.protocols import FeatureFacts, Floats, Ints, SparseCode

MANIFEST = "probe.json"
_ARRAYS = ("images", "rows", "values", "offsets")


class _Index(NamedTuple):
    rows: Ints
    values: Floats
    offsets: npt.NDArray[np.int64]


def codes_of(activations: Floats) -> list[SparseCode]:
    """The rows of an (n, F) activation matrix as sparse codes; ValueError on NaN."""
    if np.isnan(activations).any():
        raise ValueError("The activation matrix holds NaN; score the images again.")
    found = []
    for row in activations:
        at = np.flatnonzero(row).astype(np.int32)
        found.append(SparseCode(at, row[at].astype(np.float32)))
    return found


def _invert(codes: Iterable[SparseCode], n_features: int) -> _Index:
    kept = list(codes)
    features = np.concatenate([code.indices for code in kept] or [np.zeros(0, np.int32)])
    values = np.concatenate([code.values for code in kept] or [np.zeros(0, np.float32)])
    rows = np.repeat(np.arange(len(kept), dtype=np.int32), [len(code.indices) for code in kept])
    if len(features) and not 0 <= features.min() <= features.max() < n_features:
        raise ValueError(f"A code names a feature outside 0 to {n_features - 1}; give the codes' dictionary.")
    if not np.isfinite(values).all():
        raise ValueError("A code holds an activation that is not finite; score the images again.")
    order = np.lexsort((rows, -values, features))
    offsets = np.searchsorted(features[order], np.arange(n_features + 1))
    return _Index(rows[order], values[order].astype(np.float32), offsets.astype(np.int64))


def build_probe_set(
    folder: Path, images: Sequence[str], codes: Iterable[SparseCode], *, n_features: int, scorer: str
) -> ProbeSet:
    """Write a probe folder from one sparse code per image id and open it.

    ``scorer`` is the fingerprint of what scored the images. ValueError unless there is one
    finite code per image.
    """
    kept = list(codes)
    if not images or len(kept) != len(images):
        raise ValueError(
            f"{len(kept)} codes for {len(images)} images; give one code per image, at least one."
        )
    index = _invert(kept, n_features)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    arrays: dict[str, npt.NDArray[Any]] = {"images": np.array(images, dtype="S64"), **index._asdict()}
    for name, array in arrays.items():
        with whole_file(folder / f"{name}.npy") as partial:
            np.save(partial, array)
    fingerprint = digest(tool="probe", images=list(images), scorer=scorer, n_features=n_features)
    manifest = {
        "schema": 1,
        "n_images": len(images),
        "n_features": n_features,
        "n_values": len(index.values),
        "scorer": scorer,
        "fingerprint": fingerprint,
    }
    with whole_file(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=1) + "\n")
    return ProbeSet.open(folder)


class ProbeSet:
    """A probe folder, opened; implements FindExemplars.

    ``facts`` by feature, when known (dictionary statistics, notes), replace what the probe set alone says.
    """

    def __init__(
        self,
        images: npt.NDArray[np.bytes_],
        index: _Index,
        *,
        facts: Sequence[FeatureFacts],
        fingerprint: str,
    ) -> None:
        self._images = images
        self._index = index
        self._facts = tuple(facts)
        self.fingerprint = fingerprint

    @classmethod
    def open(cls, folder: Path, *, facts: Sequence[FeatureFacts] = ()) -> Self:
        """Map a probe folder; UsageError when there is none, IntegrityError when it is not whole."""
        manifest = _manifest(folder)
        try:
            loaded = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        except (OSError, ValueError) as error:
            raise IntegrityError(f"Probe set {folder} is damaged ({error}); build it again.") from error
        index = _Index(loaded["rows"], loaded["values"], loaded["offsets"])
        expected = tuple(manifest.get(key) for key in ("n_images", "n_features", "n_values"))
        if (len(loaded["images"]), len(index.offsets) - 1, len(index.values)) != expected:
            raise IntegrityError(f"Probe set {folder} differs from its {MANIFEST}; build it again.")
        if facts and len(facts) != manifest["n_features"]:
            raise IntegrityError(
                f"{len(facts)} facts do not fit the {manifest['n_features']} features of probe set {folder}; "
                "compute them again."
            )
        fingerprint = digest(
            probe=manifest.get("fingerprint"), facts=[each.model_dump(mode="json") for each in facts]
        )
        return cls(loaded["images"], index, facts=facts, fingerprint=fingerprint)

    @property
    def n_features(self) -> int:
        """Features of the dictionary."""
        return len(self._index.offsets) - 1

    @property
    def images(self) -> tuple[str, ...]:
        """All image ids, by row."""
        return tuple(str(name, "ascii") for name in self._images)

    def activations(self, index: int) -> Floats:
        """The activation of one feature on every probe image, (n,)."""
        rows, values = self._entries(index)
        column = np.zeros(len(self._images), dtype=np.float32)
        column[rows] = values
        return column

    def facts(self, index: int) -> FeatureFacts:
        """Known facts, else density, threshold and p99 on this probe set. UsageError when out of range."""
        _, values = self._entries(index)
        if self._facts:
            return self._facts[index]
        density, threshold, p99 = firing_facts(values, n_images=len(self._images))
        return FeatureFacts(density=density, threshold=threshold, p99=p99)

    def __call__(self, index: int, *, count: int, low: float = 0.0, high: float = 1.0) -> list[Exemplar]:
        """Probe images of a quantile band, highest first; fewer than ``count`` when the band is smaller."""
        rows, values = self._entries(index)
        live = int((values > 0).sum())
        band = band_slice(live, count=count, low=low, high=high)
        return [
            Exemplar(image=str(self._images[row], "ascii"), activation=float(value))
            for row, value in zip(rows[band], values[band], strict=True)
        ]

    def _entries(self, index: int) -> tuple[Ints, Floats]:
        if not 0 <= index < self.n_features:
            raise UsageError(f"Feature {index} is out of range: give 0 to {self.n_features - 1}.")
        inside = slice(int(self._index.offsets[index]), int(self._index.offsets[index + 1]))
        return self._index.rows[inside], self._index.values[inside]


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        read = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise UsageError(f"{folder} is no probe set: it has no {MANIFEST}; build one.") from error
    except ValueError as error:
        raise IntegrityError(f"{folder / MANIFEST} is not JSON; build the probe set again.") from error
    if not isinstance(read, dict) or read.get("schema") != 1:
        raise IntegrityError(f"{folder / MANIFEST} is not of schema 1; build the probe set again.")
    return read
