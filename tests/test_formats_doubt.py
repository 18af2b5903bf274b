from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sae.errors import BadDictionary
from sae.formats.registry import FORMATS, flavors
from sae.loading import load
from tests.format_files import CASES, Draw, case
from tests.format_files_quadruple import four

Write = Callable[[Path, Draw], Path]


def _pt(held: Any, folder: Path, **config: Any) -> Path:
    torch.save(held, folder / "ae.pt")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "ae.pt"


def _saelens(folder: Path, draw: Draw, **config: Any) -> Path:
    save_file(dict(four(draw)), folder / "sae_weights.safetensors")
    plain = {"d_in": draw.d, "d_sae": draw.n, "apply_b_dec_to_input": True}
    (folder / "cfg.json").write_text(json.dumps(plain | config))
    return folder


def _linear(draw: Draw) -> dict[str, Any]:
    return {"encoder.weight": draw(draw.n, draw.d), "encoder.bias": draw(draw.n), "b_dec": draw(draw.d)}


def _sparsify(folder: Path, draw: Draw, **config: Any) -> Path:
    save_file(_linear(draw) | {"W_dec": draw(draw.n, draw.d)}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"k": 3} | config))
    return folder


def _ranked(draw: Draw, threshold: float) -> dict[str, Any]:
    numbers = {"k": torch.tensor(3), "threshold": torch.tensor(threshold)}
    return _linear(draw) | {"decoder.weight": draw(draw.d, draw.n)} | numbers


def _fork(draw: Draw) -> dict[str, Any]:
    return _ranked(draw, -1.0) | {"activation_mean": draw(draw.d), "activation_std": draw.positive(draw.d)}


def _complete(draw: Draw, **more: Any) -> dict[str, Any]:
    state = {"encoder.final_block.0.weight": draw(draw.n, draw.d), "encoder.final_block.0.bias": draw(draw.n)}
    return state | {"dictionary._weights": draw(draw.n, draw.d)} | more


def _pursuit(folder: Path, draw: Draw) -> Path:
    save_file({"W_dec": draw(draw.n, draw.d), "b_dec": draw(draw.d)}, folder / "sae_weights.safetensors")
    config = {"architecture": "matching_pursuit", "apply_b_dec_to_input": True, "max_iterations": 3}
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def _crosscoder(folder: Path, draw: Draw) -> Path:
    state = {"encoder.weight": draw(2, draw.d, draw.n), "encoder.bias": draw(draw.n)}
    return _pt(state | {"decoder.weight": draw(2, draw.n, draw.d), "decoder.bias": draw(2, draw.d)}, folder)


def _complex(folder: Path, draw: Draw) -> Path:
    state = {"pre_b": draw(6), "enc": draw(6, 11) * 1j, "dec": draw(11, 6)}
    save_file(state, folder / "sae.safetensors")
    return folder


def _named_msae(folder: Path, draw: Draw) -> Path:
    path = case("msae-matryoshka").write(folder, 0).path
    return path.rename(folder / "best.pth")


