"""Captions by a hub model, on a tiny random BLIP in the hub's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from sae.errors import BadModel, ModelUnreachable
from tools.captioning import HubCaptioner

SIDE = 32
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "red", "fish", "on", "water")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLIP of a few thousand weights."""
    place = tmp_path_factory.mktemp("blip")
    torch.manual_seed(0)
    text = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "encoder_hidden_size": 16, "bos_token_id": 5, "sep_token_id": 3}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BlipConfig(
        text_config=text | {"pad_token_id": 0, "eos_token_id": 3},
        vision_config=vision | {"image_size": SIDE, "patch_size": 8},
        projection_dim=16,
    )
    transformers.BlipForConditionalGeneration(config).save_pretrained(place)
    vocabulary = place / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS))
    tokenizer = transformers.BertTokenizer(vocab=str(vocabulary))
    processor = transformers.BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    transformers.BlipProcessor(processor, tokenizer).save_pretrained(place)
    return place


def picture(image: str) -> Image.Image:
    rng = np.random.default_rng(int(image))
    return Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def test_every_picture_has_a_caption_whatever_its_batch(folder: Path) -> None:
    captioner = HubCaptioner(str(folder), picture)
    ids = [str(each) for each in range(19)]
    captions = captioner(ids)
    assert len(captions) == 19 and captioner(ids) == captions
    assert captions[:3] == HubCaptioner(str(folder), picture)(ids[:3])
    assert all(set(caption.split()) <= set(WORDS) for caption in captions)
    assert captioner([]) == []


def test_what_is_no_captioner_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="has no"):
        HubCaptioner(str(tmp_path), picture)(["1"])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadModel, match="image-to-text"):
        HubCaptioner(str(broken), picture)(["1"])
    with pytest.raises((ModelUnreachable, BadModel)):
        HubCaptioner("nobody/nothing", picture)(["1"])
