"""A dictionary without its mean and scale: folded into its weights, in double precision."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from sae.dictionary import Gate, SparseDictionary


@dataclass(frozen=True)
class Folded:
    """h = (x - b_in) @ W_enc + b_enc, x^ = z @ W_dec + b_dec, with b_in 0 or b_dec."""

    W_enc: Tensor
    """(d, F)"""
    b_enc: Tensor
    """(F,)"""
    W_dec: Tensor
    """(F, d)"""
    b_dec: Tensor
    """(d,)"""
    gate: Gate | None = None

    def subtracting(self) -> Folded:
        """The same dictionary for a library that subtracts b_dec before encoding."""
        return self.shifted(self.b_dec.double() @ self.W_enc.double())

    def shifted(self, by: Tensor) -> Folded:
        """With (F,) added to what the encoder's matrix gives."""
        gate = self.gate
        if gate is not None:
            b_mag = (gate.b_mag.double() + gate.r_mag.double().exp() * by).float()
            gate = Gate(gate.r_mag, b_mag)
        return replace(self, b_enc=(self.b_enc.double() + by).float(), gate=gate)


def fold(dictionary: SparseDictionary) -> Folded:
    """W_enc' = s W_enc, b_enc' = b_enc - s mean @ W_enc, W_dec' = W_dec / s, b_dec' = b_dec / s + mean.

    Thresholds stay, since h does. An ``input_norm`` that comes first stays where it is.
    """
    held = dictionary.to("cpu")
    scale = held.scale.double()
    W_enc = held.W_enc.double() * scale
    plain = Folded(
        W_enc=W_enc.float(),
        b_enc=held.b_enc,
        W_dec=(held.W_dec.double() / scale).float(),
        b_dec=(held.b_dec.double() / scale + held.mean.double()).float(),
        gate=held.gate,
    )
    return plain.shifted(-(held.mean.double() @ W_enc))
