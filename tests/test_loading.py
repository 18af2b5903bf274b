from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sae.card import BackboneSpec
from sae.dictionary import load_dictionary
from sae.errors import BadDictionary, ModelUnreachable
from sae.loading import Loaded, load
from tests.format_files import case
from tests.tiny_dictionary import write_dictionary

COMMIT = "a" * 40
CLIP = BackboneSpec(kind="open_clip", source="../clip")


def loaded(name: str, folder: Path) -> Loaded:
    each = case(name)
    folder.mkdir(parents=True, exist_ok=True)
    return load(each.write(folder, 0).path, **each.options)


def in_cache(cache: Path, repository: str, name: str, inner: str = ".") -> None:
    """A case's files as the hub's own client keeps them."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(COMMIT)
    folder = root / "snapshots" / COMMIT / inner
    folder.mkdir(parents=True, exist_ok=True)
    written = case(name).write(folder, 0)
    if written.path.parent == folder and written.path.is_dir():
        shutil.copytree(written.path, folder, dirs_exist_ok=True)
        shutil.rmtree(written.path)


def test_our_own_folder_comes_back_as_it_is(tmp_path: Path) -> None:
    folder = write_dictionary(tmp_path)
    for path in (folder, folder / "dictionary.safetensors"):
        found = load(path)
        assert found.format == "namesae" and found.notes == ()
        assert torch.equal(found.dictionary.W_enc, load_dictionary(folder).W_enc)
    assert found.as_origin("again").backbone.source == str(tmp_path / "clip")


def test_a_foreign_file_becomes_a_folder_of_ours(tmp_path: Path) -> None:
    found = loaded("martetten-clean", tmp_path / "foreign")
    origin = found.as_origin("seed", backbone=CLIP)
    assert (origin.hook_point, origin.pooling) == ("block.11", "cls")
    found.dictionary.save(tmp_path / "own", origin)
    x = torch.randn(5, found.dictionary.width, generator=torch.Generator().manual_seed(0))
    again = load(tmp_path / "own")
    assert torch.equal(again.dictionary.reconstruct(x), found.dictionary.reconstruct(x))


HINTS = {
    "martetten-clean": ("ViT-B-32 laion2b_s34b_b79k", None, 11, "cls"),
    "sative": (None, None, 11, "cls"),
    "msae-matryoshka": ("ViT-L/14", None, None, None),
    "hugofry": ("openai/clip-vit-large-patch14", "transformers", -2, "cls"),
    "patchsae": ("openai/clip-vit-large-patch14", "transformers", -2, "all"),
    "prisma": ("open-clip:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", "open_clip", 9, "all"),
    "prisma-gated": (None, None, None, "all"),
    "saelens-flat-topk": ("gpt2", None, 5, None),
    "clipscope": (None, None, 22, "cls"),
    "learning-AutoEncoder": ("openai/clip-vit-large-patch14", None, None, None),
}


@pytest.mark.parametrize("name", HINTS)
def test_what_a_file_says_of_its_backbone_is_kept(name: str, tmp_path: Path) -> None:
    hints = loaded(name, tmp_path).hints
    kind = hints.backbone and hints.backbone.kind
    assert (hints.model, kind, hints.block, hints.tokens) == HINTS[name]


def test_a_block_counted_from_the_end_needs_their_number(tmp_path: Path) -> None:
    found = loaded("hugofry", tmp_path)
    assert found.hints.hook_point() is None and found.hints.hook_point(24) == "block.22"
    with pytest.raises(BadDictionary, match=r"hook point .it says 'resid'.; give one such as block\.11"):
        found.as_origin("x")
    assert found.as_origin("x", hook_point="block.22").pooling == "cls"


def test_what_nobody_tells_is_asked_for(tmp_path: Path) -> None:
    found = loaded("prisma", tmp_path / "prisma")
    with pytest.raises(BadDictionary, match="give a pooling"):
        found.as_origin("x")
    assert found.as_origin("x", pooling="max").hook_point == "block.9"
    with pytest.raises(BadDictionary, match=r"where its backbone is .it says 'ViT-L/14'.; give it\."):
        loaded("msae-matryoshka", tmp_path / "msae").as_origin("x")


def test_a_hub_id_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    in_cache(tmp_path, "prisma-multimodal/sae-l9", "prisma")
    in_cache(tmp_path, "many/dictionaries", "sparsify", "deep/down")
    for source in ("prisma-multimodal/sae-l9", f"prisma-multimodal/sae-l9@{COMMIT}"):
        assert load(source).format == "prisma"
    assert load("prisma-multimodal/sae-l9", revision="main").dictionary.input_norm is not None
    assert load("many/dictionaries/deep/down").format == "sparsify"
    assert load("many/dictionaries/deep/down/sae.safetensors").format == "sparsify"


def test_what_is_in_no_cache_and_out_of_reach_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnreachable, match=r"Dictionary 'no/where' is not in .*local file\.$"):
        load("no/where")
    for source in ("nowhere.pt", "../no/where", "/no/where"):
        with pytest.raises(BadDictionary, match="neither a file, a folder nor a hub id"):
            load(source)


class _Hub:
    """A hub of one repository, as far as our client asks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fetched: list[str] = []

    def model_info(self, repository: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.names()])

    def names(self) -> list[str]:
        return [
            path.relative_to(self.root).as_posix() for path in sorted(self.root.rglob("*")) if path.is_file()
        ]

    def snapshot_download(self, repository: str, *, allow_patterns: list[str], **_: object) -> str:
        self.fetched = [
            name for name in self.names() if any(fnmatch(name, pattern) for pattern in allow_patterns)
        ]
        return str(self.root)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Hub:
    made = _Hub(tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: made)
    monkeypatch.setattr("huggingface_hub.snapshot_download", made.snapshot_download)
    return made


def test_only_the_dictionary_asked_for_is_downloaded(hub: _Hub) -> None:
    for place, name in (("l11", "saelens-covariance_whitening"), ("l9", "prisma"), ("np", "sative")):
        (hub.root / place).mkdir(parents=True)
        case(name).write(hub.root / place, 0)
    with pytest.raises(
        BadDictionary, match=r"some/repo holds 6 files of weights; give one of some/repo/l11/"
    ):
        load("some/repo")
    assert load("some/repo/l11").format == "saelens"
    assert sorted(hub.fetched) == sorted(
        f"l11/{name}"
        for name in (
            "activation_scaler.json",
            "activation_whitening.safetensors",
            "cfg.json",
            "sae_weights.safetensors",
        )
    )
    assert load("some/repo/l9").format == "prisma"
    assert sorted(hub.fetched) == ["l9/config.json", "l9/n_images_2600058.pt"]
    assert load("some/repo/np/12_00064_004/weights_003").format == "sative"
    assert len(hub.fetched) == 4
    with pytest.raises(BadDictionary, match="holds no file of weights in elsewhere"):
        load("some/repo/elsewhere")
