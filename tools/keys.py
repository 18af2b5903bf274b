"""Every Redis key of the project: one function per noun, and no key is built anywhere else."""

from __future__ import annotations

from urllib.parse import quote

SCHEMA = 1
PREFIX = f"namesae:{SCHEMA}"
"""A newer schema lives beside an older one: it never reads, and never overwrites, the other's keys."""


def _join(*parts: str | int) -> str:
    # Quoted, so that an id that holds a colon cannot reach the keys of another.
    return ":".join((PREFIX, *(quote(str(part), safe="#@+=,.~") for part in parts)))


def runs() -> str:
    """ZSET: run id by its start, seconds since the epoch."""
    return _join("runs")


def run(run_id: str) -> str:
    """HASH: what is known of one run."""
    return _join("run", run_id)


def events(run_id: str) -> str:
    """STREAM: the events of one run, in order."""
    return _join("events", run_id)


def explanation(key: str) -> str:
    """STRING: the answer to one request, by the hash of everything that determines it."""
    return _join("explanation", key)


def explanations(feature: str) -> str:
    """ZSET: runs that ended with an explanation of one feature, by its date, seconds since the epoch."""
    return _join("explanations", feature)


def waiting() -> str:
    """ZSET: runs whose name waits for a review, by when it was asked for, seconds since the epoch."""
    return _join("waiting")


def retests(feature: str, models: str, seed: int) -> str:
    """STRING, a counter: sealed sets that retests of one feature took, for one set of models and seed."""
    return _join("retests", feature, models, seed)


def ledger(kind: str, key: str) -> str:
    """STRING: the recorded outcome of one piece of expensive work."""
    return _join("ledger", kind, key)


def draw_log() -> str:
    """STREAM: an entry before each batch is drawn and another once it is recorded."""
    return _join("drawlog")


def claim(kind: str, key: str) -> str:
    """STRING, expiring: who is working on this piece right now."""
    return _join("claim", kind, key)


# The bank's last parts "rows", "prompt" and "feature" belong to its first layout. What lies there is neither
# read nor changed.


def bank_manifest(score: str, generator: str) -> str:
    """HASH: generation, origin and live segments of one bank, exact to both fingerprints."""
    return _join("bank", score, generator, "manifest")


def bank_tail(score: str, generator: str) -> str:
    """LIST: the banked images that no segment holds yet, in the order they came."""
    return _join("bank", score, generator, "tail")


def bank_images(score: str, generator: str) -> str:
    """SET: the ids of the images in the tail."""
    return _join("bank", score, generator, "images")


def bank_retired(score: str, generator: str) -> str:
    """ZSET: segments that are no longer live, or not yet, by when that was, seconds since the epoch."""
    return _join("bank", score, generator, "retired")


def sealed(generator: str, seed: int) -> str:
    """HASH: name -> the images it was judged on, for one generator and one run seed."""
    return _join("sealed", generator, seed)


def fingerprints() -> str:
    """HASH: path, size and time of change of a file -> the hash of its content."""
    return _join("fingerprints")


def threads() -> str:
    """ZSET: checkpointed threads by their last write, seconds since the epoch."""
    return _join("threads")


def checkpoint_rows(thread: str) -> str:
    """HASH: namespace and checkpoint id -> checkpoint without its values, metadata, parent."""
    return _join("thread", thread, "rows")


def checkpoint_order(thread: str) -> str:
    """ZSET, all scores 0: namespace and checkpoint id, in lexical order."""
    return _join("thread", thread, "order")


def checkpoint_values(thread: str) -> str:
    """HASH: namespace, channel and version -> value."""
    return _join("thread", thread, "values")


def checkpoint_writers(thread: str) -> str:
    """SET: the checkpoints that have pending writes."""
    return _join("thread", thread, "writers")


def checkpoint_writes(thread: str, row: str) -> str:
    """HASH: task and index -> one pending write of the checkpoint ``row``."""
    return _join("thread", thread, "writes", row)


def endpoint(where: str) -> str:
    """STRING, expiring: how one LLM endpoint wants to be asked, by the hash of its address and model."""
    return _join("endpoint", where)


def allowance(batch: str) -> str:
    """HASH: the limits of a batch, and by feature what its run was granted, spent, or stopped by."""
    return _join("allowance", batch)


def batches() -> str:
    """ZSET: batch id by its last start, seconds since the epoch."""
    return _join("batches")


def batch(batch_id: str) -> str:
    """HASH: what a batch was asked for, and by feature what became of it."""
    return _join("batch", batch_id)


def batch_survey(batch_id: str) -> str:
    """HASH: the survey plan and the order of a batch, and by prompt the images it was charged."""
    return _join("batch", batch_id, "survey")


# The service.


def named(dictionary: str) -> str:
    """HASH: feature index -> one line about its latest explanation."""
    return _join("named", dictionary)


def named_changes(dictionary: str) -> str:
    """STREAM, trimmed: the index of each feature that got another line, in order."""
    return _join("named", dictionary, "changes")


def named_whole() -> str:
    """SET: dictionaries all of whose earlier explanations have their line in ``named``."""
    return _join("named")


def jobs() -> str:
    """ZSET: job id by when it was asked for, seconds since the epoch."""
    return _join("jobs")


def job(job_id: str) -> str:
    """HASH: what is to be done, by whom it was asked for, and how it stands."""
    return _join("job", job_id)


def queue() -> str:
    """LIST: jobs that nobody works on yet, the next at its head."""
    return _join("queue")


def taken() -> str:
    """ZSET: jobs that workers took and have not given back, by when they did, seconds since the epoch."""
    return _join("taken")


def idempotency(who: str, key: str) -> str:
    """STRING, expiring: what a request with this Idempotency-Key was, and the job that answers it."""
    return _join("idempotency", who, key)


def tokens() -> str:
    """HASH: sha256 of a bearer token -> its name, scope and dates."""
    return _join("tokens")


def session(digest: str) -> str:
    """STRING, expiring: the token a browser session stands for, by the sha256 of the session's secret."""
    return _join("session", digest)


def votes(feature: str) -> str:
    """LIST: what people said of the names of one feature, in order."""
    return _join("votes", feature)


def voted(dictionary: str) -> str:
    """ZSET: features of a dictionary that people voted on, by the last vote, seconds since the epoch."""
    return _join("voted", dictionary)
