"""What naming needs, checked; each line that is not right says how to mend it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal, NamedTuple

from namesae.dictionaries import Damaged, Listed, list_dictionaries
from namesae.reporters import tell, write_json
from namesae.settings import Settings
from tools import redis_server
from tools.device import best_device
from tools.errors import DependencyError, IntegrityError, NamesaeError, UsageError

LITTLE_DISK = 2e9
MODEL_PACKAGES = ("torch", "open_clip", "timm", "transformers", "diffusers", "langgraph", "openai")
DISTRIBUTIONS = {"open_clip": "open_clip_torch"}


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    state: Literal["ok", "note", "fault"]
    said: str
    exit_code: int = 0
    """Of a fault."""


def run_doctor(settings: Settings, *, stop: bool = False, as_json: bool = False) -> int:
    """Print all checks, or stop the embedded Redis; the exit code is that of the first fault."""
    if stop:
        ended = redis_server.stop(settings.home)
        where = redis_server.server_folder(settings.home)
        tell(f"The embedded Redis in {where} {'was stopped' if ended else 'was not running'}.", sys.stdout)
        return 0
    checks = list(examine(settings))
    for check in checks:
        if as_json:
            write_json("check", check._asdict(), out=sys.stdout)
        else:
            mark = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}[check.state]
            tell(f"{mark}  {check.name:<12}  {check.said}", sys.stdout)
    return next((check.exit_code for check in checks if check.state == "fault"), 0)


def examine(settings: Settings) -> Iterator[Check]:
    """All checks; starts nothing and loads no model."""
    yield _python()
    yield from _packages()
    yield _device()
    yield _home(settings)
    yield _disk(settings)
    yield _redis(settings)
    yield from _dictionaries(settings)
    yield _proposer(settings)


def _python() -> Check:
    told = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Check("python", "ok", told)
    return Check("python", "note", f"{told} is not tested; use 3.11 or 3.12.")


def _packages() -> Iterator[Check]:
    missing = [name for name in MODEL_PACKAGES if find_spec(name) is None]
    if missing:
        yield Check(
            "packages", "fault", f"{', '.join(missing)} missing; run make setup.", DependencyError.exit_code
        )
        return
    told = ", ".join(f"{name} {_version(DISTRIBUTIONS.get(name, name))}" for name in MODEL_PACKAGES)
    yield Check("packages", "ok", told)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "?"


def _device() -> Check:
    device = best_device()
    slow = (
        "; a diffusion model of 512 pixels takes seconds to minutes an image here" if device == "cpu" else ""
    )
    return Check("device", "ok", f"{device}, {os.cpu_count()} cores{slow}")


def _home(settings: Settings) -> Check:
    home = settings.home
    existing = next((folder for folder in (home, *home.parents) if folder.exists()), home)
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError:
        said = f"{home} cannot be written; set NAMESAE_HOME to a folder you can write."
        return Check("home", "fault", said, UsageError.exit_code)
    return Check("home", "ok", f"{home}{'' if home.exists() else ' (made when first used)'}")


def _disk(settings: Settings) -> Check:
    existing = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < LITTLE_DISK:
        return Check("disk", "note", f"{free / 1e9:.1f} GB free at {existing}; make room before naming many.")
    return Check("disk", "ok", f"{free / 1e9:.0f} GB free at {existing}")


def _redis(settings: Settings) -> Check:
    return _embedded(settings) if settings.redis_url is None else _remote(settings)


def _embedded(settings: Settings) -> Check:
    status = redis_server.status(settings.home)
    if status.running:
        used = f"{(status.memory_bytes or 0) / 1e6:.0f} MB, {status.clients} clients"
        said = (
            f"embedded {status.version} runs, process {status.pid}, {used}; writes {settings.fsync}, leaves "
            f"{redis_server.IDLE_S:.0f} s after its last client; namesae doctor --stop stops it"
        )
        return Check("redis", "ok", said)
    if status.binary is None:
        said = f"no valkey-server or redis-server was found; {redis_server.INSTALL}."
        return Check("redis", "fault", said, DependencyError.exit_code)
    return Check("redis", "ok", f"embedded, starts when needed: {status.binary}, data in {status.folder}")


def _remote(settings: Settings) -> Check:
    from namesae.wiring import open_state
    from tools.redis_client import address, durability

    try:
        with open_state(settings) as state:
            kept = durability(state.client)
            said = (
                kept.warning or f"{address(state.client)}, appendonly {kept.append_only}, fsync {kept.fsync}"
            )
            return Check("redis", "note" if kept.warning else "ok", said)
    except NamesaeError as error:
        return Check("redis", "fault", str(error), error.exit_code)


def _dictionaries(settings: Settings) -> Iterator[Check]:
    found = list_dictionaries(settings)
    good = [each for each in found if isinstance(each, Listed)]
    for each in found:
        if isinstance(each, Damaged):
            yield Check("dictionaries", "fault", each.reason, IntegrityError.exit_code)
    if good:
        yield Check("dictionaries", "ok", ", ".join(f"{each.name} ({each.n_features})" for each in good))
    else:
        yield Check("dictionaries", "note", f"none; put folders into {settings.home / 'dictionaries'}.")


def _proposer(settings: Settings) -> Check:
    key = "a key is set" if settings.openai_api_key else "no OPENAI_API_KEY is set"
    if settings.proposer_kind != "openai":
        return Check("proposer", "ok", f"{settings.proposer_kind} ({key})")
    where = settings.openai_base_url or "api.openai.com"
    if settings.openai_api_key is None:
        said = "openai is chosen and OPENAI_API_KEY is not set; set it, or choose lexical."
        return Check("proposer", "fault", said, UsageError.exit_code)
    return Check("proposer", "ok", f"openai, {settings.openai_model} at {where} ({key})")
