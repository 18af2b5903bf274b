"""How alike a name and a concept are: cosines of sentence embeddings. Importing it loads no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from evals.subject import JointSpace
from sae.errors import BadModel, first_line
from sae.model_folder import locate
from tools.protocols import Floats

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = ("model.safetensors", "model.safetensors.index.json")
WANTS = ("*.json", "model-*.safetensors", "merges.txt", "vocab.txt", "*.model")
MODULES = ("Transformer", "Pooling", "Normalize")
"""Parts of a sentence-transformers model that masked mean pooling stands for."""
MAX_TOKENS = 512
BATCH = 32


class SentenceSimilarity(Protocol):
    """Compares texts pair by pair."""

    def __call__(self, a: Sequence[str], b: Sequence[str]) -> list[float]:
        """The cosine of each text of ``a`` and the text of ``b`` beside it; ValueError if not as many."""
        ...


class JointSimilarity:
    """Cosines in the text tower of an image-text model; implements SentenceSimilarity."""

    def __init__(self, joint: JointSpace) -> None:
        self._joint = joint

    def __call__(self, a: Sequence[str], b: Sequence[str]) -> list[float]:
        """Cosines, pair by pair."""
        _require_pairs(a, b)
        return _cosines(self._joint.texts(a), self._joint.texts(b)) if a else []


class HubSimilarity:
    """Cosines of a sentence-transformers model with mean pooling; implements SentenceSimilarity.

    A local folder or a hub id with its revision, safetensors only, loaded on first use: BadModel where it
    pools in another way or cannot be loaded, ModelUnreachable where it cannot be downloaded.
    """

    def __init__(self, source: str, revision: str | None = None, *, batch: int = BATCH) -> None:
        self._source, self._revision, self._batch = source, revision, batch

    def __call__(self, a: Sequence[str], b: Sequence[str]) -> list[float]:
        """Cosines, pair by pair."""
        _require_pairs(a, b)
        return _cosines(self.vectors(a), self.vectors(b)) if a else []

    def vectors(self, texts: Sequence[str]) -> Floats:
        """(len(texts), d) unit rows. ValueError where a text has no tokens."""
        parts = [texts[at : at + self._batch] for at in range(0, len(texts), self._batch)]
        return np.concatenate([self._embed(part) for part in parts])

    @cached_property
    def _model(self) -> _Model:
        folder = locate(self._source, self._revision, needs=NEEDS, wants=WANTS)
        _refuse_other_pooling(folder)
        return _load(folder)

    def _embed(self, texts: Sequence[str]) -> Floats:
        import torch

        model, tokenizer, length = self._model
        read = tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            states = model(**read).last_hidden_state
        return _pooled(states, read["attention_mask"])


class _Model(NamedTuple):
    model: Any
    tokenizer: Any
    length: int
    """Tokens it reads of a text."""


def _pooled(states: Tensor, mask: Tensor) -> Floats:
    """(n, d) unit rows: the mean of (n, tokens, d) states over the tokens that are not padding."""
    from torch.nn.functional import normalize

    weights = mask.unsqueeze(-1).to(states.dtype)
    counts = weights.sum(1)
    if not bool((counts > 0).all()):
        raise ValueError("A text without a token has no embedding; leave it out.")
    rows: Floats = normalize((states * weights).sum(1) / counts, dim=-1).numpy()
    return rows


def _load(folder: Path) -> _Model:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from sae.tower import UNLOADABLE
    from tools.pipelines import quiet

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model, report = AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except UNLOADABLE as error:
        raise BadModel(f"{folder} cannot be loaded by transformers: {first_line(error)}") from error
    # A pooler is not used; any other weight that is missing would have been drawn at random.
    lacking = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if lacking:
        raise BadModel(f"{folder} lacks the weights {', '.join(lacking)}; download it again.")
    if model.config.is_encoder_decoder:
        raise BadModel(f"{folder} holds an encoder and a decoder; give a model that is an encoder alone.")
    limits = (tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", MAX_TOKENS))
    return _Model(model.eval(), tokenizer, int(min(MAX_TOKENS, *limits)))


def _refuse_other_pooling(folder: Path) -> None:
    """BadModel where a sentence-transformers model is more than a transformer and a mean over tokens."""
    for part in _json(folder / "modules.json", []):
        kind = str(part.get("type", "")).rpartition(".")[2]
        if kind not in MODULES:
            raise BadModel(f"{folder} has a {kind} layer above its tokens; give a model with mean pooling.")
    pooling = _json(folder / "1_Pooling" / "config.json", {})
    on = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
    mode = pooling.get("pooling_mode") or ", ".join(on)
    if mode not in ("", "mean", "pooling_mode_mean_tokens"):
        raise BadModel(f"{folder} pools by {mode}; give a model with mean pooling.")


def _json(path: Path, otherwise: Any) -> Any:
    """What a file holds, if it is there and of the kind of ``otherwise``."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError) as error:
        raise BadModel(f"{path} cannot be read ({first_line(error)}) Download the model again.") from error
    if not isinstance(read, type(otherwise)):
        raise BadModel(f"{path} does not hold what it should; download the model again.")
    return read


def _require_pairs(a: Sequence[str], b: Sequence[str]) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} texts cannot be compared with {len(b)}; give as many of each.")


def _cosines(a: Floats, b: Floats) -> list[float]:
    """Of unit rows, pair by pair."""
    return [float(cosine) for cosine in np.einsum("nd,nd->n", a, b)]
