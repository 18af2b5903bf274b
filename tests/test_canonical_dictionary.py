from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sae.card import LATER, BackboneSpec, Origin, read_card
from sae.dictionary import Gate, SparseDictionary, load_dictionary
from sae.errors import BadDictionary
from sae.fit import measure_fit
from sae.layer_norm import LayerNorm

ORIGIN = Origin(name="tiny", backbone=BackboneSpec(kind="open_clip", source="../clip"), hook_point="pooled")
D, F = 5, 13


def dictionary(architecture: str = "topk", *, seed: int = 0, **settings: Any) -> SparseDictionary:
    chance = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance)

    needed: dict[str, dict[str, Any]] = {
        "topk": {"k": 4},
        "batchtopk": {"k": 4, "threshold": torch.tensor(0.7)},
        "jumprelu": {"threshold": random(F).abs()},
        "gated": {"gate": Gate(r_mag=random(F) / 3, b_mag=random(F))},
    }
    return SparseDictionary(
        architecture,
        W_enc=random(D, F),
        b_enc=random(F),
        W_dec=random(F, D),
        b_dec=random(D),
        mean=random(D),
        scale=torch.tensor(0.6),
        **needed.get(architecture, {}) | settings,
    )


def rows(b: int = 7) -> Tensor:
    return 1 + 2 * torch.randn(b, D, generator=torch.Generator().manual_seed(9))


def codes_of(d: SparseDictionary, u: Tensor) -> Tensor:
    """relu's, of what comes before the encoder."""
    return ((u - d.mean) * d.scale @ d.W_enc + d.b_enc).clamp(min=0)


NORMS: dict[str, tuple[LayerNorm, Callable[[Tensor], Tensor]]] = {
    "peers": (LayerNorm(), lambda x: (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5)),
    "torch": (
        LayerNorm(eps=1e-3, ddof=0, eps_inside_root=True),
        lambda x: torch.nn.functional.layer_norm(x, (D,), eps=1e-3),
    ),
    "rms": (LayerNorm(eps=0, ddof=0, centred=False), lambda x: x / x.square().mean(1, keepdim=True).sqrt()),
}


@pytest.mark.parametrize("name", NORMS)
def test_activations_are_standardised_before_mean_and_scale(name: str) -> None:
    norm, reference = NORMS[name]
    d, x = dictionary("relu", input_norm=norm), rows()
    torch.testing.assert_close(d.encode(x), codes_of(d, reference(x)))


@pytest.mark.parametrize("after_scale", [False, True])
@pytest.mark.parametrize("name", NORMS)
def test_the_identity_comes_back_through_an_inverted_norm(name: str, after_scale: bool) -> None:
    norm = NORMS[name][0].model_copy(update={"after_scale": after_scale, "eps": 0.0})
    eye = torch.eye(D)
    both = replace(
        dictionary("relu", input_norm=norm),
        W_enc=torch.cat([eye, -eye], 1),
        b_enc=torch.zeros(2 * D),
        W_dec=torch.cat([eye, -eye]),
        b_dec=torch.zeros(D),
    )
    torch.testing.assert_close(both.reconstruct(rows()), rows(), rtol=1e-4, atol=1e-5)


def test_a_norm_that_is_not_inverted_leaves_the_reconstruction_as_decoded() -> None:
    d, x = dictionary("relu", input_norm=LayerNorm(inverted=False)), rows()
    codes = d.encode(x)
    assert d.statistics(x) is None
    torch.testing.assert_close(d.decode(codes), (codes @ d.W_dec + d.b_dec) / d.scale + d.mean)
    torch.testing.assert_close(d.reconstruct(x), d.decode(codes))


def test_codes_are_decoded_by_the_statistics_of_their_own_activations() -> None:
    d, first, second = dictionary(input_norm=LayerNorm()), rows(3), rows(6)[3:] * 5
    codes, statistics = d.encode(first), d.statistics(first)
    d.encode(second)
    torch.testing.assert_close(d.decode(codes, statistics=statistics), d.reconstruct(first))
    assert not torch.allclose(d.decode(codes, statistics=d.statistics(second)), d.reconstruct(first))


def test_codes_alone_cannot_be_decoded_where_a_norm_is_inverted() -> None:
    d = dictionary(input_norm=LayerNorm())
    with pytest.raises(BadDictionary, match=r"give decode the statistics .* or call reconstruct\.$"):
        d.decode(d.encode(rows()))


def test_shapes_before_the_last_axis_are_kept() -> None:
    d, x = dictionary(input_norm=LayerNorm()), rows(6).view(2, 3, D)
    assert d.encode(x).shape == (2, 3, F)
    torch.testing.assert_close(d.reconstruct(x).view(6, D), d.reconstruct(rows(6)))


