from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sae.activations import open_reader
from sae.card import BackboneSpec, read_card
from sae.class_units import class_units
from sae.errors import BadModel
from sandbox.world.vocabulary import OBJECTS
from tests.tiny_models import SIDE, write_open_clip, write_timm

CLASSES = ("fish", "bird", "cat", "tree", "car")


def pictures(n: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(n)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_timm(folder / "timm")
    write_timm(folder / "headless", num_classes=0)
    write_open_clip(folder / "open_clip")
    return folder


def test_a_feature_is_the_positive_part_of_a_logit(models: Path) -> None:
    card = class_units(
        models / "classes",
        name="classes",
        backbone=BackboneSpec(kind="timm", source="../timm"),
        classes=CLASSES,
    )
    assert card == read_card(models / "classes") and card.width == card.n_features == 5
    reader = open_reader(models / "classes", batch_size=4)
    images = pictures(7)
    logits = reader.backbone.activations(reader.backbone.preprocess(images), ["logits"])["logits"].numpy()
    assert (logits < 0).any() and (logits > 0).any()
    np.testing.assert_allclose(reader(images), np.maximum(logits, 0), atol=1e-5)


def test_the_truth_of_a_class_is_its_name_and_is_not_measured(models: Path) -> None:
    backbone = BackboneSpec(kind="timm", source=str(models / "timm"))
    class_units(models / "named", name="named", backbone=backbone, classes=CLASSES)
    rows = json.loads((models / "named" / "truth.json").read_text())
    assert [row["concept"] for row in rows] == list(CLASSES)
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert {row["kind"] for row in rows} == {"class"} and {row["f1"] for row in rows} == {None}


@pytest.mark.parametrize(
    ("kind", "source", "why"),
    [("timm", "headless", "has no logits"), ("open_clip", "open_clip", "has no logits")],
)
def test_a_model_without_classes_is_refused(models: Path, kind: str, source: str, why: str) -> None:
    backbone = BackboneSpec(kind=kind, source=str(models / source))
    with pytest.raises(BadModel, match=why):
        class_units(models / "none", name="none", backbone=backbone, classes=CLASSES)
    assert not (models / "none" / "dictionary.json").exists()


def test_another_number_of_names_is_refused(models: Path) -> None:
    backbone = BackboneSpec(kind="timm", source=str(models / "timm"))
    with pytest.raises(BadModel, match="tells 5 classes, 4 are named"):
        class_units(models / "few", name="few", backbone=backbone, classes=CLASSES[:4])


def test_the_sandbox_classifier_tells_objects_in_the_order_of_the_vocabulary() -> None:
    config = json.loads((Path(__file__).parents[1] / "sandbox/models/vit/config.json").read_text())
    assert tuple(config["label_names"]) == OBJECTS
