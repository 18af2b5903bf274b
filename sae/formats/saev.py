"""saev: one file, a line of JSON and then a torch file.

h = x @ W_enc + b_enc, x^ = z @ W_dec + b_dec. Files of schema 1 and older subtract b_dec before encoding, of
activations centred and scaled by numbers that are not in the file.
"""

from __future__ import annotations

from sae.errors import BadDictionary
from sae.formats.named import UNCALIBRATED
from sae.formats.parts import Activation, Parts
from sae.formats.reading import Format, Reading, Settings, Source
from sae.formats.wrappers import settings_of

NEWEST = 5
FLAVORS = ("saev-plain", "saev-subtracting")
"""b_dec left alone before encoding, or subtracted as old files have it."""
_OLD = (
    "A file of saev's first months: it encodes (x - mean) / scalar of the shards it was trained on, which it "
    "does not hold; check its fit, or centre and scale activations so."
)


def _read(source: Source) -> Reading:
    header = settings_of(source.around.get("header"))
    schema = header.whole("schema") or 0
    if not 0 <= schema <= NEWEST:
        raise BadDictionary(f"it is of saev's schema {schema}, and schemas up to {NEWEST} are known")
    subtract = source.flavor == "saev-subtracting" or (schema < 2 and source.flavor != "saev-plain")
    bias = source.tensor("b_dec")
    parts = Parts(
        W_enc=source.tensor("W_enc"),
        b_enc=source.tensor("b_enc"),
        W_dec=source.tensor("W_dec"),
        b_in=bias if subtract else None,
        b_out=bias,
    )
    activation = _activation(source, header)
    uncalibrated = activation.architecture == "batchtopk" and activation.threshold is None
    notes = ((_OLD,) if schema < 2 else ()) + ((UNCALIBRATED,) if uncalibrated else ())
    return Reading(parts.dictionary(activation), notes)


def _activation(source: Source, header: Settings) -> Activation:
    config = header.part("cfg")
    described = settings_of(config.held.get("activation"))
    kind = described.text("cls") or header.text("cls") or "Relu"
    k = source.k or described.part("params").whole("top_k") or config.whole("top_k")
    if kind == "Relu":
        return Activation()
    if kind not in ("TopK", "BatchTopK"):
        raise BadDictionary(f"its activation is {kind[:40]!r}, which is unknown")
    if kind == "BatchTopK" and source.has("activation.threshold"):
        return Activation("batchtopk", k=k, threshold=source.tensor("activation.threshold"))
    return Activation("topk" if kind == "TopK" else "batchtopk", k=k)


def _claims(source: Source) -> bool:
    return source.kind == "saev" and source.has("W_enc", "W_dec")


SAEV = Format("saev", _claims, _read, FLAVORS)