def test_topk_keeps_what_its_sign_says() -> None:
    x = rows(9)
    h = (x - dictionary().mean) * 0.6 @ dictionary().W_enc + dictionary().b_enc
    for sign, rank, kept in (
        ("relu", h.relu(), h.relu()),
        ("keep", h, h),
        ("abs", h.abs(), h),
        ("abs-relu", h.abs(), h.relu()),
    ):
        top = rank >= rank.sort(dim=1, descending=True).values[:, 3:4]
        expected = torch.where(top, kept, 0)
        torch.testing.assert_close(dictionary(sign=sign).encode(x), expected)
    wide = dictionary(sign="keep", k=F)
    torch.testing.assert_close(wide.encode(x), h)
    assert bool((dictionary(sign="abs").encode(x) < 0).any())


@pytest.mark.parametrize("sign", ["relu", "keep", "abs", "abs-relu"])
def test_batchtopk_ranks_by_its_threshold_as_topk_by_k(sign: str) -> None:
    d, x = dictionary("batchtopk", sign=sign), rows(9)
    whole = replace(d, threshold=None)
    free = dictionary(sign="keep", k=F).encode(x)
    rank = {"relu": free.relu(), "keep": free}.get(sign, free.abs())
    kept = free.relu() if "relu" in sign else free
    torch.testing.assert_close(d.encode(x), torch.where(rank > 0.7, kept, 0))
    cut = rank.flatten().sort(descending=True).values[4 * 9 - 1]
    torch.testing.assert_close(whole.encode(x), torch.where(rank >= cut, kept, 0))


def test_a_gate_opens_by_b_enc_and_lets_its_own_magnitude_through() -> None:
    d, x = dictionary("gated"), rows()
    assert d.gate is not None
    products = (x - d.mean) * d.scale @ d.W_enc
    expected = (products * d.gate.r_mag.exp() + d.gate.b_mag).clamp(min=0) * (products + d.b_enc > 0)
    torch.testing.assert_close(d.encode(x), expected)


def test_a_soft_cap_bends_activations_below_it() -> None:
    d, x = dictionary("relu"), rows(40)
    bent = replace(d, soft_cap=1.5).encode(x)
    torch.testing.assert_close(bent, 1.5 * torch.tanh(d.encode(x) / 1.5))
    assert float(d.encode(x).max()) > 1.5 >= float(bent.max())


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "input_norm": st.builds(
            LayerNorm,
            eps=st.sampled_from([0.0, 1e-5, 1e-12]),
            ddof=st.sampled_from([0, 1]),
            eps_inside_root=st.booleans(),
            inverted=st.booleans(),
            centred=st.booleans(),
            after_scale=st.booleans(),
        ),
        "sign": st.sampled_from(["relu", "keep", "abs", "abs-relu"]),
        "soft_cap": st.sampled_from([0.5, 30.0]),
    },
)


@settings(max_examples=30)
@given(
    architecture=st.sampled_from(["relu", "topk", "batchtopk", "jumprelu", "gated"]),
    seed=st.integers(0, 99),
    extras=SETTINGS,
)
def test_all_of_it_survives_the_disk(
    tmp_path_factory: pytest.TempPathFactory, architecture: str, seed: int, extras: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("dictionary")
    d = dictionary(architecture, seed=seed, **extras)
    card = d.save(folder, ORIGIN)
    again = load_dictionary(folder)
    assert read_card(folder) == card
    assert torch.equal(again.encode(rows()), d.encode(rows()))
    assert torch.equal(again.reconstruct(rows()), d.reconstruct(rows()))


def test_a_card_says_only_what_is_not_the_default(tmp_path: Path) -> None:
    dictionary().save(tmp_path, ORIGIN)
    assert not set(LATER) & set(json.loads((tmp_path / "dictionary.json").read_text()))
    dictionary(soft_cap=2.0).save(tmp_path, ORIGIN)
    assert set(LATER) & set(json.loads((tmp_path / "dictionary.json").read_text())) == {"soft_cap"}


def test_what_cannot_be_read_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(BadDictionary, match="without threshold"):
        dictionary("batchtopk", threshold=None).save(tmp_path / "new", ORIGIN)
    assert not (tmp_path / "new").exists()


def test_a_gated_folder_without_its_gate_is_refused(tmp_path: Path) -> None:
    dictionary("relu").save(tmp_path, ORIGIN)
    card = json.loads((tmp_path / "dictionary.json").read_text())
    (tmp_path / "dictionary.json").write_text(json.dumps(card | {"architecture": "gated"}))
    with pytest.raises(BadDictionary, match="gated without gate"):
        load_dictionary(tmp_path)


def test_a_gate_moves_with_its_dictionary() -> None:
    moved = dictionary("gated").to("meta")
    assert moved.gate is not None and moved.gate.r_mag.is_meta and moved.W_enc.is_meta


def test_the_fit_of_a_standardising_dictionary_is_of_its_reconstructions() -> None:
    d, x = dictionary("gated", input_norm=LayerNorm()), rows(50)
    fit = measure_fit(d, x, batch_size=7)
    expected = (d.reconstruct(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert fit.fvu == pytest.approx(float(expected), rel=1e-5)
