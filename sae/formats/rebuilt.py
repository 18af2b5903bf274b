"""The few functions of torch, numpy and Python that pickled weights need, re-implemented, never run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sae.errors import BadDictionary
from sae.formats.bag import Bag
from sae.formats.budget import Budget
from sae.formats.storages import DTYPES, PendingTensor, Storage, pending
from sae.formats.stub_unpickler import Name, Rebuild

NUMPY_DTYPES: dict[str, torch.dtype] = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u1": torch.uint8,
    "b1": torch.bool,
}
_TORCH_NAMES = re.compile(r"torch\.(b?float\d+|u?int\d+|bool|complex\d+|strided|float8_\w+)")


@dataclass(eq=False)
class NumpyDtype:
    """A numpy dtype in the making."""

    code: str

    def set_state(self, state: Any) -> None:
        """What numpy keeps beside the code: (version, byte order, ...)."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            raise BadDictionary("it holds numbers in big-endian order")

    @property
    def dtype(self) -> torch.dtype:
        found = NUMPY_DTYPES.get(self.code.lstrip("<|="))
        if found is None:
            raise BadDictionary(f"it holds numpy numbers of kind {self.code[:20]!r}")
        return found


@dataclass(eq=False)
class NumpyArray:
    """A numpy array in the making."""

    pending: PendingTensor | None = None

    def set_state(self, state: Any) -> None:
        """What numpy keeps: (version, shape, dtype, whether columns come first, bytes)."""
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], NumpyDtype)):
            raise BadDictionary("it holds a numpy array that is not described as one")
        _, shape, kind, columns_first, raw = state
        if not isinstance(raw, bytes):
            raise BadDictionary("it holds a numpy array of objects")
        dtype = kind.dtype
        storage = Storage(dtype, len(raw) // dtype.itemsize, lambda: bytearray(raw))
        self.pending = pending(storage, 0, shape, dense_strides(shape, columns_first=bool(columns_first)))


def dense_strides(shape: Any, *, columns_first: bool) -> list[int]:
    """Strides of a dense array of that shape."""
    if not isinstance(shape, tuple | list) or not all(type(size) is int for size in shape) or len(shape) > 8:
        raise BadDictionary("it holds an array whose sizes are no sizes")
    strides, step = [], 1
    for size in shape if columns_first else reversed(shape):
        strides.append(step)
        step *= max(1, size)
    return strides if columns_first else strides[::-1]


def rebuilt_functions(budget: Budget, load_bytes: Callable[[bytes], Any]) -> Mapping[str, Rebuild]:
    """By the path a pickle calls it; ``load_bytes`` reads a torch file within a pickle."""

    def encode(arguments: list[Any]) -> Any:
        text = arguments[0]
        budget.spend_size(len(text))
        return text.encode("latin1")

    def load(arguments: list[Any]) -> Any:
        (raw,) = arguments
        if not isinstance(raw, bytes):
            raise BadDictionary("it holds a storage that is no bytes")
        budget.spend_size(len(raw))
        return load_bytes(raw)

    def flat(arguments: list[Any]) -> Any:
        held = arguments[0] if arguments else []
        if not isinstance(held, list | tuple):
            return Bag("set", arguments=arguments)
        budget.spend_steps(len(held))
        return list(held)

    return (
        _FIXED | dict.fromkeys(_ENCODERS, encode) | dict.fromkeys(_SETS, flat) | dict.fromkeys(_LOADS, load)
    )


def storage_dtype(kind: Any) -> torch.dtype:
    """The dtype of a kind of storage, as a pickle names it."""
    last = kind.path.rpartition(".")[2] if isinstance(kind, Name) else ""
    if last not in DTYPES:
        raise BadDictionary("it holds numbers of an unknown kind")
    return DTYPES[last]


def named_dtype(name: Any) -> torch.dtype:
    """The dtype that 'torch.float32' names."""
    path = name.path if isinstance(name, Name) else ""
    found = getattr(torch, path.removeprefix("torch."), None) if _TORCH_NAMES.fullmatch(path) else None
    if not isinstance(found, torch.dtype):
        raise BadDictionary("it holds numbers of an unknown kind")
    return found


def plain_name(name: Name) -> str | Bag:
    """What a name without a call is in the tree: 'float32' for a dtype, else an empty Bag."""
    known = _TORCH_NAMES.fullmatch(name.path)
    return known[1] if known else Bag(name.path)


def _tensor(arguments: list[Any]) -> PendingTensor:
    return pending(*arguments[:4])


def _tensor_with_dtype(arguments: list[Any]) -> PendingTensor:
    made = pending(*arguments[:4])
    made.dtype = named_dtype(arguments[6])
    return made


def _of_type(arguments: list[Any]) -> Any:
    """A tensor of a subclass: (function, type, its arguments, state)."""
    function, _, inner, *_ = arguments
    rebuild = _TENSORS.get(function.path) if isinstance(function, Name) else None
    if rebuild is None:
        return Bag("torch._tensor._rebuild_from_type_v2", arguments=list(arguments))
    return rebuild(list(inner))


def _scalar(arguments: list[Any]) -> Any:
    kind, raw = arguments
    if not (isinstance(kind, NumpyDtype) and isinstance(raw, bytes)):
        return Bag("numpy.scalar", arguments=arguments)
    return Storage(kind.dtype, 1, lambda: bytearray(raw)).numbers().item()


def _word(part: Any) -> str:
    if not isinstance(part, str | int):
        raise BadDictionary("its pickle is broken")
    return str(part)


def _first(arguments: list[Any]) -> Any:
    return arguments[0]


def _dictionary(arguments: list[Any]) -> Any:
    if not arguments:
        return {}
    return arguments[0] if isinstance(arguments[0], dict) else Bag("dict", arguments=arguments)


_TENSORS: dict[str, Rebuild] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
}
_FIXED: dict[str, Rebuild] = {
    **_TENSORS,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.Size": _first,
    "torch.device": lambda arguments: ":".join(map(_word, arguments)),
    "torch.serialization._get_layout": _first,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": lambda arguments: {},
    "numpy.dtype": lambda arguments: NumpyDtype(_word(arguments[0])),
    **{
        f"numpy.{package}.multiarray.{name}": rebuild
        for package in ("core", "_core")
        for name, rebuild in (("scalar", _scalar), ("_reconstruct", lambda arguments: NumpyArray()))
    },
}
_ENCODERS = ("_codecs.encode",)
_SETS = tuple(
    f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("set", "frozenset", "list")
)
_LOADS = ("torch.storage._load_from_bytes",)
