"""dictionary_learning and its forks: ae.pt beside config.json, and its backups.

What is subtracted before encoding is the bias added after decoding, but for AutoEncoderNew and
JumpReluAutoEncoder, which subtract nothing. Backups are in the units of normalised activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sae.dictionary import Gate
from sae.errors import BadDictionary, UnfitRequest
from sae.formats.named import UNCALIBRATED
from sae.formats.parts import Activation, Parts, turned
from sae.formats.reading import Format, Hints, Reading, Settings, Source

FLAVORS = tuple(f"dictionary_learning-{kind}" for kind in ("topk", "batchtopk", "jumprelu", "matryoshka"))
"""'topk' and 'batchtopk' have the same weights, as have 'jumprelu' and other libraries' dictionaries."""
_FORK = ("activation_mean", "activation_std", "target_rms", "activation_global_scale")
_CLASSES = {
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "batchtopk",
    "JumpReluAutoEncoder": "jumprelu",
    "MatryoshkaBatchTopKSAE": "matryoshka",
    "MatroyshkaBatchTopKSAE": "matryoshka",
}


def _read(source: Source) -> Reading:
    trainer = source.config.part("trainer")
    _refuse(source)
    kind = next(kind for kind, (claims, _) in _KINDS.items() if claims(source, trainer))
    parts, activation, notes = _KINDS[kind][1](source, trainer)
    parts, activation, more = _in_raw_units(source, parts, activation)
    hints = Hints(model=trainer.hint("lm_name"), place=trainer.hint("submodule_name"))
    return Reading(parts.dictionary(activation), (*notes, *more), hints)


def _refuse(source: Source) -> None:
    if source.has("encoder.weight") and source.tensor("encoder.weight").ndim == 3:
        raise BadDictionary("it is a crosscoder over several layers, where a dictionary here has one")
    held = [name for name in _FORK if name in source.tensors]
    neutral = {"activation_mean": 0.0}
    if any(bool((source.tensor(name) != neutral.get(name, 1.0)).any()) for name in held):
        raise BadDictionary(
            f"it normalises activations by buffers of a fork ({', '.join(held)}), which are not read; "
            "fold them into the weights where it was trained"
        )


def _in_raw_units(
    source: Source, parts: Parts, activation: Activation
) -> tuple[Parts, Activation, tuple[str, ...]]:
    """A backup's biases and thresholds times its norm factor, as the library itself does when it ends."""
    factor = source.around.get("norm_factor")
    if isinstance(factor, Tensor) and factor.numel() == 1:
        factor = float(factor)
    if factor is None or (isinstance(factor, int | float) and factor == 1):
        return parts, activation, ()
    if not isinstance(factor, int | float) or not 0 < factor < 2**53:
        raise BadDictionary(f"its norm_factor is {str(factor)[:40]}, not a positive number")

    def grown(held: Tensor | None) -> Tensor | None:
        return None if held is None else held.float() * factor

    gate, threshold = activation.gate, grown(activation.threshold)
    grown_gate = None if gate is None else Gate(gate.r_mag, gate.b_mag.float() * factor)
    parts = replace(parts, b_in=grown(parts.b_in), b_enc=grown(parts.b_enc), b_out=grown(parts.b_out))
    note = f"A backup in units of its buffer: biases and thresholds were multiplied by {factor:.6g}."
    return parts, activation._replace(threshold=threshold, gate=grown_gate), (note,)


_Made = tuple[Parts, Activation, tuple[str, ...]]


def _linear(source: Source, bias: str | None, out: str, b_enc: str = "encoder.bias") -> Parts:
    return Parts(
        W_enc=turned(source.tensor("encoder.weight")),
        b_enc=source.tensor(b_enc),
        W_dec=turned(source.tensor("decoder.weight")),
        b_in=None if bias is None else source.tensor(bias),
        b_out=source.tensor(out),
    )


def _plain(source: Source, _: Settings) -> _Made:
    return _linear(source, "bias", "bias"), Activation(), ()


