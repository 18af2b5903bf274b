"""What the readers of other people's files agree on: a file taken apart, and what one makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from sae.card import BackboneSpec
from sae.dictionary import SparseDictionary
from sae.errors import BadDictionary

Tokens = Literal["cls", "patch", "all"]


class Hints(NamedTuple):
    """What a file says of the backbone its activations come from; nothing is guessed."""

    model: str | None = None
    """In the file's own words."""
    backbone: BackboneSpec | None = None
    """Where those words leave no doubt which model of which library it is."""
    block: int | None = None
    """Whose output is read, counted from 0; from the end where negative."""
    place: str | None = None
    """The hook point in the file's own words, or 'pooled' for a model's embeddings of images."""
    tokens: Tokens | None = None
    """Those it was trained on."""

    def hook_point(self, n_blocks: int | None = None) -> str | None:
        """By the names that sae.backbone gives; None where the file does not tell, or counts from the end of
        an unknown number of blocks."""
        if self.block is not None and self.block >= 0:
            return f"block.{self.block}"
        if self.block is not None and n_blocks is not None and -n_blocks <= self.block:
            return f"block.{n_blocks + self.block}"
        return self.place if self.place in ("pooled", "logits") else None


class Reading(NamedTuple):
    """A file as a dictionary."""

    dictionary: SparseDictionary
    notes: tuple[str, ...] = ()
    """What the file leaves open and how it was read, a sentence each."""
    hints: Hints = Hints()


@dataclass(frozen=True)
class Source:
    """A file of weights taken apart."""

    path: Path
    kind: str
    tensors: Mapping[str, Tensor]
    """The weights by their names in the file, wrappers' prefixes gone."""
    around: Mapping[str, Any]
    """What lies beside the weights in the file, of any level."""
    config: Settings
    """Of the file, else of the JSON beside it."""
    files: Mapping[str, Any] = field(default_factory=dict)
    """The JSON files beside it."""
    classes: tuple[str, ...] = ()
    """Names of the classes whose objects the file holds, outermost first."""
    k: int | None = None
    """As whoever loads it says."""
    flavor: str | None = None
    """As whoever loads it says."""

    def has(self, *names: str) -> bool:
        """Whether all those are among the weights."""
        return all(name in self.tensors for name in names)

    def tensor(self, name: str) -> Tensor:
        """One of the weights; BadDictionary names it where it is missing."""
        found = self.tensors.get(name)
        if found is None:
            raise BadDictionary(f"it holds no {name}")
        return found

    def one_number(self, name: str) -> float | None:
        """A tensor of one number, None where there is none of that name. BadDictionary where it has more."""
        found = self.tensors.get(name)
        if found is None:
            return None
        if found.numel() != 1:
            raise BadDictionary(f"its {name} has shape {tuple(found.shape)}, not one number")
        return float(found)

    def top(self, *names: str) -> int | None:
        """k as whoever loads says, else as the weights or the configuration say under one of the names."""
        if self.k is not None:
            return self.k
        for name in names:
            stored = self.one_number(name)
            found = self.config.whole(name) if stored is None else int(stored)
            if found is not None:
                return found
        return None


@dataclass(frozen=True)
class Settings:
    """A configuration from a file, read with care: what has another type than it should is refused."""

    held: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.held

    def text(self, name: str) -> str | None:
        """None where it is missing or null."""
        found: str | None = self._of(name, str, "text")
        return found

    def flag(self, name: str) -> bool | None:
        """None where it is missing or null."""
        found: bool | None = self._of(name, bool, "true or false")
        return found

    def whole(self, name: str) -> int | None:
        """None where it is missing or null."""
        value = self.number(name)
        if value is not None and value != int(value):
            raise BadDictionary(f"its configuration says {name} = {value}, not a whole number")
        return None if value is None else int(value)

    def number(self, name: str) -> float | None:
        """None where it is missing or null; BadDictionary where it is not finite."""
        value: float | None = self._of(name, int | float, "a number")
        if isinstance(value, bool) or (value is not None and not abs(value) < 2**53):
            raise BadDictionary(f"its configuration says {name} = {str(value)[:40]}, not a number")
        return value

    def part(self, name: str) -> Settings:
        """The settings within; empty where there are none."""
        return Settings(self._of(name, dict, "a group of settings") or {})

    def hint(self, name: str) -> str | None:
        """A text that nothing hangs on: None where it is anything else."""
        value = self.held.get(name)
        return value if isinstance(value, str) else None

    def hinted_number(self, name: str) -> int | None:
        """A whole number that nothing hangs on: None where it is anything else."""
        value = self.held.get(name)
        return value if type(value) is int else None

    def _of(self, name: str, kind: Any, words: str) -> Any:
        value = self.held.get(name)
        if value is None or isinstance(value, kind):
            return value
        raise BadDictionary(f"its configuration says {name} = {str(value)[:40]!r}, not {words}")


class Format(NamedTuple):
    """A way of writing dictionaries."""

    name: str
    claims: Callable[[Source], bool]
    """Whether a file is of it."""
    read: Callable[[Source], Reading]
    """BadDictionary, half a sentence about 'it', where the file is broken or cannot be represented."""
    flavors: tuple[str, ...] = ()
    """What ``flavor`` may be, to say what such files leave open; the format's own name always may."""
