"""Build a code index: read the images part by part, then turn the codes over, feature by feature.

A build that was stopped continues after its last whole part; one over images that were indexed before takes
their codes from there and reads the rest alone.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sae.activations import FeatureReader, sparse_rows
from sae.card import read_card as read_dictionary_card
from sae.code_index import CodeIndex, open_index
from sae.code_index_columns import (
    IndexCard,
    Longs,
    create_column,
    write_card,
    write_column,
)
from sae.code_index_parts import Line, Part, Parts, part_of
from sae.column_file import blocks
from sae.errors import BadIndex
from sae.fingerprint import fingerprint
from sae.folder_lock import folder_lock
from sae.image_source import ImageSource, Picture

PART = 512
"""Images of a part: what an interrupted build loses at most."""
SORTED_AT_ONCE = 8_000_000
"""Entries ordered in memory together."""
READERS = 4


class Progress(NamedTuple):
    """How far a build is, in images."""

    done: int
    images: int


class _Build(NamedTuple):
    reader: FeatureReader
    source: ImageSource
    known: dict[str, int]
    """sha256 of images to their rows in the index that is there already."""
    before: CodeIndex | None
    numbers: dict[str, int]
    """Classes to their numbers."""


def identity_of(dictionary: Path) -> str:
    """What the codes of a dictionary folder depend on beside the image: weights, backbone, hook point."""
    card = read_dictionary_card(dictionary)
    backbone = card.backbone.located(dictionary)
    parts = (
        card.weights,
        card.model_dump_json(include={"architecture", "k", "threshold", "hook_point", "pooling", "top_p"}),
        backbone.kind,
        fingerprint(backbone.source, backbone.revision),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build_index(
    reader: FeatureReader,
    source: ImageSource,
    *,
    folder: Path,
    identity: str,
    log: Callable[[Progress], None] = lambda _: None,
) -> CodeIndex:
    """The index of a source in a folder: the one that is there where it fits, else built now.

    ``identity``: of the reader, as ``identity_of`` gives it. While another process builds in the folder it is
    waited for, and what it built is taken where it fits. BadImages names an image that cannot be read.
    """
    ready = current_index(folder, source, identity=identity)
    if ready is not None:
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, wait=True):
        found = current_index(folder, source, identity=identity)
        return found or _built(reader, source, folder=folder, identity=identity, log=log)


def _built(
    reader: FeatureReader,
    source: ImageSource,
    *,
    folder: Path,
    identity: str,
    log: Callable[[Progress], None],
) -> CodeIndex:
    before = _earlier(folder, identity)
    parts = Parts(folder / "parts" / _short(identity, source.fingerprint), count=_count(len(source)))
    build = _Build(reader, source, _known(before), before, {c: at for at, c in enumerate(source.classes)})
    _fill(build, parts, log=log)
    card = IndexCard(
        identity=identity,
        source=source.name,
        fingerprint=source.fingerprint,
        classes=source.classes,
        n_images=len(source),
        n_features=reader.dictionary.n_features,
        entries=sum(len(part.features) for part in parts),
        generation=secrets.token_hex(8),
    )
    _write_columns(parts, card, folder=folder / card.generation)
    write_card(card, folder)
    _tidy(folder, keep=card.generation)
    return open_index(folder)


def current_index(folder: Path, source: ImageSource, *, identity: str) -> CodeIndex | None:
    """The index in a folder if it is of these images by this reader; None where one has to be built."""
    found = _earlier(folder, identity)
    return found if found is not None and found.card.fingerprint == source.fingerprint else None


def _earlier(folder: Path, identity: str) -> CodeIndex | None:
    """The index that is there; None where there is none, a broken one, or another dictionary's."""
    try:
        found = open_index(folder)
    except BadIndex:
        return None
    return found if found.card.identity == identity else None


def _known(before: CodeIndex | None) -> dict[str, int]:
    return {} if before is None else {before.sha256(row): row for row in range(before.card.n_images)}


def _fill(build: _Build, parts: Parts, *, log: Callable[[Progress], None]) -> None:
    n = len(build.source)
    with ThreadPoolExecutor(READERS) as pool:
        for number, start in enumerate(range(0, n, PART)):
            end = min(n, start + PART)
            if parts.read(number) is None:
                parts.write(number, part_of(list(_lines(build, range(start, end), pool=pool))))
            log(Progress(end, n))


