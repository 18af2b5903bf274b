"""The sandbox's own small byte-level BPE, trained on its captions, in the CLIP tokenizer format."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from sandbox.world.captions import all_words, caption
from sandbox.world.scene import balanced_scene

CONTEXT = 16
"""Tokens of a text, start and end included."""


def train_tokenizer(folder: Path, *, seed: int = 0) -> None:
    """Write vocab.json, merges.txt and tokenizer_config.json; every word of the world is one token."""
    rng = random.Random(seed)
    texts = [caption(balanced_scene(rng), rng) for _ in range(20_000)] + list(all_words()) * 40
    bpe = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1400,
        min_frequency=1,
        show_progress=False,
        end_of_word_suffix="</w>",
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator(texts, trainer)
    _write_clip_format(json.loads(bpe.to_str())["model"], folder)


def _write_clip_format(model: dict[str, object], folder: Path) -> None:
    """CLIP wants the alphabet twice (bare and with </w>) and the specials last: the end is the largest id."""
    merges = [tuple(m) if isinstance(m, list) else tuple(str(m).split(" ")) for m in model["merges"]]  # type: ignore[attr-defined]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(c + "</w>" for c in alphabet)]
    tokens += [m for m in dict.fromkeys(a + b for a, b in merges) if m not in set(tokens)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8"
    )


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a model folder."""
    return CLIPTokenizer.from_pretrained(folder)


def end_token(folder: Path) -> int:
    """The id of the end token, which is also what texts are padded with: the largest id."""
    return int(load_tokenizer(folder).eos_token_id)
