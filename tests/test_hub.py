"""Dictionaries go to the hub with a card that others can use, and come back whole or not at all."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import LocalEntryNotFoundError

from sae.card import BackboneSpec, Origin, ProbeSet
from sae.dictionary import WEIGHTS_FILE, load_dictionary
from sae.errors import BadDictionary, ModelUnreachable
from sae.hub import Hub, Upload, pull, push
from tests.tiny_dictionary import random_dictionary
from tests.tiny_models import REVISION

ORIGIN = Origin(
    name="tiny | one",
    backbone=BackboneSpec(kind="open_clip", source="laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    hook_point="block.3",
    pooling="cls",
    generator="../sd",
    probe_set=ProbeSet(source="/home/somebody/pictures", images=3000),
)


class FolderHub:
    """A hub in a folder: repositories by name, each commit a snapshot of links into blobs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: list[tuple[str, bool | None]] = []
        self.messages: list[str] = []

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> str:
        folder = self.root / repo_id
        if folder.exists() and not exist_ok:
            raise OSError(f"{repo_id} exists")
        folder.mkdir(parents=True, exist_ok=True)
        self.made.append((repo_id, private))
        return f"https://hub/{repo_id}"

    def create_commit(self, repo_id: str, operations: Iterable[Any], *, commit_message: str) -> str:
        for each in operations:
            assert isinstance(each, CommitOperationAdd)
            held = each.path_or_fileobj
            raw = held if isinstance(held, bytes) else Path(str(held)).read_bytes()
            blob = self.root / "blobs" / f"{len(self.messages)}-{each.path_in_repo}"
            blob.parent.mkdir(exist_ok=True)
            blob.write_bytes(raw)
            link = self.root / repo_id / each.path_in_repo
            link.unlink(missing_ok=True)
            link.symlink_to(blob)
        self.messages.append(commit_message)
        return f"https://hub/{repo_id}/commit/{REVISION}"

    def snapshot_download(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        allow_patterns: list[str] | str | None = None,
    ) -> str:
        if not (self.root / repo_id).is_dir() or revision not in (None, "main"):
            raise LocalEntryNotFoundError("no such snapshot")
        return str(self.root / repo_id)


class Unreachable(FolderHub):
    """A hub that knows nobody."""

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> str:
        raise OSError("401 Client Error.\nUnauthorized")


@pytest.fixture
def hub(tmp_path: Path) -> FolderHub:
    return FolderHub(tmp_path / "hub")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_dictionary().save(tmp_path / "tiny", ORIGIN)
    return tmp_path / "tiny"


def test_what_is_pushed_comes_back(hub: FolderHub, folder: Path, tmp_path: Path) -> None:
    address = push(folder, "me/tiny", upload=Upload(private=True), hub=hub)
    assert address.endswith(REVISION) and hub.made == [("me/tiny", True)]
    card = pull("me/tiny", tmp_path / "back", hub=hub)
    assert card.backbone == ORIGIN.backbone and card.hook_point == "block.3"
    back, sent = load_dictionary(tmp_path / "back"), load_dictionary(folder)
    assert torch.equal(back.W_enc, sent.W_enc)
    assert not any(path.is_symlink() for path in (tmp_path / "back").iterdir())
    push(folder, "me/tiny", hub=hub)
    assert len(hub.messages) == 2


def test_the_model_card_can_be_read_by_the_hub_and_by_people(hub: FolderHub, folder: Path) -> None:
    push(folder, "me/tiny", upload=Upload(licence="mit", words="Trained on *pictures*."), hub=hub)
    page = (hub.root / "me/tiny/README.md").read_text()
    _, matter, text = page.split("---\n", 2)
    held = yaml.safe_load(matter)
    assert held["license"] == "mit" and held["base_model"] == ORIGIN.backbone.source
    assert "sparse-autoencoder" in held["tags"]
    assert "Trained on *pictures*." in text and 'load("me/tiny")' in text and "| 40 |" in text


def test_nothing_that_only_this_machine_has_is_pushed(hub: FolderHub, folder: Path, tmp_path: Path) -> None:
    push(folder, "me/tiny", hub=hub)
    card = pull("me/tiny", tmp_path / "back", hub=hub)
    assert card.generator is None and card.probe_set is not None and card.probe_set.source == "pictures"
    local = ORIGIN.model_copy(update={"backbone": BackboneSpec(kind="open_clip", source="../clip")})
    random_dictionary().save(tmp_path / "local", local)
    with pytest.raises(BadDictionary, match="which nobody else has"):
        push(tmp_path / "local", "me/local", hub=hub)
    push(tmp_path / "local", "me/local", upload=Upload(backbone=ORIGIN.backbone), hub=hub)
    assert pull("me/local", tmp_path / "other", hub=hub).backbone == ORIGIN.backbone


def test_damaged_dictionaries_neither_go_nor_come(hub: FolderHub, folder: Path, tmp_path: Path) -> None:
    push(folder, "me/tiny", hub=hub)
    weights = hub.root / "me/tiny" / WEIGHTS_FILE
    weights.resolve().write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BadDictionary, match="not the file its card was written for"):
        pull("me/tiny", tmp_path / "back", hub=hub)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "tiny"]
    (folder / WEIGHTS_FILE).write_bytes(b"")
    with pytest.raises(BadDictionary):
        push(folder, "me/other", hub=hub)
    assert not (hub.root / "me/other").exists()


def test_strange_repositories_are_refused(hub: FolderHub, folder: Path, tmp_path: Path) -> None:
    hub.create_repo("me/prisma")
    with pytest.raises(BadDictionary, match=r"holds no dictionary\.json"):
        pull("me/prisma", tmp_path / "back", hub=hub)
    with pytest.raises(ModelUnreachable, match="at revision v2"):
        pull("me/prisma", tmp_path / "back", revision="v2", hub=hub)
    with pytest.raises(BadDictionary, match="organisation/name"):
        push(folder, "tiny", hub=hub)
    with pytest.raises(BadDictionary, match="exists already"):
        pull("me/prisma", folder, hub=hub)
    with pytest.raises(ModelUnreachable, match="hf auth login") as refused:
        push(folder, "me/tiny", hub=Unreachable(tmp_path / "none"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["create_repo", "create_commit", "snapshot_download"])
def test_the_real_client_takes_what_the_fake_does(name: str) -> None:
    fake, real = inspect.signature(getattr(FolderHub, name)), inspect.signature(getattr(HfApi, name))
    asked = inspect.signature(getattr(Hub, name))
    for parameter in asked.parameters:
        assert parameter in real.parameters and parameter in fake.parameters
        assert asked.parameters[parameter].kind == real.parameters[parameter].kind
