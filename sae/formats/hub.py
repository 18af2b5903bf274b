"""Where the weights of a foreign dictionary are: a local file or folder, or one file of a hub repository."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sae.errors import BadDictionary, ModelUnreachable
from sae.formats.container import COMPANION_NAMES, COMPANIONS, SUFFIXES
from sae.formats.saelens import WHITENING
from sae.model_folder import cached_snapshot, hub_cache, is_hub_id

BESIDE = ("*.json", WHITENING, "mean.pt", "std.pt")
"""What is fetched with weights, from the same folder."""


def find_weights(source: str, revision: str | None = None) -> Path:
    """The file or folder that a path, 'org/name' or 'org/name/file/in/it' means, fetched where need be.

    What is in the hub cache is used as it is. BadDictionary where a repository holds several dictionaries,
    with their names, or none; ModelUnreachable.
    """
    path = Path(source)
    if path.exists():
        return path
    repository, inner = _split(source)
    cached = cached_snapshot(repository, revision)
    if cached is not None and _is_there(cached / inner):
        return cached / inner
    wanted = _choose(_listed(repository, revision), inner, repository)
    return _fetch(repository, wanted, revision) / wanted


def _split(source: str) -> tuple[str, str]:
    words = source.split("/")
    repository = "/".join(words[:2])
    if not is_hub_id(repository) or ".." in words or "" in words:
        raise BadDictionary(f"{source} is neither a file, a folder nor a hub id; give one of them.")
    return repository, "/".join(words[2:])


def _is_there(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(_is_weights(file.name) for file in path.iterdir()))


def _is_weights(name: str) -> bool:
    path = PurePosixPath(name)
    companion = (
        path.name in COMPANION_NAMES
        or path.name.startswith(COMPANIONS)
        or path.name.endswith("_log_feature_sparsity.pt")
    )
    return path.suffix in (*SUFFIXES, ".npy") and not companion


def _choose(names: Sequence[str], inner: str, repository: str) -> str:
    """The file of a repository that ``inner`` means, or the folder where it holds .npy files."""
    if inner in names:
        return inner
    within = f"{inner}/" if inner else ""
    weights = [name for name in names if _is_weights(name) and name.startswith(within)]
    here = [name for name in weights if PurePosixPath(name).parent == PurePosixPath(inner or ".")]
    if here and all(name.endswith(".npy") for name in here):
        return inner
    found = here or weights
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadDictionary(f"{repository} holds no file of weights in {inner or 'it'}; give another.")
    listed = ", ".join(f"{repository}/{name}" for name in found[:6]) + (", ..." if len(found) > 6 else "")
    raise BadDictionary(f"{repository} holds {len(found)} files of weights; give one of {listed}.")


def _listed(repository: str, revision: str | None) -> list[str]:
    from huggingface_hub import HfApi

    try:
        held = HfApi().model_info(repository, revision=revision, timeout=30).siblings
        return [file.rfilename for file in held or ()]
    # The hub's client lets the errors of its transport through, whichever that is.
    except Exception as error:
        raise _unreachable(repository, revision, error) from error


def _fetch(repository: str, wanted: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    parent = PurePosixPath(wanted).parent
    folders = {parent, parent.parent} if parent.name == "checkpoints" else {parent}
    patterns = [glob.escape((folder / "x").as_posix())[:-1] + name for folder in folders for name in BESIDE]
    exact = [f"{glob.escape(wanted)}/*.npy".lstrip("/"), glob.escape(wanted)]
    try:
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=[*patterns, *exact], cache_dir=hub_cache()
            )
        )
    except OSError as error:
        raise _unreachable(repository, revision, error) from error


def _unreachable(repository: str, revision: str | None, error: Exception) -> ModelUnreachable:
    at = f" at revision {revision}" if revision else ""
    return ModelUnreachable(
        f"Dictionary {repository!r}{at} is not in {hub_cache()} and cannot be downloaded "
        f"({type(error).__name__}); check the id and the network, or give a local file."
    )
