"""Pickles that run a shell command when Python reads them, in every way that the opcodes know."""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

EXTENSION = 0x6E61
"""A number that means os.system in copyreg's registry while ``registered`` holds."""
CALLED_WITH_A_COMMAND = {
    "system": ("os", "system"),
    "posix": ("posix", "system"),
    "popen": ("os", "popen"),
    "subprocess": ("subprocess", "getoutput"),
    "pty": ("pty", "spawn"),
}
CALLED_WITH_CODE = {
    "eval": ("builtins", "eval"),
    "exec": ("builtins", "exec"),
    "old-eval": ("__builtin__", "eval"),
    "numexpr": ("numpy", "safe_eval"),
    "timeit": ("timeit", "timeit"),
    "compile": ("code", "interact"),
}


def poisons(canary: Path) -> dict[str, bytes]:
    """Values by name, without PROTO and STOP, each of which would make the file ``canary`` if it ran."""
    command, code = f"touch {canary}", f"__import__('pathlib').Path({str(canary)!r}).touch()"
    found = {name: _reduce(*path, command) for name, path in CALLED_WITH_A_COMMAND.items()}
    found |= {name: _reduce(*path, code) for name, path in CALLED_WITH_CODE.items()}
    return found | _by_opcode(command) | _nested(command) | _through_rebuilt(command)


def _by_opcode(command: str) -> dict[str, bytes]:
    system, said = b"cos\nsystem\n", _text(command)
    return {
        "stack-global": _text("os") + _text("system") + b"\x93" + said + b"\x85R",
        "inst": b"(" + said + b"ios\nsystem\n",
        "obj": b"(" + system + said + b"o",
        "newobj": system + said + b"\x85\x81",
        "newobj-ex": b"csubprocess\nPopen\n" + said + b"\x85}" + _text("shell") + b"\x88s\x92",
        "extension": b"\x83" + struct.pack("<H", EXTENSION) + said + b"\x85R",
        "extension-4": b"\x84" + struct.pack("<i", EXTENSION) + said + b"\x85R",
        "persistent": b"P" + command.encode() + b"\n",
        "list-items": system + said + b"\x85R" + b"(" + said + b"e",
        "dict-items": b"cbuiltins\ndict\n)R" + said + system + said + b"\x85Rs",
        "default": b"ccollections\ndefaultdict\n" + system + b"\x85R" + said + b"N" + b"s",
    }


def _nested(command: str) -> dict[str, bytes]:
    said = _text(command)
    found = (
        b"cbuiltins\ngetattr\n" + b"cimportlib\nimport_module\n" + _text("os") + b"\x85R" + _text("system")
    )
    partial = b"cfunctools\npartial\n" + b"cos\nsystem\n" + said + b"\x86R"
    by_name = (
        b"coperator\nattrgetter\n" + _text("system") + b"\x85R" + b"cbuiltins\n__import__\n" + _text("os")
    )
    return {
        "getattr": found + b"\x86R" + said + b"\x85R",
        "dotted": _text("os") + _text("path.os.system") + b"\x93" + said + b"\x85R",
        "partial": partial + b")R",
        "attrgetter": by_name + b"\x85R\x85R" + said + b"\x85R",
        "map": b"cbuiltins\nlist\n" + b"cbuiltins\nmap\n" + b"cos\nsystem\n(" + said + b"l\x86R\x85R",
        "pickle": b"cpickle\nloads\n" + _bytes(_whole(_reduce("os", "system", command))) + b"\x85R",
        "setstate": _with_state(b"}" + _text("__setstate__") + b"cos\nsystem\ns") + said + b"b",
        "slots": b"ccollections\nOrderedDict\nN}" + _text("__init__") + b"cos\nsystem\ns\x86b",
    }


def _through_rebuilt(command: str) -> dict[str, bytes]:
    """The functions that a reader of weights must know, given something else than weights."""
    inner = _reduce("os", "system", command)
    system = b"cos\nsystem\n"
    legacy = _legacy(inner)
    array = (
        b"cnumpy._core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\nK\x00\x85" + _bytes(b"b") + b"\x87R"
    )
    dtype = b"cnumpy\ndtype\n" + _text("O8") + b"\x89\x88\x87R"
    return {
        "parameter": b"ctorch._utils\n_rebuild_parameter\n" + inner + b"\x88N\x87R",
        "from-type": b"ctorch._tensor\n_rebuild_from_type_v2\n("
        + system
        + b"cos\nsystem\n"
        + _text(command)
        + b"\x85Nt"
        + b"R",
        "storage": b"ctorch.storage\n_load_from_bytes\n" + _bytes(legacy) + b"\x85R",
        "storage-of-code": b"ctorch._utils\n_rebuild_tensor_v2\n(" + inner + b"K\x00))\x89NtR",
        "reconstructor": b"ccopyreg\n_reconstructor\n" + system + _text(command) + b"N\x87R",
        "new-object": b"ccopyreg\n__newobj__\n" + system + _text(command) + b"\x86R",
        "object-array": array + b"(K\x01K\x01\x85" + dtype + b"\x89(" + inner + b"lt" + b"b",
        "ordered": b"ccollections\nOrderedDict\n" + b"(" + inner + b"l\x85R",
        "encode": b"c_codecs\nencode\n" + inner + _text("latin1") + b"\x86R",
        "torch-load": b"ctorch\nload\n" + inner + b"\x85R",
        "dtype": b"cnumpy\ndtype\n" + inner + b"\x89\x88\x87R",
        "size": b"ctorch\nSize\n" + inner + b"\x85R",
    }


def poisoned_pickle(poison: bytes, *, protocol: int = 4) -> bytes:
    """A whole pickle of a dictionary whose one value is the poison."""
    return _whole(b"}" + _text("state_dict") + poison + b"s", protocol=protocol)


def alone(poison: bytes) -> bytes:
    """A whole pickle of the poison."""
    return _whole(poison)


def beside_weights(pickled: bytes, poison: bytes) -> bytes:
    """A pickle of a dict, or of an OrderedDict, with one more item: the poison."""
    assert pickled.endswith(b".")
    return pickled[:-1] + _text("poison") + poison + b"s."


def archive(pickled: bytes, records: Mapping[str, bytes] | None = None) -> bytes:
    """A torch file of that pickle and those storages."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("archive/data.pkl", pickled)
        made.writestr("archive/byteorder", "little")
        for key, raw in (records or {}).items():
            made.writestr(f"archive/data/{key}", raw)
        made.writestr("archive/version", "3\n")
    return out.getvalue()


@contextmanager
def registered() -> Iterator[None]:
    """While os.system has an extension number, as pickle would call it."""
    copyreg.add_extension("os", "system", EXTENSION)
    try:
        yield
    finally:
        copyreg.remove_extension("os", "system", EXTENSION)
        copyreg.clear_extension_cache()


def _whole(value: bytes, *, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + value + b"."


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _bytes(raw: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(raw)) + raw


def _reduce(module: str, name: str, argument: str) -> bytes:
    return f"c{module}\n{name}\n".encode() + _text(argument) + b"\x85R"


def _with_state(state: bytes) -> bytes:
    """An object of a class of the file, with that as its attributes."""
    return b"cargparse\nNamespace\n)\x81" + state + b"b"


def _legacy(value: bytes) -> bytes:
    """An old torch file whose object is that value."""
    out = io.BytesIO()
    parts: tuple[Any, ...] = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {})
    for part in parts:
        pickle.dump(part, out, protocol=2)
    out.write(_whole(value, protocol=2))
    pickle.dump([], out, protocol=2)
    return out.getvalue()
