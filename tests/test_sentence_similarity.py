"""Sentence embeddings of a tiny random BERT: batches, padding, cosines, and models that are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from evals.sentence_similarity import HubSimilarity, JointSimilarity, SentenceSimilarity
from sae.errors import BadModel
from tests.tiny_models import REVISION, write_hub_model
from tools.protocols import Floats

WORDS = ["a", "red", "blue", "fish", "dog", "on", "water", "striped", "ball", "of", "the"]
TEXTS = (
    "a red fish",
    "dog",
    "the striped ball on the water",
    "blue",
    "fish of water",
    "a dog on a ball",
    "red",
)
POOLING = Path("1_Pooling") / "config.json"


def write_bert(folder: Path, *, with_pooler: bool = True) -> None:
    """A random BERT of a few thousand weights with a vocabulary of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    transformers.BertTokenizer(vocab=vocabulary, model_max_length=16).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    transformers.BertModel(config, add_pooling_layer=with_pooler).save_pretrained(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "bert"
    write_bert(folder, with_pooler=False)
    return folder


class Axes:
    """A joint space in which every text has the direction of its length; implements JointSpace."""

    holds_decoder = False

    def texts(self, texts: Sequence[str]) -> Floats:
        angles = np.array([len(text) for text in texts], np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def similarity(self, texts: Sequence[str]) -> Floats:
        raise NotImplementedError


def test_batches_that_do_not_divide_change_nothing(bert: Path) -> None:
    whole = HubSimilarity(str(bert), batch=len(TEXTS)).vectors(TEXTS)
    assert whole.shape == (7, 16) and whole.dtype == np.float32
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    for batch in (1, 2, 3, 5):
        parts = HubSimilarity(str(bert), batch=batch).vectors(TEXTS)
        assert np.abs(parts - whole).max() < 1e-5


def test_padding_beside_a_longer_text_changes_nothing(bert: Path) -> None:
    model = HubSimilarity(str(bert))
    alone = model.vectors(["dog"])[0]
    beside = model.vectors(["dog", "the striped ball on the water of the red fish"])[0]
    assert np.abs(alone - beside).max() < 1e-5


def test_the_vector_is_the_mean_over_the_tokens_that_are_there(bert: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    model = transformers.AutoModel.from_pretrained(bert, add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = model(**tokenizer("a red fish", return_tensors="pt")).last_hidden_state[0]
    expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
    assert np.abs(HubSimilarity(str(bert)).vectors(TEXTS)[0] - expected).max() < 1e-5


def test_cosines_go_pair_by_pair(bert: Path) -> None:
    model = HubSimilarity(str(bert), batch=3)
    reversed_texts = TEXTS[::-1]
    cosines = model(TEXTS, reversed_texts)
    vectors = model.vectors(TEXTS)
    assert cosines == pytest.approx((vectors * vectors[::-1]).sum(1).tolist(), abs=1e-5)
    assert cosines[3] == pytest.approx(1, abs=1e-5) and min(cosines) < 0.99
    assert all(type(cosine) is float for cosine in cosines)


def test_a_text_longer_than_the_model_reads_is_cut(bert: Path) -> None:
    model = HubSimilarity(str(bert))
    assert model([" ".join(["fish"] * 50)], [" ".join(["fish"] * 90)]) == pytest.approx([1], abs=1e-5)


def test_joint_cosines_are_those_of_the_text_tower() -> None:
    model = JointSimilarity(Axes())
    assert model(["aa", "a", "aaa"], ["bb", "bbb", "b"]) == pytest.approx([1, np.cos(2), np.cos(2)], abs=1e-6)


def test_as_many_texts_on_both_sides(bert: Path) -> None:
    models: list[SentenceSimilarity] = [JointSimilarity(Axes()), HubSimilarity(str(bert))]
    for model in models:
        assert model([], []) == []
        with pytest.raises(ValueError, match="2 texts cannot be compared with 1; give as many of each"):
            model(["a", "b"], ["a"])


def test_a_hub_id_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bert: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    write_hub_model(tmp_path, "someone/tiny", write_bert)
    ours = HubSimilarity("someone/tiny", REVISION).vectors(TEXTS)
    assert ours.shape == (7, 16)


def test_nothing_is_loaded_before_the_first_use() -> None:
    model = HubSimilarity("/nowhere/at/all")
    assert model([], []) == []
    with pytest.raises(BadModel, match="neither a folder nor a hub id"):
        model(["a"], ["b"])


def test_a_pooling_other_than_the_mean_is_refused(tmp_path: Path) -> None:
    write_bert(tmp_path)
    (tmp_path / POOLING).parent.mkdir()
    for allowed in (
        {},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
        {"pooling_mode": "mean"},
    ):
        (tmp_path / POOLING).write_text(json.dumps({"word_embedding_dimension": 16} | allowed))
        assert len(HubSimilarity(str(tmp_path)).vectors(["a"])) == 1
    for refused in (
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode": "cls"},
    ):
        (tmp_path / POOLING).write_text(json.dumps(refused))
        with pytest.raises(BadModel, match=r"pools by .*cls.*; give a model with mean pooling"):
            HubSimilarity(str(tmp_path)).vectors(["a"])
    (tmp_path / POOLING).unlink()
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(BadModel, match="has a Dense layer above its tokens"):
        HubSimilarity(str(tmp_path)).vectors(["a"])
    (tmp_path / "modules.json").write_text("{}")
    with pytest.raises(BadModel, match="does not hold what it should"):
        HubSimilarity(str(tmp_path)).vectors(["a"])


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_bert(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {key: value for key, value in weights.items() if "layer.1.output.dense" not in key}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadModel, match=r"lacks the weights encoder[.]layer[.]1[.]output[.]dense"):
        HubSimilarity(str(tmp_path)).vectors(["a"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadModel, match="cannot be loaded by transformers"):
        HubSimilarity(str(tmp_path)).vectors(["a"])
