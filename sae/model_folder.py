"""Where a model's files are: a local folder, or a hub id's snapshot in the hub cache. Imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sae.errors import BadModel, ModelUnreachable

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def locate(source: str, revision: str | None, *, needs: Sequence[str], wants: Sequence[str]) -> Path:
    """The folder that holds a model: ``source`` itself, or a snapshot of the hub id it is.

    A snapshot in the hub cache is used as it is, without asking the hub; else the files matching ``wants``
    are downloaded. ``needs``: file names of which one must be there. BadModel, ModelUnreachable.
    """
    folder = Path(source)
    if not folder.is_dir():
        cached = cached_snapshot(source, revision)
        whole = cached is not None and _holds(cached, needs)
        folder = cached if cached is not None and whole else _download(source, revision, [*needs, *wants])
    if not _holds(folder, needs):
        raise BadModel(f"Model {source!r} has no {' or '.join(needs)}; give one in that format.")
    return folder


def source_and_revision(text: str) -> tuple[str, str | None]:
    """A folder as it is, or a hub id and what follows its @, if anything does."""
    if Path(text).is_dir():
        return text, None
    source, _, revision = text.partition("@")
    return source, revision or None


def cached_snapshot(source: str, revision: str | None) -> Path | None:
    """The snapshot of a hub id in the hub cache, named by its commit; None where there is none."""
    if not is_hub_id(source):
        return None
    repository = hub_cache() / f"models--{source.replace('/', '--')}"
    commit = revision or "main"
    if not is_commit(commit):
        ref = repository / "refs" / commit
        commit = ref.read_text().strip() if ref.is_file() else ""
    snapshot = repository / "snapshots" / commit
    return snapshot if is_commit(commit) and snapshot.is_dir() else None


def hub_cache() -> Path:
    """The folder the hub's own client keeps snapshots in."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def is_hub_id(source: str) -> bool:
    """Whether a source reads as organisation/name."""
    return _HUB_ID.fullmatch(source) is not None


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit, which can never mean something else."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _holds(folder: Path, needs: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in needs)


def _download(source: str, revision: str | None, patterns: Sequence[str]) -> Path:
    if not is_hub_id(source):
        raise BadModel(f"Model {source!r} is neither a folder nor a hub id; give one of them.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    at = f" at revision {revision}" if revision else ""
    try:
        return Path(
            snapshot_download(source, revision=revision, allow_patterns=list(patterns), cache_dir=hub_cache())
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelUnreachable(
            f"Model {source!r}{at} is not in {hub_cache()} and cannot be downloaded "
            f"({type(error).__name__}); check the id and the network, or give a local folder."
        ) from error
