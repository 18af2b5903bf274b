"""What tests of the command line share: the planted dictionary, a process, the same in this process."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from namesae import cli

ROOT = Path(__file__).parent.parent


def plant(monkeypatch: pytest.MonkeyPatch, *, redis_url: str, folder: Path) -> None:
    """The planted dictionary in a folder of its own, this session's Redis, images where writing is fast."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NAMESAE_FAKES", "1")
    monkeypatch.setenv("REDIS_URL", redis_url)
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        images = memory / f"namesae-tests-{os.getpid()}"
        atexit.register(shutil.rmtree, images, ignore_errors=True)
        monkeypatch.setenv("NAMESAE_IMAGES", str(images))


def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    """A process in progress."""
    return subprocess.Popen(
        [sys.executable, "-m", "namesae", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def namesae(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    with start(*arguments, **environ) as process:
        out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def here(*arguments: str) -> int:
    """The same in this process, for what needs none of its own."""
    try:
        return cli.run(list(arguments))
    except SystemExit as ended:
        return int(str(ended.code))


def records(out: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in out.splitlines()]
