from __future__ import annotations

from typing import Any

import pytest
import torch

from sae.dictionary import Gate, SparseDictionary
from sae.layer_norm import LayerNorm
from sae.one_feature import one_feature

D, FEATURES = 8, 60


def dictionary(architecture: str, **choices: Any) -> SparseDictionary:
    chance = torch.Generator().manual_seed(3)
    return SparseDictionary(
        architecture,
        W_enc=torch.randn(D, FEATURES, generator=chance),
        b_enc=torch.randn(FEATURES, generator=chance),
        W_dec=torch.randn(FEATURES, D, generator=chance),
        b_dec=torch.randn(D, generator=chance),
        mean=torch.randn(D, generator=chance),
        scale=torch.tensor(0.7),
        **choices,
    )


DICTIONARIES = {
    "relu": dictionary("relu"),
    "jumprelu": dictionary("jumprelu", threshold=torch.rand(FEATURES)),
    "gated": dictionary("gated", gate=Gate(torch.rand(FEATURES), torch.rand(FEATURES))),
    "batchtopk": dictionary("batchtopk", k=5, threshold=torch.tensor(1.0)),
    "batchtopk-ranked": dictionary("batchtopk", k=5),
    "topk": dictionary("topk", k=5),
    "topk-keep": dictionary("topk", k=5, sign="keep"),
    "topk-abs": dictionary("topk", k=5, sign="abs"),
    "topk-capped": dictionary("topk", k=5, soft_cap=1.5),
    "normed": dictionary("topk", k=5, input_norm=LayerNorm()),
}


@pytest.mark.parametrize("name", DICTIONARIES)
@pytest.mark.parametrize("shape", [(23,), (3, 7), (0,)])
def test_one_feature_is_its_column_of_all(name: str, shape: tuple[int, ...]) -> None:
    of = DICTIONARIES[name]
    x = torch.randn(*shape, D, generator=torch.Generator().manual_seed(1))
    codes = of.encode(x) if x.numel() else torch.zeros(*shape, FEATURES)
    for index in (0, 17, FEATURES - 1):
        torch.testing.assert_close(one_feature(of, x, index), codes[..., index])


def test_a_topk_feature_that_fires_alone_may_not_be_among_the_highest() -> None:
    of = DICTIONARIES["topk"]
    x, often = torch.randn(200, D, generator=torch.Generator().manual_seed(2)), int(of.b_enc.argmax())
    alone = one_feature(DICTIONARIES["relu"], x, often) > 0
    among = one_feature(of, x, often) > 0
    assert 0 < int(among.sum()) < int(alone.sum())
    assert bool((alone | ~among).all())


@pytest.mark.parametrize("index", [-1, FEATURES])
def test_a_feature_there_is_not_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=f"Feature {index} is not among the {FEATURES}"):
        one_feature(DICTIONARIES["relu"], torch.randn(2, D), index)
