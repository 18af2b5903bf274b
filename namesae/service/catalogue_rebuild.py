"""The lines about features that were named before there were lines: made once, from their explanations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from agent.feature_rows import FeatureRow
from agent.records import Explanation
from agent.runs_store import CHANGES, WITHOUT_ANSWER, RunStore
from sae.feature import Feature
from tools import keys
from tools.errors import IntegrityError

if TYPE_CHECKING:
    import redis

log = logging.getLogger(__name__)

PAGE = 1000
"""Features asked for at once: Redis serves nobody else meanwhile."""


def fill_in(client: redis.Redis, dictionary: str, *, n_features: int) -> int:
    """Write the lines that a store older than them lacks; how many. Nothing the second time.

    A line that is there stays: whoever wrote it knew of a later explanation.
    """
    if client.sismember(keys.named_whole(), dictionary):
        return 0
    written = 0
    for start in range(0, n_features, PAGE):
        written += _fill_page(client, dictionary, range(start, min(start + PAGE, n_features)))
    client.sadd(keys.named_whole(), dictionary)
    return written


def _fill_page(client: redis.Redis, dictionary: str, indices: range) -> int:
    features = [Feature(dictionary=dictionary, index=index) for index in indices]
    with client.pipeline(transaction=False) as pipe:
        for feature in features:
            pipe.zrevrange(keys.explanations(str(feature)), 0, -1)
        runs = cast("list[list[bytes]]", pipe.execute())
    store = RunStore(client)
    found = [(at, told) for at, each in zip(indices, runs, strict=True) if (told := _latest(store, each))]
    if not found:
        return 0
    with client.pipeline(transaction=True) as pipe:
        for index, told in found:
            pipe.hsetnx(keys.named(dictionary), str(index), FeatureRow.of(told).model_dump_json())
            pipe.xadd(keys.named_changes(dictionary), {"index": index}, maxlen=CHANGES)
        pipe.execute()
    return len(found)


def _latest(store: RunStore, runs: Sequence[bytes]) -> Explanation | None:
    """The last answer among runs, latest first; the last failure where all failed."""
    failed: Explanation | None = None
    for run in runs:
        try:
            told = store.explanation(run.decode())
        except IntegrityError as error:
            log.warning("%s", error)
            continue
        if told is not None and told.verdict not in WITHOUT_ANSWER:
            return told
        failed = failed or told
    return failed
