"""Ways to spoil a checkpoint: cut it off, flip bits, swap types, and hide code in it."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from tests.poisoned_pickles import alone, beside_weights, poisoned_pickle, poisons

Files = dict[str, bytes]
"""Of a folder, by relative name."""
STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 10**30, 1.5, 1e308, float("nan"), float("inf"), "", "x", "topk", [], {}),
    *([1, 2], {"a": 1}, [[[]]], "1e5", -(2**63)),
)
_ZIP = b"PK\x03\x04"


def mutate(files: Mapping[str, bytes], chance: random.Random, *, canary: Path) -> tuple[str, Files]:
    """One file of a folder spoilt in one way: the way's name and the folder's new contents."""
    name = chance.choice(sorted(files))
    kind = chance.choice([kind for kind, (applies, _) in MUTATIONS.items() if applies(files[name])])
    return kind, dict(files) | {name: MUTATIONS[kind][1](files[name], chance, canary)}


def _truncated(raw: bytes, chance: random.Random, _: Path) -> bytes:
    return raw[: chance.randrange(len(raw))]


def _flipped(raw: bytes, chance: random.Random, _: Path) -> bytes:
    spoilt = bytearray(raw)
    for _bit in range(chance.choice([1, 1, 2, 8])):
        spoilt[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def _overwritten(raw: bytes, chance: random.Random, _: Path) -> bytes:
    start = chance.randrange(len(raw))
    return raw[:start] + chance.randbytes(chance.choice([1, 4, 64])) + raw[start + 1 :]


def _header_flipped(raw: bytes, chance: random.Random, _: Path) -> bytes:
    """Where lengths, names and sizes are."""
    return _flipped(raw[:300], chance, Path()) + raw[300:]


def _json_swapped(raw: bytes, chance: random.Random, _: Path) -> bytes:
    held = json.loads(raw)
    spot = held
    while isinstance(spot, dict | list) and spot:
        at = chance.choice(sorted(spot)) if isinstance(spot, dict) else chance.randrange(len(spot))
        if not isinstance(spot[at], dict | list) or not spot[at] or chance.random() < 0.3:
            _swap(spot, at, chance)
            break
        spot = spot[at]
    return json.dumps(held).encode()


def _swap(spot: Any, at: Any, chance: random.Random) -> None:
    if chance.random() < 0.2:
        del spot[at]
    else:
        spot[at] = chance.choice(STRANGE)


def _saev_header_swapped(raw: bytes, chance: random.Random, canary: Path) -> bytes:
    line, _, rest = raw.partition(b"\n")
    return _json_swapped(line, chance, canary) + b"\n" + rest


def _rezipped(raw: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """A torch file with other records, its checksums right again."""
    at = raw.index(_ZIP)
    with zipfile.ZipFile(io.BytesIO(raw[at:])) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    change(records)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, record in records.items():
            made.writestr(name, record)
    return raw[:at] + out.getvalue()


def _pickle_name(records: Mapping[str, bytes]) -> str:
    return next(name for name in records if name.endswith("data.pkl"))


def _pickle_flipped(raw: bytes, chance: random.Random, canary: Path) -> bytes:
    def change(records: dict[str, bytes]) -> None:
        name = _pickle_name(records)
        records[name] = _flipped(records[name], chance, canary)

    return _rezipped(raw, change)


def _record_changed(raw: bytes, chance: random.Random, canary: Path) -> bytes:
    def change(records: dict[str, bytes]) -> None:
        name = chance.choice(sorted(records))
        way = chance.choice([_truncated, _overwritten, None])
        if way is None or not records[name]:
            del records[name]
        else:
            records[name] = way(records[name], chance, canary)

    return _rezipped(raw, change)


def _poisoned(raw: bytes, chance: random.Random, canary: Path) -> bytes:
    """Code beside the weights, instead of them, or instead of one of them."""
    poison = poisons(canary)[chance.choice(sorted(poisons(canary)))]

    def change(records: dict[str, bytes]) -> None:
        name = _pickle_name(records)
        ways = [beside_weights(records[name], poison), poisoned_pickle(poison), alone(poison)]
        records[name] = chance.choice([ways[0], *ways])

    return _rezipped(raw, change) if _is_archive(raw) else alone(poison)


def _tensor_swapped(raw: bytes, chance: random.Random, _: Path) -> bytes:
    """Another dtype, shape or kind of value where a tensor was."""
    if raw.startswith(b"\x93NUMPY"):
        array = np.load(io.BytesIO(raw))
        out = io.BytesIO()
        np.save(out, _respelt(torch.from_numpy(array.copy()), chance).numpy())
        return out.getvalue()
    if raw.startswith(_ZIP):
        try:
            held = torch.load(io.BytesIO(raw), weights_only=True)
        except (pickle.UnpicklingError, RuntimeError):
            return _flipped(raw, chance, Path())
        _swap_tensor(held, chance)
        out = io.BytesIO()
        torch.save(held, out)
        return out.getvalue()
    tensors = safetensors.torch.load(raw)
    name = chance.choice(sorted(tensors))
    tensors[name] = _respelt(tensors[name], chance).contiguous()
    return safetensors.torch.save({key: tensor.clone() for key, tensor in tensors.items()})


def _swap_tensor(held: Any, chance: random.Random) -> None:
    while isinstance(held, dict) and held:
        name = chance.choice(list(held))
        if isinstance(held[name], dict) and held[name]:
            held = held[name]
            continue
        tensor = held[name]
        swapped = isinstance(tensor, torch.Tensor) and chance.random() < 0.7
        held[name] = _respelt(tensor, chance) if swapped else chance.choice(STRANGE)
        return


def _respelt(tensor: torch.Tensor, chance: random.Random) -> torch.Tensor:
    plain = tensor.float()
    ways: list[Callable[[], torch.Tensor]] = [
        lambda: plain.half(),
        lambda: plain.double(),
        lambda: plain.int(),
        lambda: plain.bool(),
        lambda: plain.T.contiguous() if plain.ndim == 2 else plain[None],
        lambda: plain.flatten()[:1],
        lambda: plain[:0] if plain.ndim else plain.reshape(0, 0) if not plain.numel() else plain[None],
        lambda: plain * float("nan"),
        lambda: plain * float("inf"),
        lambda: plain[None],
        lambda: plain.expand(2, *plain.shape),
        lambda: -plain,
    ]
    return chance.choice(ways)()


def _is_json(raw: bytes) -> bool:
    return raw[:1] in b"{[" and _ZIP not in raw and raw[8:9] != b"{"


def _is_archive(raw: bytes) -> bool:
    """Of torch."""
    return _ZIP in raw and b"data.pkl" in raw


def _has_tensors(raw: bytes) -> bool:
    return (raw.startswith(_ZIP) and _is_archive(raw)) or raw[8:9] == b"{" or raw.startswith(b"\x93NUMPY")


_Applies = Callable[[bytes], bool]
_Change = Callable[[bytes, random.Random, Path], bytes]
MUTATIONS: dict[str, tuple[_Applies, _Change]] = {
    "truncated": (lambda raw: bool(raw), _truncated),
    "flipped": (lambda raw: bool(raw), _flipped),
    "overwritten": (lambda raw: bool(raw), _overwritten),
    "header-flipped": (lambda raw: bool(raw), _header_flipped),
    "json-swapped": (_is_json, _json_swapped),
    "saev-swapped": (lambda raw: raw[:1] == b"{" and _is_archive(raw), _saev_header_swapped),
    "pickle-flipped": (_is_archive, _pickle_flipped),
    "record-changed": (_is_archive, _record_changed),
    "poisoned": (lambda raw: not _is_json(raw), _poisoned),
    "poisoned-again": (_is_archive, _poisoned),
    "tensor-swapped": (_has_tensors, _tensor_swapped),
}
"""By name: whether it applies to a file, and what it makes of it."""
