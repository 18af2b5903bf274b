"""What a model is, by its content: equal fingerprints, equal weights and configuration. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from pathlib import Path

from sae.errors import ModelUnreachable
from sae.model_folder import cached_snapshot, is_commit, is_hub_id


def fingerprint(
    source: str, revision: str | None = None, *, sums: MutableMapping[str, str] | None = None
) -> str:
    """``org/name@commit`` of a hub id, else the sha256 over a folder's files but Markdown, names included.

    ``sums`` keeps each file's sum by path, size and modification time, so that a file is read once; storing
    it is the caller's affair. A hub id without a full commit must be in the hub cache: ModelUnreachable.
    """
    folder = Path(source)
    if folder.is_dir():
        return _folder_sum(folder.resolve(), {} if sums is None else sums)
    if revision and is_commit(revision) and is_hub_id(source):
        return f"{source}@{revision}"
    snapshot = cached_snapshot(source, revision)
    if snapshot is None:
        raise ModelUnreachable(
            f"Model {source!r} is neither a folder nor in the hub cache; download it or give its commit."
        )
    return f"{source}@{snapshot.name}"


def _folder_sum(folder: Path, sums: MutableMapping[str, str]) -> str:
    whole = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.is_file())
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in files):
        # Hidden files are what editors, systems and cut-short writes leave behind; prose changes no weight.
        hidden = any(part.startswith(".") for part in name.split("/"))
        if not hidden and path.suffix.lower() != ".md":
            whole.update(f"{name}\0{_file_sum(path, sums)}\n".encode())
    return whole.hexdigest()


def _file_sum(path: Path, sums: MutableMapping[str, str]) -> str:
    status = path.stat()
    key = f"{path}:{status.st_size}:{status.st_mtime_ns}"
    if key not in sums:
        with path.open("rb") as file:
            sums[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums[key]
