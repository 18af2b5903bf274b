"""What a patched model still tells, by class texts and by its own classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sae.activations import open_reader
from sae.backbone import VisionBackbone, load_backbone
from sae.card import BackboneSpec
from sae.measures.heads import can_tell_classes, classifier_head, logit_scale, zero_shot_head
from sae.measures.substitution import Patches, PatchRow, Substitution, measure_substitution
from sae.measures.tokens import pixel_batches
from sae.token_layout import Tokens as Scope
from tests.measured_models import (
    CLASSES,
    labelled,
    lossless,
    plain,
    random_topk,
    write_timm_dictionary,
)
from tests.tiny_models import write_open_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> VisionBackbone:
    folder = tmp_path_factory.mktemp("models") / "clip"
    write_open_clip(folder)
    return load_backbone(BackboneSpec(kind="open_clip", source=str(folder)))


def rows_of(found: Substitution) -> dict[str, PatchRow]:
    return {row.what: row for row in found.rows}


@pytest.mark.parametrize(
    ("hook_point", "scope"), [("block.1", "all"), ("block.1", "patch"), ("pooled", "all")]
)
def test_zero_shot_with_reconstructions_in_place(clip: VisionBackbone, hook_point: str, scope: Scope) -> None:
    images = labelled(35)
    head = zero_shot_head(clip, CLASSES, templates=("a photo of a {}", "{}"))
    truth = np.arange(35) % 3
    found = measure_substitution(
        Patches(clip, hook_point, scope, head), images, {"dictionary": lossless()}, labels=truth, seed=0
    )
    rows = rows_of(found)
    assert list(rows) == ["original", "identity", "dictionary", "mean", "zero"]
    assert (
        rows["identity"].cross_entropy == rows["original"].cross_entropy and rows["identity"].drop.value == 0
    )
    assert rows["dictionary"].cross_entropy.value == pytest.approx(
        rows["original"].cross_entropy.value or 0, abs=1e-3
    )
    pixels = torch.cat([batch.pixels for batch in pixel_batches(clip, images)])
    texts = [
        torch.nn.functional.normalize(clip.encode_text([t.format(c) for c in CLASSES]), dim=-1)
        for t in head.templates
    ]
    text = torch.nn.functional.normalize((texts[0] + texts[1]) / 2, dim=-1)
    image = torch.nn.functional.normalize(clip.activations(pixels, ["pooled"])["pooled"], dim=-1)
    logits = logit_scale(clip) * image @ text.T
    right = (logits.argmax(1).numpy() == truth).mean()
    assert rows["original"].top1.value == pytest.approx(right) and rows["original"].top5 is None
    expected = torch.nn.functional.cross_entropy(logits, torch.as_tensor(truth))
    assert rows["original"].cross_entropy.value == pytest.approx(float(expected), abs=1e-4)
    assert found.logit_scale > 10 and found.target == "labels" and len(found.classes) == 3
    assert sum(each.images for each in found.classes) == 35


def test_the_mean_is_of_every_place_and_leaves_one_answer_for_all(clip: VisionBackbone) -> None:
    head = zero_shot_head(clip, CLASSES)
    patches = Patches(clip, "block.1", "all", head)
    found = rows_of(
        measure_substitution(patches, labelled(33), {"dictionary": random_topk()}, labels=None, seed=0)
    )
    assert found["original"].top1.value == 1 and found["original"].recovered.value in (None, pytest.approx(1))
    assert found["mean"].recovered.value in (None, pytest.approx(0))
    # With the same activations everywhere, every image is called the same.
    truth = np.zeros(33, np.int64)
    fixed = rows_of(
        measure_substitution(patches, labelled(33), {"dictionary": random_topk()}, labels=truth, seed=0)
    )
    assert fixed["mean"].top1.value in (0.0, 1.0) and fixed["zero"].top1.value in (0.0, 1.0)


@pytest.mark.parametrize("hook_point", ["pooled", "block.1", "logits"])
def test_a_classifier_is_held_to_its_own_predictions(tmp_path: Path, hook_point: str) -> None:
    reader = open_reader(write_timm_dictionary(tmp_path, num_classes=7))
    backbone = reader.backbone
    pixels = next(iter(pixel_batches(backbone, labelled(2)))).pixels
    assert can_tell_classes(backbone, hook_point, pixels)
    width = backbone.activations(pixels, [hook_point])[hook_point].shape[-1]
    perfect = plain(
        "relu",
        torch.cat([torch.eye(width), -torch.eye(width)], 1),
        torch.cat([torch.eye(width), -torch.eye(width)]),
    )
    found = measure_substitution(
        Patches(backbone, hook_point, "all", classifier_head()),
        labelled(35),
        {"dictionary": perfect},
        labels=None,
        seed=0,
    )
    rows = rows_of(found)
    assert found.target == "own predictions" and not found.classes and found.n_classes == 7
    assert rows["original"].top1.value == 1 == rows["dictionary"].top1.value
    assert rows["dictionary"].cross_entropy.value == pytest.approx(
        rows["original"].cross_entropy.value or 0, abs=1e-3
    )
    assert rows["zero"].top5 is not None


def test_an_image_text_model_tells_no_classes_of_its_own(clip: VisionBackbone) -> None:
    assert not can_tell_classes(clip, "block.1", torch.zeros(1, 3, 32, 32))
