"""A suite: which features are named, by which conditions, within which limits. Read from TOML or YAML."""

from __future__ import annotations

import difflib
import json
import random
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from evals.csv_rows import read_text
from evals.feature_list import Listed, read_features, refuse_mixed
from evals.published import read_quoted
from evals.scoreboard import QuotedRow
from sae.feature import Frozen
from tools.errors import UsageError

SCHEMA = 1
FILE = "file:"
"""Prefix of a condition that reads names from a file."""
TAKEN = ("all", "outside the seeds", "inside the seeds")
"""What reports call groups of their own, 'kind: ...' beside them."""

NAMING = ("conditions", "options", "only")
"""Keys whose values name conditions, in a list or as keys."""

Words = Literal["generator", "english"]

_TOML, _YAML = (".toml",), (".yaml", ".yml")
_Count = Annotated[int, Field(strict=True, ge=1)]
_Text = Annotated[str, Field(min_length=1)]
_Table = tuple[str, Mapping[str, Any], Collection[str]]
"""Where a table stands, the table, the keys it may have."""


class Group(Frozen):
    """Features that are reported together."""

    group: _Text
    select: _Text | None = None
    """A selection that the workshop reads, such as 'sandbox#truth>=0.8'; None where a file lists them."""
    file: _Text | None = None
    """The list as the suite names it, relative to the suite's own file."""
    listed: tuple[Listed, ...] = ()
    """What the file lists, of one dictionary."""
    sample: _Count | None = None
    """So many of them, chosen with the suite's seed; None for all."""

    @field_validator("group")
    @classmethod
    def _not_taken(cls, group: str) -> str:
        if group in TAKEN or group.startswith("kind:"):
            raise ValueError(f"Reports have a group {group!r} of their own; call it otherwise")
        return group

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.select is None) == (self.file is None):
            which = "both select and file" if self.select else "neither select nor file"
            raise ValueError(f"Group {self.group!r} has {which}; give one of them")
        if self.listed and self.sample is not None and self.sample > len(self.listed):
            raise ValueError(f"Group {self.group!r} lists {len(self.listed)} features, fewer than its sample")
        return self

    def chosen(self, seed: int) -> tuple[Listed, ...]:
        """The listed features, or the sample of them, in the order of the list."""
        if self.sample is None:
            return self.listed
        places = random.Random(seed).sample(range(len(self.listed)), self.sample)
        return tuple(self.listed[place] for place in sorted(places))


class Only(Frozen):
    """The groups a condition is run on, where it is not run on all."""

    groups: Annotated[tuple[_Text, ...], Field(min_length=1)]


class Suite(Frozen):
    """What an evaluation is of. No size has a default: a suite says what it costs."""

    schema_: Literal[1] = 1
    name: _Text
    description: str = ""
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    proposer: Literal["lexical", "openai"] | None = None
    """None: the settings decide."""
    images: _Count
    """Search budget of the conditions that take one, images a feature."""
    sealed: Annotated[int, Field(strict=True, ge=2, le=10_000)]
    """Images a name is judged on."""
    words: Words = "generator"
    """What loops and the lexical proposer search over: the generator's own words, or these and the built-in
    English list, of which most generators of a closed vocabulary know little."""
    conditions: tuple[_Text, ...] = ()
    """By name, or 'file:PATH'."""
    features: tuple[Group, ...] = ()
    options: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """By condition; a condition checks its own."""
    only: dict[str, Only] = Field(default_factory=dict)
    """By condition."""
    sentence_model: str | None = None
    """Hub id or folder of the model of ``similarity``; None: the text tower beside each dictionary."""
    quoted: tuple[QuotedRow, ...] = ()
    folder: str = Field("", exclude=True)
    """Where the suite's own file lies; not stored."""

    def beside(self, file: str) -> Path:
        """A path that the suite names, relative to its own file."""
        return Path(self.folder) / Path(file).expanduser()

    def groups_of(self, condition: str) -> tuple[Group, ...]:
        """The groups a condition is run on."""
        only = self.only.get(condition)
        return tuple(group for group in self.features if only is None or group.group in only.groups)


def built_in_suites() -> tuple[str, ...]:
    """Names of the suites that are shipped."""
    names = (Path(each.name) for each in files("evals").joinpath("suites").iterdir())
    return tuple(sorted(name.stem for name in names if name.suffix in _TOML))


def read_suite(source: str, known: Collection[str]) -> Suite:
    """A suite by its path or the name of a shipped one; ``known``: the conditions there are.

    UsageError in one sentence: no such suite, not TOML or YAML, another schema, a key or value that does not
    belong, no features or conditions, a list or table that cannot be read.
    """
    path = _find(source)
    where = f"Suite {source}"
    raw = _parse(path, where)
    _refuse_other_schema(where, raw)
    _refuse_unknown_keys(where, raw)
    try:
        suite = Suite.model_validate(_with_files(raw, path.parent, where=where))
    except ValidationError as error:
        raise UsageError(_sentence(where, error)) from error
    _refuse_unfit(where, suite, known=known)
    return suite


def _find(source: str) -> Path:
    shipped = built_in_suites()
    if source in shipped:
        return Path(str(files("evals").joinpath("suites", f"{source}.toml")))
    path = Path(source).expanduser()
    if path.suffix.lower() in (*_TOML, *_YAML) and path.is_file():
        return path
    if path.is_file():
        raise UsageError(f"Suite {source} is neither .toml nor .yaml; give one of them.")
    near = difflib.get_close_matches(path.stem, shipped, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"Suite {source!r} does not exist; {hint}There are {', '.join(shipped)}, and any file.")


