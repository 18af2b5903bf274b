"""Recipes as YAML: files of one or several, the presets, and single settings from a command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from sae.errors import BadRecipe
from sae.trainer.recipe import Recipe

DICTIONARIES, PRESET = "dictionaries", "preset"
"""Keys of a file beside a recipe's own: several recipes by name; the preset that a recipe begins from."""
_INSTEAD = {"steps": "epochs", "epochs": "steps", "n_features": "expansion", "expansion": "n_features"}


def preset_names() -> list[str]:
    """Every preset, by name."""
    return sorted(Path(each.name).stem for each in _presets().iterdir() if each.name.endswith(".yaml"))


def read_preset(name: str, *, changes: Iterable[str] = ()) -> Recipe:
    """A preset, with ``key=value`` changes. BadRecipe."""
    return _recipe(_preset(name), changes, where=f"Preset {name}")


def read_recipes(path: Path, *, changes: Iterable[str] = ()) -> dict[str, Recipe]:
    """The recipes of a file by name: its own stem where there is one. BadRecipe."""
    changes = list(changes)
    content = _mapping(_text(path), where=str(path))
    if DICTIONARIES not in content:
        return {path.stem: _recipe(_based(content), changes, where=str(path))}
    if len(content) > 1 or not isinstance(content[DICTIONARIES], Mapping):
        raise BadRecipe(f"{path} must hold {DICTIONARIES!r}, recipes by name, or one recipe; correct it.")
    return {
        str(name): _recipe(_based(_named(each, path, name)), changes, where=f"{path}: {name}")
        for name, each in content[DICTIONARIES].items()
    }


def write_recipe(recipe: Recipe) -> str:
    """YAML that reads as the same recipe, without what is at its default."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude_defaults=True), sort_keys=False)


def _presets() -> Any:
    return files("sae") / "presets"


def _preset(name: str) -> dict[str, Any]:
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise BadRecipe(f"Preset {name!r} does not exist; {hint}There are {', '.join(preset_names())}.")
    text = (_presets() / f"{name}.yaml").read_text(encoding="utf-8")
    return _mapping(text, where=f"Preset {name}")


def _based(content: dict[str, Any]) -> dict[str, Any]:
    """The content over the preset it names."""
    own = {key: value for key, value in content.items() if key != PRESET}
    return _merged(_preset(str(content[PRESET])), own) if PRESET in content else own


def _merged(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in under.items() if over.get(_INSTEAD.get(key, "")) is None}
    for key, value in over.items():
        deep = isinstance(value, Mapping) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if deep else value
    return merged


def _recipe(content: dict[str, Any], changes: Iterable[str], *, where: str) -> Recipe:
    for change in changes:
        content = _merged(content, _change(change))
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise BadRecipe(_sentence(error, where)) from error


def _change(change: str) -> dict[str, Any]:
    """``optimiser.lr=1e-3`` as a nested mapping."""
    key, equals, value = change.partition("=")
    if not (key.strip() and equals):
        raise BadRecipe(f"Setting {change!r} is not of the form KEY=VALUE, e.g. optimiser.lr=1e-3.")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BadRecipe(f"Setting {change!r} has a value that is not YAML; quote it.") from error
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    found: dict[str, Any] = nested
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecipe(f"Recipe {path} cannot be read; give a YAML file or a preset.") from error


def _mapping(text: str, *, where: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadRecipe(f"{where} is not YAML; correct it.") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise BadRecipe(f"{where} is no mapping of settings; write KEY: VALUE lines.")
    return content


def _named(content: Any, path: Path, name: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise BadRecipe(f"{path}: {name} is no mapping of settings; write KEY: VALUE lines.")
    return content


def _sentence(error: ValidationError, where: str) -> str:
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{where}: there is no setting {place!r}; {_nearest(place)}"
    said = fault["msg"].removeprefix("Value error, ").rstrip(".")
    given = f" {fault['input']!r}" if place and isinstance(fault["input"], str | int | float) else ""
    return f"{where}: {place}{given}{': ' if place else ''}{said}; correct it."


def _nearest(place: str) -> str:
    settings, last = list(_settings(Recipe)), place.rpartition(".")[2]
    by_name: dict[str, list[str]] = {}
    for each in settings:
        by_name.setdefault(each.rpartition(".")[2], []).append(each)
    near = [path for name in difflib.get_close_matches(last, by_name, n=2) for path in by_name[name]]
    near.sort(key=lambda path: difflib.SequenceMatcher(None, path, place).ratio(), reverse=True)
    return f"did you mean {' or '.join(near[:3])}?" if near else f"there are {', '.join(settings)}."


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting by its dotted name, sections left out."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from _settings(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
