"""From the records of all shards to the manifest of a store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sae.errors import BadStore
from sae.store.manifest import (
    IMAGES,
    SHARDS,
    HookPart,
    Manifest,
    PartMoments,
    Plan,
    ShardRecord,
    Statistics,
    read_lines,
    read_record,
    shard_name,
)
from sae.store.moments import Moments, merged, no_moments


def finished(folder: Path, plan: Plan) -> Manifest:
    """What manifest.json is to say of a store whose shards are all there. BadStore where that is not so."""
    records = [
        read_record(folder / SHARDS / shard_name(number, ".json"), ShardRecord)
        for number in range(plan.n_shards)
    ]
    images = sum(record.shard.images for record in records)
    if not images:
        raise BadStore(
            f"No image of {plan.source} could be read, so {folder} holds nothing; check the images."
        )
    return Manifest(
        plan=plan,
        images=images,
        data_fingerprint=_data_fingerprint(folder, plan.n_shards),
        shards=tuple(record.shard for record in records),
        statistics={part.folder: _statistics(part, records) for part in plan.parts},
    )


def _statistics(part: HookPart, records: Sequence[ShardRecord]) -> Statistics:
    total = no_moments(part.width)
    for record in records:
        total = merged(total, read_moments(record.moments[part.folder]))
    return Statistics(
        rows=total.n,
        mean=tuple(total.mean.tolist()),
        variance=tuple(total.variance.tolist()),
        gamma=total.gamma,
    )


def read_moments(kept: PartMoments) -> Moments:
    """Moments as they are worked with."""
    return Moments(kept.count, np.array(kept.mean), np.array(kept.squares))


def _data_fingerprint(folder: Path, n_shards: int) -> str:
    whole = hashlib.sha256()
    for number in range(n_shards):
        for entry in read_lines(folder / IMAGES / shard_name(number, ".jsonl")):
            whole.update(f"{entry.image}\0{entry.sha256}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()
