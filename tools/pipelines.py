"""Diffusion pipelines: a local folder or a hub id, safetensors only. Importing this imports no diffusers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sae.model_folder import cached_snapshot, hub_cache, is_hub_id
from tools.cards import CARD_FILE, INDEX_FILE
from tools.device import Device, Precision, is_out_of_memory
from tools.errors import DependencyError, IntegrityError, UsageError

_SMALL_FILES = (INDEX_FILE, CARD_FILE, "*/*.json", "*/*.txt", "*/*.model")
_HALF = ".fp16.safetensors"


def locate_pipeline(source: str, *, revision: str | None = None, precision: Precision = "fp32") -> Path:
    """The folder of a pipeline; a hub id comes from the hub cache, else it is downloaded into it.

    UsageError when the folder holds no pipeline in safetensors, DependencyError when the hub is out of reach.
    """
    local = Path(source).expanduser()
    folder = local if local.is_dir() else _snapshot(source, revision=revision, precision=precision)
    if not (folder / INDEX_FILE).is_file():
        raise UsageError(f"Generator {source} has no {INDEX_FILE}; give a diffusers folder or a hub id.")
    bare = _without_weights(folder)
    if bare:
        raise UsageError(f"Generator {source} has no safetensors weights in {bare}/; only those are loaded.")
    return folder


def open_pipeline(folder: Path, *, device: Device, precision: Precision) -> Any:
    """A diffusers pipeline from a folder, on a device, silent. IntegrityError when its files do not fit."""
    import torch
    from diffusers import DiffusionPipeline
    from safetensors import SafetensorError

    has_half = any(folder.glob(f"*/*{_HALF}"))
    load: Callable[..., Any] = DiffusionPipeline.from_pretrained
    try:
        with quiet():
            pipeline = load(
                folder,
                dtype=torch.float16 if precision == "fp16" else torch.float32,
                variant="fp16" if precision == "fp16" and has_half else None,
                use_safetensors=True,
                local_files_only=True,
            ).to(device)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise UsageError(
                f"Generator {folder} does not fit into the memory of {device}; free some."
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise IntegrityError(f"Generator {folder} cannot be loaded ({reason}); get it again.") from error
    pipeline.set_progress_bar_config(disable=True)
    return _Quiet(pipeline)


class _Quiet:
    """A pipeline that says nothing while it draws: a filtered picture is a fault, not a warning."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def __call__(self, **asked: Any) -> Any:
        with quiet():
            return self._pipeline(**asked)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings from diffusers and transformers while they load or draw."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    both = (diffusers_logging, transformers_logging)
    before = [(each.get_verbosity(), each.is_progress_bar_enabled()) for each in both]
    for each in both:
        each.set_verbosity_error()
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each, (level, had_bar) in zip(both, before, strict=True):
            each.set_verbosity(level)
            if had_bar:
                each.enable_progress_bar()


def _components(folder: Path) -> list[str]:
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(f"{folder / INDEX_FILE} is not JSON; get the generator again.") from error
    pairs = index.items() if isinstance(index, dict) else ()
    return [name for name, kind in pairs if isinstance(kind, list) and kind and kind[0] is not None]


def _without_weights(folder: Path) -> str | None:
    models = (name for name in _components(folder) if (folder / name / "config.json").is_file())
    return next((name for name in models if not any((folder / name).glob("*.safetensors"))), None)


def _snapshot(repo: str, *, revision: str | None, precision: Precision) -> Path:
    if not is_hub_id(repo):
        raise UsageError(f"Generator {repo!r} is neither a folder nor a hub id; give one of them.")
    cached = cached_snapshot(repo, revision)
    if cached is not None and _is_whole(cached):
        return cached
    return _download(repo, revision=revision, precision=precision)


def _is_whole(folder: Path) -> bool:
    if not (folder / INDEX_FILE).is_file() or _without_weights(folder):
        return False
    return all((folder / name).is_dir() for name in _components(folder))


def _download(repo: str, *, revision: str | None, precision: Precision) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    def fetch(weights: str, *, but: list[str]) -> Path:
        wanted = [*_SMALL_FILES, weights]
        return Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=wanted, ignore_patterns=but, cache_dir=hub_cache()
            )
        )

    try:
        if precision == "fp16":
            half = fetch(f"*/*{_HALF}", but=[])
            if _is_whole(half):
                return half
        return fetch("*/*.safetensors", but=[f"*/*{_HALF}", "*/*non_ema*"])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise DependencyError(
            f"Generator {repo!r} is not in {hub_cache()} and cannot be downloaded ({type(error).__name__}); "
            "check its id and the network, or give a local folder."
        ) from error