def _parse(path: Path, where: str) -> dict[str, Any]:
    text, is_toml = read_text(path), path.suffix.lower() in _TOML
    try:
        read = tomllib.loads(text) if is_toml else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{where} is not {'TOML' if is_toml else 'YAML'} ({told}); correct it.") from error
    if isinstance(read, dict):
        read = {key: _spelt(value) if key in NAMING else value for key, value in read.items()}
    else:
        raise UsageError(f"{where} is not a table of keys; begin it with schema, name and conditions.")
    return read


def _spelt(value: Any) -> Any:
    """Names of conditions as they were written: YAML reads a bare ``true`` as a truth value."""
    if isinstance(value, list):
        return ["true" if each is True else each for each in value]
    if isinstance(value, dict):
        return {"true" if key is True else key: each for key, each in value.items()}
    return value


def _refuse_other_schema(where: str, raw: Mapping[str, Any]) -> None:
    schema = raw.get("schema")
    if schema is None:
        raise UsageError(f"{where} does not say its schema; write schema = {SCHEMA}.")
    if isinstance(schema, bool) or schema != SCHEMA:
        raise UsageError(f"{where} has schema {schema!r}, and this version reads {SCHEMA}; update namesae.")


def _with_files(raw: Mapping[str, Any], folder: Path, *, where: str) -> dict[str, Any]:
    """The same with what the files it names hold."""
    filled = {key: value for key, value in raw.items() if key != "schema"} | {"folder": str(folder)}
    table = filled.pop("quoted_file", None)
    if table is not None:
        if not isinstance(table, str):
            raise UsageError(f"{where}: quoted_file {table!r} is not a path; write one.")
        rows = [row.model_dump() for row in read_quoted(folder / Path(table).expanduser())]
        filled["quoted"] = [*_list(filled.get("quoted", [])), *rows]
    filled["features"] = [_with_list(group, folder) for group in _list(filled.get("features", []))]
    return filled


def _list(value: Any) -> list[Any]:
    """What should be a list, so that pydantic says what is wrong where it is none."""
    return value if isinstance(value, list) else [value]


def _with_list(group: Any, folder: Path) -> Any:
    if not (isinstance(group, dict) and isinstance(group.get("file"), str)):
        return group
    path = folder / Path(group["file"]).expanduser()
    listed = read_features(path)
    refuse_mixed((each.feature for each in listed), where=f"Feature list {path}")
    return {**group, "listed": listed}


def _refuse_unfit(where: str, suite: Suite, *, known: Collection[str]) -> None:
    if not suite.features:
        raise UsageError(f"{where} has no features; add a group of them, [[features]].")
    if not suite.conditions:
        raise UsageError(f"{where} has no conditions; list some of {', '.join(sorted(known))}.")
    _refuse_twice((group.group for group in suite.features), what=f"{where} has the group")
    _refuse_twice(suite.conditions, what=f"{where} lists the condition")
    for condition in suite.conditions:
        if not condition.removeprefix(FILE) or not condition.startswith(FILE):
            _require(condition, known, what=f"{where} has the unknown condition")
    _refuse_unlisted(where, suite)
    try:
        json.dumps(suite.options, allow_nan=False)
    except ValueError as error:
        raise UsageError(f"{where} has an option that is no finite number; correct it.") from error


def _refuse_unlisted(where: str, suite: Suite) -> None:
    """UsageError where options or groups are given for what the suite does not have."""
    groups = [group.group for group in suite.features]
    for condition in suite.options:
        _require(condition, suite.conditions, what=f"{where} has options for the unlisted condition")
    for condition, only in suite.only.items():
        _require(condition, suite.conditions, what=f"{where} has groups for the unlisted condition")
        for group in only.groups:
            _require(group, groups, what=f"{where} runs {condition} on the unknown group")


def _refuse_twice(names: Iterable[str], *, what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{what} {name!r} twice; rename or remove one.")
        seen.add(name)


def _require(name: str, known: Collection[str], *, what: str) -> None:
    if name not in known:
        raise UsageError(f"{what} {name!r}; {_nearest(name, known)}")


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}."


def _refuse_unknown_keys(where: str, raw: Mapping[str, Any]) -> None:
    top = (Suite.model_fields.keys() - {"schema_", "folder"}) | {"schema", "quoted_file"}
    group = Group.model_fields.keys() - {"listed"}
    tables = [("", raw, top), *_tables("features", raw, group)]
    tables += _tables("quoted", raw, QuotedRow.model_fields.keys()) + _tables("only", raw, Only.model_fields)
    for place, table, known in tables:
        for key in table:
            _require(str(key), known, what=f"{where}{place} has the unknown key")


def _tables(name: str, raw: Mapping[str, Any], known: Collection[str]) -> list[_Table]:
    """The tables under a key; what is no table is left for pydantic to refuse."""
    below = raw.get(name)
    named = below.items() if isinstance(below, dict) else enumerate(_list(below), start=1)
    return [(f", {name} {key},", each, known) for key, each in named if isinstance(each, dict)]


def _sentence(where: str, error: ValidationError) -> str:
    """The first thing that is wrong."""
    fault = error.errors(include_url=False)[0]
    if fault["type"] == "missing":
        return f"{where} has no {_place(fault['loc'])}; write it."
    told = fault["msg"].removeprefix("Value error, ")
    given = fault["input"]
    said = f", not {given!r}" if isinstance(given, str | int | float) else ""
    return f"{where}, {_place(fault['loc'])}: {told[:1].lower()}{told[1:]}{said}; correct it."


def _place(at: Sequence[int | str]) -> str:
    """'features 2: sample', counted from 1."""
    return " ".join(str(part + 1) if isinstance(part, int) else part for part in at)
