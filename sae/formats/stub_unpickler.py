"""Pickles read as data: a machine of its own for the opcodes, in which no name of the file is ever looked up.

A class or function of the file becomes a ``Name``; calling one makes a Bag, unless it is one of the few that
``REBUILT`` (sae/formats/rebuilt.py) re-implements. EXT opcodes and unknown ones are refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from sae.errors import BadDictionary
from sae.formats.bag import Bag
from sae.formats.budget import Budget


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle speaks of."""

    path: str


Rebuild = Callable[[list[Any]], Any]
"""What stands for a function of the file: its arguments to its value."""

_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_VALUES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    }
)
"""Opcodes that push their own argument."""
_IGNORED = frozenset({"PROTO", "FRAME", "READONLY_BUFFER"})


class StubUnpickler:
    """Reads one pickle from a stream, up to and with its STOP."""

    def __init__(
        self,
        stream: IO[bytes],
        *,
        rebuilt: Mapping[str, Rebuild],
        persistent: Callable[[Any], Any],
        budget: Budget,
    ) -> None:
        self._stream = stream
        self._rebuilt = rebuilt
        self._persistent = persistent
        self._budget = budget
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The pickled value; dicts have string keys, sets are lists, strangers are Bags. BadDictionary."""
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                self._budget.spend_steps()
                self._step(opcode.name, argument)
            return self._pop()
        except (ValueError, LookupError, TypeError, OverflowError, AttributeError, Warning) as error:
            if isinstance(error, BadDictionary):
                raise
            raise BadDictionary("its pickle is broken") from error

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _VALUES:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode not in _IGNORED and opcode != "STOP":
            raise BadDictionary(f"its pickle uses {opcode}, which weights have no need of")

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise BadDictionary("its pickle is broken")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _replace(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(items)))

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _pop_one(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _list(self, _: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _dict(self, _: Any) -> None:
        made: dict[str, Any] = {}
        self._fill(made, self._pop_to_mark())
        self._stack.append(made)

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._extend(self._stack[-1], [value])

    def _appends(self, _: Any) -> None:
        values = self._pop_to_mark()
        self._extend(self._stack[-1], values)

    def _set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._fill(self._stack[-1], [key, value])

    def _set_items(self, _: Any) -> None:
        pairs = self._pop_to_mark()
        self._fill(self._stack[-1], pairs)

    def _extend(self, held: Any, values: list[Any]) -> None:
        target = held.arguments if isinstance(held, Bag) else held
        if not isinstance(target, list):
            raise BadDictionary("its pickle appends to what is no list")
        target.extend(values)

    def _fill(self, held: Any, pairs: list[Any]) -> None:
        target = held.attributes if isinstance(held, Bag) else held
        if not isinstance(target, dict) or len(pairs) % 2:
            raise BadDictionary("its pickle sets items of what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_key(key, len(target))] = value

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _global(self, names: str) -> None:
        module, _, attribute = names.partition(" ")
        self._stack.append(Name(f"{module}.{attribute}"))

    def _stack_global(self, _: Any) -> None:
        attribute, module = self._pop(), self._pop()
        if not (isinstance(attribute, str) and isinstance(module, str)):
            raise BadDictionary("its pickle names a class by what is no text")
        self._stack.append(Name(f"{module}.{attribute}"))

    def _inst(self, names: str) -> None:
        arguments = self._pop_to_mark()
        self._global(names)
        self._stack.append(self._call(self._pop(), arguments))

    def _obj(self, _: Any) -> None:
        maker, *arguments = self._pop_to_mark()
        self._stack.append(self._call(maker, arguments))

    def _reduce(self, _: Any) -> None:
        arguments, maker = self._pop(), self._pop()
        self._stack.append(self._call(maker, self._as_list(arguments)))

    def _new_object_ex(self, _: Any) -> None:
        named, arguments, maker = self._pop(), self._pop(), self._pop()
        made = self._call(maker, self._as_list(arguments))
        if isinstance(made, Bag) and isinstance(named, dict):
            self._budget.spend_steps(len(named))
            made.attributes.update(named)
        self._stack.append(made)

    def _as_list(self, arguments: Any) -> list[Any]:
        if not isinstance(arguments, tuple | list):
            raise BadDictionary("its pickle calls a function without arguments")
        # One tuple may be given to many calls.
        self._budget.spend_steps(len(arguments))
        return list(arguments)

    def _call(self, maker: Any, arguments: list[Any]) -> Any:
        if not isinstance(maker, Name):
            return Bag(maker.name if isinstance(maker, Bag) else type(maker).__name__, arguments=arguments)
        if maker.path in _MAKERS and arguments and isinstance(arguments[0], Name):
            return self._call(arguments[0], arguments[1:])
        rebuild = self._rebuilt.get(maker.path)
        return Bag(maker.path, arguments=arguments) if rebuild is None else rebuild(arguments)

    def _build(self, _: Any) -> None:
        state = self._pop()
        made = self._stack[-1]
        if isinstance(made, Bag):
            self._set_state(made, state)
        elif hasattr(made, "set_state"):
            made.set_state(state)

    def _set_state(self, made: Bag, state: Any) -> None:
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, dict):
                inner = part.get("__dict__")
                held = inner if isinstance(inner, dict) else part
                self._budget.spend_steps(len(held))
                made.attributes.update(held)
            elif part is not None:
                made.attributes["state"] = part

    def _persistent_id(self, _: Any) -> None:
        self._stack.append(self._persistent(self._pop()))


_MAKERS = frozenset({"copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__"})
"""Functions that make an object of their first argument."""

_ACTIONS: dict[str, Callable[[StubUnpickler, Any], None]] = {
    "MARK": StubUnpickler._mark,
    "POP": StubUnpickler._pop_one,
    "POP_MARK": lambda machine, _: machine._pop_to_mark().clear(),
    "DUP": StubUnpickler._duplicate,
    "TUPLE": StubUnpickler._tuple,
    "TUPLE1": lambda machine, _: machine._replace(1),
    "TUPLE2": lambda machine, _: machine._replace(2),
    "TUPLE3": lambda machine, _: machine._replace(3),
    "LIST": StubUnpickler._list,
    "FROZENSET": StubUnpickler._list,
    "DICT": StubUnpickler._dict,
    "APPEND": StubUnpickler._append,
    "APPENDS": StubUnpickler._appends,
    "ADDITEMS": StubUnpickler._appends,
    "SETITEM": StubUnpickler._set_item,
    "SETITEMS": StubUnpickler._set_items,
    "PUT": StubUnpickler._put,
    "BINPUT": StubUnpickler._put,
    "LONG_BINPUT": StubUnpickler._put,
    "MEMOIZE": StubUnpickler._memoize,
    "GET": StubUnpickler._get,
    "BINGET": StubUnpickler._get,
    "LONG_BINGET": StubUnpickler._get,
    "GLOBAL": StubUnpickler._global,
    "STACK_GLOBAL": StubUnpickler._stack_global,
    "INST": StubUnpickler._inst,
    "OBJ": StubUnpickler._obj,
    "REDUCE": StubUnpickler._reduce,
    "NEWOBJ": StubUnpickler._reduce,
    "NEWOBJ_EX": StubUnpickler._new_object_ex,
    "BUILD": StubUnpickler._build,
    "BINPERSID": StubUnpickler._persistent_id,
}


def _key(key: Any, position: int) -> str:
    """Text for any key; of a key that is no plain value (an optimiser has tensors), its position."""
    plain = key is None or isinstance(key, str | int | float)
    return str(key) if plain else f"({type(key).__name__} {position})"
