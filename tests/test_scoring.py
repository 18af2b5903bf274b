from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sae.card import BackboneSpec, DictionaryCard
from sae.errors import BadDictionary, BadModel, ModelUnreachable, UnknownHookPoint
from tools.device import steady_threads
from tools.errors import DependencyError, IntegrityError, UsageError
from tools.fakes import MemoryImageStore
from tools.protocols import Floats
from tools.scoring import DictionaryScorer, load_scorer, scorer_fingerprint, translated

CARD = DictionaryCard(
    name="small",
    backbone=BackboneSpec(kind="timm", source="model"),
    hook_point="pooled",
    schema=1,
    architecture="topk",
    width=4,
    n_features=3,
    k=2,
    weights="0" * 64,
)


class FakeReader:
    """Activations are the red of the first pixel, its opposite and nothing."""

    batch_size = 4

    def __init__(self, *, broken: int | None = None) -> None:
        self.batches: list[int] = []
        self.broken = broken

    def __call__(self, images: list[Image.Image]) -> Floats:
        self.batches.append(len(images))
        red = np.array([np.asarray(image)[0, 0, 0] for image in images], np.float32)
        found = np.stack([red, np.maximum(50 - red, 0), np.zeros_like(red)], axis=1)
        found[red == self.broken] = np.nan
        return found


def scorer(reader: FakeReader, count: int) -> tuple[DictionaryScorer, list[str]]:
    store = MemoryImageStore()
    images = [store.put(Image.new("RGB", (2, 2), (red, 0, 0))) for red in range(count)]
    open_it: Callable[[], Any] = lambda: reader  # noqa: E731
    return DictionaryScorer(store, open_it, card=CARD, fingerprint="f"), images


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11])
def test_every_image_is_scored_once_in_order(count: int) -> None:
    reader = FakeReader()
    score, images = scorer(reader, count)
    codes = score(images)
    assert [code.activation(0) for code in codes] == list(range(count))
    assert [code.activation(1) for code in codes] == [50 - red for red in range(count)]
    assert all(2 not in code.indices for code in codes)
    assert reader.batches == [min(4, count - start) for start in range(0, count, 4)]


def test_activations_that_are_not_finite_are_never_passed_on() -> None:
    score, images = scorer(FakeReader(broken=5), 7)
    with pytest.raises(IntegrityError, match=rf"not finite on image {images[5]}; .*run it on the cpu"):
        score(images)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (BadDictionary("corrupt."), IntegrityError),
        (BadModel("corrupt."), IntegrityError),
        (UnknownHookPoint("unknown."), UsageError),
        (ModelUnreachable("offline."), DependencyError),
    ],
)
def test_errors_of_the_models_are_told_in_their_one_sentence(
    raised: Exception, told: type[Exception]
) -> None:
    with pytest.raises(told, match=str(raised)), translated():
        raise raised


def test_a_folder_without_a_card_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"holds no readable dictionary\.json"):
        load_scorer(tmp_path, MemoryImageStore())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        {"hook_point": "block.1"},
        {"pooling": "max"},
        {"top_p": 0.2},
        {"k": 1},
        {"weights": "1" * 64},
        {"backbone": BackboneSpec(kind="open_clip", source="model")},
    ],
)
def test_all_that_determines_an_activation_is_in_the_fingerprint(
    folder: Path, change: dict[str, Any]
) -> None:
    other = CARD.model_copy(update=change)
    one = scorer_fingerprint(CARD, folder, device="cpu")
    assert scorer_fingerprint(other, folder, device="cpu") != one


def test_backbone_and_precision_are_in_the_fingerprint_and_names_are_not(folder: Path) -> None:
    before = scorer_fingerprint(CARD, folder, device="cpu")
    renamed = CARD.model_copy(update={"name": "renamed", "generator": "elsewhere"})
    assert scorer_fingerprint(renamed, folder, device="cpu") == before
    assert scorer_fingerprint(CARD, folder, device="cuda") != before
    (folder / "model" / "model.safetensors").write_bytes(b"other weights")
    assert scorer_fingerprint(CARD, folder, device="cpu") != before


def test_files_are_summed_once(folder: Path) -> None:
    sums: dict[str, str] = {}
    first = scorer_fingerprint(CARD, folder, device="cpu", sums=sums)
    assert len(sums) == 1
    sums = dict.fromkeys(sums, "f" * 64)
    assert scorer_fingerprint(CARD, folder, device="cpu", sums=sums) != first


def test_no_tool_imports_a_model_library_before_it_is_used() -> None:
    modules = "tools.scoring, tools.drawing, tools.pipelines, tools.cosy, tools.control, tools.exemplars"
    heavy = "{'torch', 'diffusers', 'transformers', 'open_clip', 'timm', 'huggingface_hub'}"
    code = f"import sys, {modules}, tools.feature_facts; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_device_is_known_without_torch() -> None:
    code = (
        "import sys; from tools.device import best_device; best_device(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("bucket", "expected"), [(1, 6), (2, 2), (3, 1), (4, 4), (6, 2), (16, 4)])
def test_threads_divide_the_batch_and_are_put_back(bucket: int, expected: int) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        with steady_threads(bucket):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(before)