def _lines(build: _Build, rows: range, *, pool: ThreadPoolExecutor) -> Iterator[Line]:
    """The images of a part, a batch in memory at a time."""
    size = build.reader.batch_size
    for start in range(rows.start, rows.stop, size):
        batch = range(start, min(rows.stop, start + size))
        pictures = list(pool.map(build.source.read, batch))
        yield from _coded(build, batch, pictures=pictures)


def _coded(build: _Build, rows: range, *, pictures: Sequence[Picture]) -> Iterator[Line]:
    new = [at for at, picture in enumerate(pictures) if picture.sha256 not in build.known]
    fresh = dict(zip(new, sparse_rows(build.reader([pictures[at].image for at in new])), strict=True))
    for at, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
        if at in fresh:
            features, values = fresh[at]
        else:
            assert build.before is not None
            features, values = build.before.code(build.known[picture.sha256])
        label = -1 if picture.label is None else build.numbers[picture.label]
        yield Line(features, values, label, picture.sha256, build.source.key(row))


def _write_columns(parts: Parts, card: IndexCard, *, folder: Path) -> None:
    """All columns, each filled as the parts go by: memory holds one part and one block of features."""
    folder.mkdir(parents=True)
    held = list(_small(parts))
    write_column(folder, "labels", values=np.concatenate([part.labels for part in held]))
    write_column(folder, "sums", values=np.concatenate([part.sums for part in held]))
    write_column(folder, "key_starts", values=_joined([part.key_starts for part in held]))
    write_column(folder, "key_text", values=np.concatenate([part.key_text for part in held]))
    write_column(folder, "offsets", values=_joined([part.offsets for part in held]))
    counts, totals = np.zeros(card.n_features, np.int64), np.zeros(card.n_features)
    features = create_column(folder, "features", shape=(card.entries,))
    values = create_column(folder, "values", shape=(card.entries,))
    at = 0
    for part in parts:
        end = at + len(part.features)
        features[at:end], values[at:end] = part.features, part.values
        counts += np.bincount(part.features, minlength=card.n_features)
        totals += np.bincount(part.features, weights=part.values, minlength=card.n_features)
        at = end
    starts = np.append(0, counts.cumsum())
    write_column(folder, "starts", values=starts)
    write_column(folder, "means", values=totals / card.n_images)
    _turn_over(parts, starts, folder=folder)


def _small(parts: Parts) -> Iterator[Part]:
    """The parts without their codes."""
    for part in parts:
        yield part._replace(features=part.features[:0], values=part.values[:0])


def _joined(starts: list[Longs]) -> Longs:
    """Offsets of parts one after another as the offsets of all."""
    lengths = np.concatenate([np.diff(each) for each in starts])
    return np.append(0, lengths.cumsum()).astype(np.int64)


def _turn_over(parts: Parts, starts: Longs, *, folder: Path) -> None:
    """Write the images of each feature, strongest first."""
    rows = create_column(folder, "rows", shape=(int(starts[-1]),))
    ranked = create_column(folder, "ranked", shape=(int(starts[-1]),))
    filled, first = starts[:-1].copy(), 0
    for part in parts:
        order = np.argsort(part.features, kind="stable")
        feature = part.features[order]
        seen = np.bincount(feature, minlength=len(filled))
        place = filled[feature] + np.arange(len(feature)) - np.append(0, seen.cumsum()[:-1])[feature]
        image = np.repeat(np.arange(len(part.labels)), np.diff(part.offsets)) + first
        rows[place], ranked[place] = image[order], part.values[order]
        filled += seen
        first += len(part.labels)
    for low, high in blocks(starts, most=SORTED_AT_ONCE):
        block = slice(starts[low], starts[high])
        feature = np.repeat(np.arange(low, high), np.diff(starts[low : high + 1]))
        order = np.lexsort((rows[block], -ranked[block], feature))
        rows[block], ranked[block] = rows[block][order], ranked[block][order]
    for column in (rows, ranked):
        if isinstance(column, np.memmap):
            column.flush()


def _tidy(folder: Path, *, keep: str) -> None:
    """Remove the parts and what earlier indexes left."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != keep:
            shutil.rmtree(path, ignore_errors=True)


def _count(images: int) -> int:
    return -(-images // PART)


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
