from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sae.architectures import ARCHITECTURES
from sae.card import BackboneSpec, Origin, read_card
from sae.dictionary import WEIGHTS_FILE, Gate, SparseDictionary, load_dictionary
from sae.errors import BadDictionary

ORIGIN = Origin(
    name="tiny",
    backbone=BackboneSpec(kind="open_clip", source="../clip"),
    hook_point="pooled",
)


def dictionary(architecture: str = "topk", width: int = 6, n_features: int = 11) -> SparseDictionary:
    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))

    thresholds = {"batchtopk": torch.tensor(0.3), "jumprelu": random(n_features).abs()}
    return SparseDictionary(
        architecture,
        W_enc=random(width, n_features),
        b_enc=random(n_features),
        W_dec=random(n_features, width),
        b_dec=random(width),
        mean=random(width),
        scale=torch.tensor(0.7),
        k=3 if architecture in ("topk", "batchtopk") else None,
        threshold=thresholds.get(architecture),
        gate=Gate(r_mag=random(n_features), b_mag=random(n_features) / 2)
        if architecture == "gated"
        else None,
    )


def rows(b: int, *, width: int = 6) -> Tensor:
    return torch.randn(b, width, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_codes_follow_the_formula(architecture: str) -> None:
    d, x = dictionary(architecture), rows(7)
    h = (x - d.mean) * d.scale @ d.W_enc + d.b_enc
    expected = h.clamp(min=0)
    if architecture == "topk":
        cut = h.sort(dim=1, descending=True).values[:, 2:3]
        expected = torch.where(h >= cut, expected, 0)
    if d.gate is not None:
        magnitude = (h - d.b_enc) * d.gate.r_mag.exp() + d.gate.b_mag
        expected = torch.where(h > 0, magnitude.clamp(min=0), 0)
    if d.threshold is not None:
        expected = torch.where(h > d.threshold, expected, 0)
    torch.testing.assert_close(d.encode(x), expected)
    torch.testing.assert_close(d.decode(expected), (expected @ d.W_dec + d.b_dec) / d.scale + d.mean)
    assert d.encode(x.view(7, 1, 6)).shape == (7, 1, 11)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sparse_codes_hold_the_dense_ones(architecture: str) -> None:
    d, x = dictionary(architecture), rows(5)
    dense, codes = d.encode(x), d.encode_sparse(x)
    rebuilt = torch.zeros_like(dense)
    rebuilt[torch.arange(5).repeat_interleave(codes.offsets.diff()), codes.indices.long()] = codes.values
    torch.testing.assert_close(rebuilt, dense)
    assert len(codes.offsets) == 6 and bool((codes.values != 0).all())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_dictionary_survives_the_disk(architecture: str, tmp_path: Path) -> None:
    d = dictionary(architecture)
    card = d.save(tmp_path, ORIGIN)
    again = load_dictionary(tmp_path)
    torch.testing.assert_close(again.encode(rows(4)), d.encode(rows(4)), rtol=0, atol=0)
    assert read_card(tmp_path) == card and (card.width, card.n_features, card.k) == (6, 11, d.k)
    assert card.backbone.located(tmp_path).source == "../clip", "no such folder: a hub id"


@settings(deadline=None)
@given(width=st.integers(1, 9), n_features=st.integers(1, 9), half=st.booleans())
def test_any_shape_and_precision_round_trips(
    tmp_path_factory: pytest.TempPathFactory, width: int, n_features: int, half: bool
) -> None:
    folder = tmp_path_factory.mktemp("dictionary")
    d = dictionary("batchtopk", width, n_features)
    d.save(folder, ORIGIN, dtype=torch.float16 if half else torch.float32)
    again = load_dictionary(folder)
    assert again.W_enc.dtype == torch.float32
    tolerance = 1e-2 if half else 0
    torch.testing.assert_close(again.W_enc, d.W_enc, rtol=tolerance, atol=tolerance)
    assert again.threshold is not None and float(again.threshold) == float(torch.tensor(0.3))


def test_a_relative_backbone_is_found_beside_the_dictionary(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    assert ORIGIN.backbone.located(tmp_path / "tiny" / "..").source == "../clip"
    (tmp_path / "tiny").mkdir()
    assert ORIGIN.backbone.located(tmp_path / "tiny").source == str(tmp_path / "clip")


def _flip(folder: Path) -> None:
    raw = bytearray((folder / WEIGHTS_FILE).read_bytes())
    raw[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(raw)


def _edit(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "dictionary.json").read_text())
    (folder / "dictionary.json").write_text(json.dumps(card | changes))


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "no card": lambda f: (f / "dictionary.json").unlink(),
    "no weights": lambda f: (f / WEIGHTS_FILE).unlink(),
    "bit flip": _flip,
    "truncated": lambda f: (f / WEIGHTS_FILE).write_bytes((f / WEIGHTS_FILE).read_bytes()[:100]),
    "not json": lambda f: (f / "dictionary.json").write_text("{"),
    "a list": lambda f: (f / "dictionary.json").write_text("[]"),
    "newer": lambda f: _edit(f, schema=2),
    "unknown field": lambda f: _edit(f, colour="red"),
    "width": lambda f: _edit(f, width=7),
    "architecture": lambda f: _edit(f, architecture="gated"),
    "without k": lambda f: _edit(f, k=None),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_folder_is_refused_in_one_sentence(breakage: str, tmp_path: Path) -> None:
    dictionary().save(tmp_path, ORIGIN)
    BREAKAGES[breakage](tmp_path)
    with pytest.raises(BadDictionary) as caught:
        load_dictionary(tmp_path)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_an_unknown_backbone_is_refused_with_those_there_are(tmp_path: Path) -> None:
    dictionary().save(tmp_path, ORIGIN)
    _edit(tmp_path, backbone={"kind": "keras", "source": "x"})
    with pytest.raises(BadDictionary, match=r"backbone\.kind: .*'open_clip', 'timm'.* or 'transformers'"):
        read_card(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    d = dictionary()
    d.W_dec[0, 0] = torch.nan
    d.save(tmp_path, ORIGIN)
    with pytest.raises(BadDictionary, match=r"W_dec .* not finite"):
        load_dictionary(tmp_path)


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    d = dictionary("relu")
    d.save(tmp_path, ORIGIN)
    _edit(tmp_path, architecture="jumprelu")
    with pytest.raises(BadDictionary, match="without threshold"):
        load_dictionary(tmp_path)


def test_a_save_that_was_cut_short_leaves_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary().save(tmp_path, ORIGIN)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sae.dictionary.write_card", cut)
    with pytest.raises(KeyboardInterrupt):
        dictionary("relu").save(tmp_path, ORIGIN)
    with pytest.raises(BadDictionary, match=r"no readable dictionary\.json"):
        load_dictionary(tmp_path)


def test_reading_a_card_imports_no_torch() -> None:
    code = "import sys, sae.card, sae.metrics, sae.statistics; assert not {'torch', 'scipy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
