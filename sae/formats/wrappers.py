"""Taking a file of weights apart: the state among its wrappers, the configuration, and what lies beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from sae.errors import BadDictionary
from sae.formats.bag import Bag
from sae.formats.container import Contents
from sae.formats.reading import Settings, Source

STATES = ("state_dict", "model_state_dict", "model", "ae", "autoencoder")
"""Under what names files keep their weights."""
CONFIGS = ("cfg", "config", "sae_config")
SIDECARS = ("cfg.json", "config.json")
PREFIXES = ("module.", "_orig_mod.", "sae.")
"""What wrapping a module puts before the names of its weights."""
_DEEPEST = 6


def take_apart(contents: Contents, *, k: int | None = None, flavor: str | None = None) -> Source:
    """A file as its reader sees it. BadDictionary, half a sentence about 'it'."""
    around: dict[str, Any] = {}
    classes: list[str] = []
    node: Any = contents.tree
    for _ in range(_DEEPEST):
        node = _opened(node, classes)
        wrapped = next((name for name in STATES if isinstance(node.get(name), dict | Bag)), None)
        around |= {name: value for name, value in node.items() if name != wrapped}
        if wrapped is None:
            break
        node = node[wrapped]
    tensors = _bare({name: value for name, value in node.items() if isinstance(value, Tensor)})
    if any(tensor.is_complex() for tensor in tensors.values()):
        raise BadDictionary("it holds complex numbers")
    return Source(
        path=contents.path,
        kind=contents.kind,
        tensors=tensors,
        around={name: value for name, value in around.items() if name not in tensors},
        config=_config(around, contents.files, classes),
        files=contents.files,
        classes=tuple(classes),
        k=k,
        flavor=flavor,
    )


def settings_of(node: Any) -> Settings:
    """A dict or an object's attributes as settings; empty for anything else."""
    if isinstance(node, Bag):
        return Settings(node.attributes)
    return Settings(node if isinstance(node, dict) else {})


def _opened(node: Any, classes: list[str]) -> dict[str, Any]:
    if isinstance(node, Bag):
        classes.append(node.name)
        return dict(_module(node, "")) if "_parameters" in node.attributes else node.attributes
    if isinstance(node, dict):
        return node
    raise BadDictionary("it holds no weights by name")


def _module(module: Bag, prefix: str, *, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The weights and the plain attributes of a whole module by dotted name."""
    for name, value in module.attributes.items():
        if name in ("_parameters", "_buffers") and isinstance(value, dict):
            yield from ((f"{prefix}{key}", held) for key, held in value.items() if isinstance(held, Tensor))
        elif not name.startswith("_"):
            yield f"{prefix}{name}", value
    inner = module.attributes.get("_modules")
    for name, value in inner.items() if isinstance(inner, dict) else ():
        if isinstance(value, Bag) and depth < _DEEPEST:
            yield f"{prefix}{name}.class", value.name
            yield from _module(value, f"{prefix}{name}.", depth=depth + 1)


def _bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = next(
        (each for each in PREFIXES if tensors and all(name.startswith(each) for name in tensors)), ""
    )
    if not prefix:
        return tensors
    return _bare({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})


def _config(around: Mapping[str, Any], files: Mapping[str, Any], classes: list[str]) -> Settings:
    for name in CONFIGS:
        held = around.get(name)
        if isinstance(held, Bag):
            classes.append(held.name)
        if isinstance(held, dict | Bag):
            return settings_of(held)
    return settings_of(next((files[name] for name in SIDECARS if name in files), None))