REFUSED: dict[str, tuple[Write, str]] = {
    "four": (lambda f, d: _pt(four(d), f), "give flavor, one of .*saelens-plain.*saev-subtracting"),
    "threshold": (
        lambda f, d: _pt(four(d) | {"threshold": d.positive(d.n)}, f),
        "give flavor, one of .*dictionary_learning-jumprelu",
    ),
    "topk or batchtopk": (lambda f, d: _pt(_ranked(d, 0.3), f), "TopK from a BatchTopK.*config.json"),
    "fork": (lambda f, d: _pt(_fork(d), f), "buffers of a fork .activation_mean, activation_std"),
    "crosscoder": (_crosscoder, "crosscoder"),
    "SAE or TopKSAE": (lambda f, d: _pt(_complete(d), f), "overcomplete-relu"),
    "deep": (
        lambda f, d: _pt(_complete(d, **{"encoder.mlp_blocks.0.0.weight": d(2, 2)}), f),
        "several layers",
    ),
    "layer norm": (lambda f, d: _pt(_complete(d, **{"encoder.final_block.1.weight": d(2)}), f), "layer norm"),
    "quantised": (lambda f, d: _pt(_complete(d, Q=d(4)), f), "QSAE"),
    "no encoder": (lambda f, d: _pt({"dictionary._weights": d(d.n, d.d)}, f), "give k|matching pursuit"),
    "matching pursuit": (_pursuit, "matching_pursuit"),
    "transcoder": (lambda f, d: _saelens(f, d, architecture="skip_transcoder"), "skip_transcoder.*one layer"),
    "temporal": (lambda f, d: _saelens(f, d, architecture="temporal"), "temporal"),
    "unknown architecture": (
        lambda f, d: _saelens(f, d, architecture="spline"),
        "'spline', which is unknown",
    ),
    "topk without k": (lambda f, d: _saelens(f, d, architecture="topk"), "it does not hold k; give k"),
    "whitening": (
        lambda f, d: _saelens(f, d, normalize_activations="covariance_whitening"),
        "activation_whitening.safetensors is not beside it",
    ),
    "type": (lambda f, d: _saelens(f, d, architecture="topk", k="three"), "k = 'three', not a number"),
    "k": (lambda f, d: _saelens(f, d, architecture="topk", k=99), "k is 99, with 11 features"),
    "groupmax": (lambda f, d: _sparsify(f, d, activation="groupmax"), "'groupmax'"),
    "sparsify transcoder": (lambda f, d: _sparsify(f, d, transcode=True), "transcoder"),
    "prisma transcoder": (
        lambda f, d: _pt(four(d), f, is_transcoder=True, layer_subtype="hook_mlp_out"),
        "transcoder",
    ),
    "gated hugofry": (
        lambda f, d: _pt({"cfg": {"block_layer": -2, "gated_sae": True}, "state_dict": four(d)}, f),
        "gated_sae",
    ),
    "renamed msae": (_named_msae, "its name 'best.pth' does not hold.*msae-TopKReLU"),
    "strange": (lambda f, d: _pt({"conv.weight": d(3, 3)}, f), "say what they are with mapping"),
    "nothing": (lambda f, d: _pt({"epoch": 3}, f), "no weights"),
    "sizes": (
        lambda f, d: _pt({"pre_b": d(6), "enc": d(6, 11), "dec": d(7, 11), "k": 3}, f),
        "encoder is 6 by 11",
    ),
    "infinite": (
        lambda f, d: _pt({"pre_b": d(6), "enc": d(6, 11) / 0, "dec": d(11, 6), "k": 3}, f),
        "not finite",
    ),
    "complex": (_complex, "complex"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_one_dictionary_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    write, said = REFUSED[name]
    path = write(tmp_path, Draw(3))
    with pytest.raises(BadDictionary, match=f"(?s){said}") as caught:
        load(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(tmp_path)) and sentence.endswith(".") and "\n" not in sentence


def test_each_flavor_is_of_a_format_and_no_other_is_taken(tmp_path: Path) -> None:
    assert len(set(flavors())) == len(flavors()) and "quadruple" not in flavors()
    path = _pt(four(Draw(0)), tmp_path)
    with pytest.raises(BadDictionary, match="no flavor 'salens'; have saev, sative"):
        load(path, flavor="salens")
    with pytest.raises(BadDictionary, match="does not hold what a file of martetten does"):
        load(path, flavor="martetten")


def test_the_quadruple_means_what_its_flavor_says(tmp_path: Path) -> None:
    path = _pt(four(Draw(0)), tmp_path)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    read = {
        flavor: load(path, flavor=flavor, k=4 if "topk" in flavor else None)
        for flavor in ("hugofry", "prisma", "saelens-plain", "bussmann-topk", "bussmann-vanilla")
    }
    codes = {flavor: loaded.dictionary.encode(x) for flavor, loaded in read.items()}
    torch.testing.assert_close(codes["hugofry"], codes["bussmann-vanilla"])
    different = ["hugofry", "prisma", "saelens-plain", "bussmann-topk"]
    assert not any(
        torch.allclose(codes[one], codes[other]) for one in different for other in different if one < other
    )


def test_k_is_refused_where_nothing_is_ranked(tmp_path: Path) -> None:
    written = case("sative").write(tmp_path, 0)
    with pytest.raises(BadDictionary, match="k = 3 was given, and it is a relu without k"):
        load(written.path, k=3)


@pytest.mark.parametrize("name", ["msae-batchtopk", "matryoshka-sae", "overcomplete-batchtopk"])
def test_a_missing_threshold_is_spoken_of(name: str, tmp_path: Path) -> None:
    each = case(name)
    loaded = load(each.write(tmp_path, 0).path, **each.options)
    assert loaded.dictionary.threshold is None and any("calibrate it" in note for note in loaded.notes)


def test_old_saev_files_speak_of_what_they_lack(tmp_path: Path) -> None:
    for name, old in (("saev-unversioned", True), ("saev-1-topk", True), ("saev-5", False)):
        (tmp_path / name).mkdir()
        notes = load(case(name).write(tmp_path / name, 0).path).notes
        assert any("mean" in note for note in notes) == old


def test_a_prisma_that_does_not_say_can_be_read_both_ways(tmp_path: Path) -> None:
    path = _pt(four(Draw(0)), tmp_path, layer_subtype="hook_resid_post", cls_token_only=True)
    loaded = load(path)
    assert loaded.dictionary.input_norm is not None and "prisma-none" in loaded.notes[0]
    assert load(path, flavor="prisma-none").dictionary.input_norm is None


def test_a_renamed_msae_is_read_as_told(tmp_path: Path) -> None:
    path = _named_msae(tmp_path, Draw(0))
    loaded = load(path, flavor="msae-TopKabs", k=2)
    assert (loaded.dictionary.architecture, loaded.dictionary.sign, loaded.dictionary.k) == ("topk", "abs", 2)


def test_square_matrices_lie_as_their_names_say(tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, 5, generator=chance)
    path = _pt({"enc.weight": first, "dec": second}, tmp_path)
    loaded = load(path, mapping={"W_enc": "enc.weight", "W_dec": "dec"}).dictionary
    assert torch.equal(loaded.W_enc, first.T) and torch.equal(loaded.W_dec, second)
    turned = load(path, mapping={"W_enc": "enc.weight", "W_dec": "dec.T"}).dictionary
    assert torch.equal(turned.W_dec, second.T)
    assert torch.equal(load(path, mapping={"W_enc": "enc.weight"}).dictionary.W_dec, first)


def test_a_mapping_of_what_is_not_there_is_refused(tmp_path: Path) -> None:
    path = _pt({"enc.weight": torch.randn(5, 3)}, tmp_path)
    for mapping, said in (
        ({"W_enc": "x"}, "holds no x, but enc.weight"),
        ({"b_enc": "x"}, "must name W_enc"),
    ):
        with pytest.raises(BadDictionary, match=said):
            load(path, mapping=mapping)


def test_every_format_has_a_file() -> None:
    assert {each.format for each in CASES} >= {each.name for each in FORMATS}
    assert len({each.name for each in CASES}) == len(CASES)
