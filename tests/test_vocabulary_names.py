"""Words nearest features: cosines and softmax against the formula, word files, refusals in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from sae.activations import FeatureReader
from sae.errors import BadDictionary, NoTextTower, UnfitMethod, UnreadableWords
from sae.measures.heads import logit_scale
from sae.vocabulary_names import embed_words, name_features, read_words
from tests.measured_models import plain, random_topk
from tests.tiny_backbones import tiny_backbone

WORDS = ("fish", "bird", "a red cup", "water", "tent")


def reader() -> FeatureReader:
    backbone = tiny_backbone("clip")
    width = backbone.encode_text(["fish"]).shape[-1]
    encoder = torch.randn(width, 9, generator=torch.Generator().manual_seed(0))
    return FeatureReader(backbone, plain("relu", encoder, encoder.T), "pooled", "none")


def centred_cosines(words: tuple[str, ...], template: str) -> torch.Tensor:
    """(F, V) by the formula."""
    texts = normalize(reader().backbone.encode_text([template.format(word) for word in words]), dim=-1)
    return normalize(reader().dictionary.W_dec, dim=-1) @ normalize(texts - texts.mean(0), dim=-1).T


def test_cosines_are_those_of_centred_texts() -> None:
    found = name_features(reader(), embed_words(reader(), WORDS, template="a {}"), [3, 0], count=3)
    expected = centred_cosines(WORDS, "a {}")
    for ranked, feature in zip(found, (3, 0), strict=True):
        best = expected[feature].argsort(descending=True)[:3]
        assert [word for word, _ in ranked] == [WORDS[at] for at in best]
        assert [score for _, score in ranked] == pytest.approx(expected[feature, best].tolist(), abs=1e-5)


def test_softmax_is_over_the_whole_vocabulary_at_the_models_scale() -> None:
    found = name_features(reader(), embed_words(reader(), WORDS, template="{}"), [4], how="softmax", count=2)
    scale = logit_scale(tiny_backbone("clip"))
    expected = (scale * centred_cosines(WORDS, "{}")[4]).softmax(0)
    assert [score for _, score in found[0]] == pytest.approx(expected.topk(2).values.tolist(), rel=1e-3)


def test_a_chunk_more_or_less_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = embed_words(reader(), WORDS, template="{}")
    whole = name_features(reader(), vocabulary, range(9))
    monkeypatch.setattr("sae.vocabulary_names._FEATURES", 4)
    monkeypatch.setattr("sae.text_space._AT_ONCE", 2)
    again = name_features(reader(), embed_words(reader(), WORDS, template="{}"), range(9))
    for first, second in zip(whole, again, strict=True):
        assert [word for word, _ in first] == [word for word, _ in second]
        assert np.allclose([s for _, s in first], [s for _, s in second], atol=1e-5)


def test_dictionaries_outside_the_space_of_texts_are_refused() -> None:
    elsewhere = FeatureReader(tiny_backbone("clip"), random_topk(), "block.1", "max")
    with pytest.raises(
        UnfitMethod, match=r"'block\.1' do not lie in the space of texts; use a dictionary at 'pooled'"
    ):
        embed_words(elsewhere, WORDS)
    with pytest.raises(NoTextTower, match="multimodal"):
        embed_words(FeatureReader(tiny_backbone("dinov2"), random_topk(), "pooled", "none"), WORDS)
    with pytest.raises(BadDictionary, match="Feature 9 is not in this dictionary; it has 0 to 8"):
        name_features(reader(), embed_words(reader(), WORDS), [2, 9])


def test_word_files_are_lines_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xef\xbb\xbf# my words\nfish\r\n\n  a red cup \nfish\n caf\xc3\xa9\n")
    assert read_words(path) == ("fish", "a red cup", "caf\u00e9")
    for content in (b"", b"# nothing\n\n", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(UnreadableWords, match=r"words\.txt .* a word a line"):
            read_words(path)
    with pytest.raises(UnreadableWords):
        read_words(tmp_path / "absent")


@given(content=st.binary(max_size=80))
def test_any_bytes_are_words_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-words.txt"
    path.write_bytes(content)
    try:
        words = read_words(path)
    except UnreadableWords:
        return
    assert words and len(set(words)) == len(words) and all(word == word.strip() != "" for word in words)
