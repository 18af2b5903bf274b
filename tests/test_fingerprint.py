from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sae.errors import ModelUnreachable
from sae.fingerprint import fingerprint
from sae.model_folder import cached_snapshot, hub_cache

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "unet" / "weights").write_bytes(b"123")
    return model


def test_equal_folders_have_equal_fingerprints(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(folder, other)
    assert fingerprint(str(other)) == fingerprint(str(folder))
    (other / ".DS_Store").write_text("left behind")
    (other / "README.md").write_text("prose")
    assert fingerprint(str(other)) == fingerprint(str(folder))


def test_every_name_and_byte_counts(folder: Path) -> None:
    seen = {fingerprint(str(folder))}
    (folder / "unet" / "weights").write_bytes(b"124")
    seen.add(fingerprint(str(folder)))
    (folder / "unet" / "weights").rename(folder / "weights")
    seen.add(fingerprint(str(folder)))
    (folder / "added").touch()
    seen.add(fingerprint(str(folder)))
    assert len(seen) == 4


def test_a_file_is_read_once_while_it_does_not_change(folder: Path) -> None:
    sums: dict[str, str] = {}
    first = fingerprint(str(folder), sums=sums)
    assert len(sums) == 2
    marked = dict.fromkeys(sums, "known")
    assert fingerprint(str(folder), sums=marked) != first, "the kept sums are what counts"
    path = folder / "config.json"
    path.write_text("[]")
    os.utime(path, ns=(1, 1))
    assert fingerprint(str(folder), sums=sums) != first and len(sums) == 3


def test_a_hub_id_is_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert fingerprint("org/name", COMMIT) == f"org/name@{COMMIT}"
    home = tmp_path / "models--org--name"
    (home / "refs").mkdir(parents=True)
    (home / "snapshots" / COMMIT).mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    assert fingerprint("org/name") == f"org/name@{COMMIT}"
    assert cached_snapshot("org/name", None) == home / "snapshots" / COMMIT


@pytest.mark.parametrize("source", ["org/name", "/no/such/folder", "name"])
def test_what_is_not_here_has_none(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnreachable, match=r"neither a folder nor in the hub cache"):
        fingerprint(source, "v1")


def test_the_hub_cache_is_where_the_hubs_client_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert hub_cache() == Path.home() / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert hub_cache() == Path("/x/huggingface/hub")
    monkeypatch.setenv("HF_HOME", "/h")
    assert hub_cache() == Path("/h/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "/c")
    assert hub_cache() == Path("/c")


def test_fingerprints_need_no_torch() -> None:
    code = "import sys, sae.fingerprint; assert not {'torch', 'huggingface_hub'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