def _new(source: Source, trainer: Settings) -> _Made:
    notes = (
        ()
        if "dict_class" in trainer
        else (
            "Its names are torch's own, as any autoencoder's are; read as a ReLU one that subtracts nothing.",
        )
    )
    return _linear(source, None, "decoder.bias"), Activation(), notes


def _gated(source: Source, _: Settings) -> _Made:
    gate = Gate(source.tensor("r_mag"), source.tensor("mag_bias"))
    return _linear(source, "decoder_bias", "decoder_bias", "gate_bias"), Activation("gated", gate=gate), ()


def _topk(source: Source, trainer: Settings) -> _Made:
    parts = _linear(source, "b_dec", "b_dec")
    kind, threshold = _named(source, trainer), source.one_number("threshold")
    if kind is None and threshold is not None and threshold >= 0:
        raise UnfitRequest(
            "its weights do not tell a TopK from a BatchTopK; put its config.json beside it, or give flavor, "
            f"one of {', '.join(FLAVORS[:2])}"
        )
    notes = () if kind else ("Read as a TopK, since it has no threshold.",)
    if kind == "batchtopk":
        return parts, *_thresholded(source)
    return parts, Activation("topk", k=source.top("k")), notes


def _thresholded(source: Source) -> tuple[Activation, tuple[str, ...]]:
    threshold, k = source.one_number("threshold"), source.top("k")
    if threshold is not None and threshold >= 0:
        return Activation("batchtopk", k=k, threshold=torch.tensor(threshold)), ()
    return Activation("batchtopk", k=k), (UNCALIBRATED,)


def _direct(source: Source, *, subtract: bool) -> Parts:
    bias = source.tensor("b_dec")
    return Parts(
        W_enc=source.tensor("W_enc"),
        b_enc=source.tensor("b_enc"),
        W_dec=source.tensor("W_dec"),
        b_in=bias if subtract else None,
        b_out=bias,
    )


def _matryoshka(source: Source, _: Settings) -> _Made:
    return _direct(source, subtract=True), *_thresholded(source)


def _jumprelu(source: Source, trainer: Settings) -> _Made:
    subtract = bool(trainer.flag("apply_b_dec_to_input") or source.config.flag("apply_b_dec_to_input"))
    activation = Activation("jumprelu", threshold=source.tensor("threshold"))
    return _direct(source, subtract=subtract), activation, ()


def _named(source: Source, trainer: Settings) -> str | None:
    """The kind, as whoever loads it or the configuration says."""
    flavor = str(source.flavor).removeprefix("dictionary_learning-")
    return flavor if flavor in _CLASSES.values() else _CLASSES.get(trainer.text("dict_class") or "")


def _has(*names: str) -> Callable[[Source, Settings], bool]:
    return lambda source, _: source.has(*names)


_KINDS: dict[str, tuple[Callable[[Source, Settings], bool], Callable[[Source, Settings], _Made]]] = {
    "gated": (_has("decoder_bias", "r_mag", "gate_bias", "mag_bias", "encoder.weight"), _gated),
    "topk": (_has("encoder.weight", "decoder.weight", "b_dec", "k"), _topk),
    "matryoshka": (
        lambda source, trainer: (
            source.has("W_enc", "W_dec", "b_dec")
            and (source.has("group_sizes", "k") or _named(source, trainer) == "matryoshka")
        ),
        _matryoshka,
    ),
    "jumprelu": (
        lambda source, trainer: (
            source.has("W_enc", "W_dec", "b_dec", "threshold") and _named(source, trainer) == "jumprelu"
        ),
        _jumprelu,
    ),
    "plain": (_has("bias", "encoder.weight", "encoder.bias", "decoder.weight"), _plain),
    "new": (_has("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"), _new),
}


def _claims(source: Source) -> bool:
    trainer = settings_or_none(source)
    return any(claims(source, trainer) for claims, _ in _KINDS.values())


def settings_or_none(source: Source) -> Settings:
    """The trainer's settings, empty where they are not a group."""
    held = source.config.held.get("trainer")
    return Settings(held if isinstance(held, dict) else {})


LEARNING = Format("dictionary_learning", _claims, _read, FLAVORS)
