"""A Dockerfile as its instructions, enough to check it without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

KNOWN = frozenset(
    {
        *("FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENV", "USER", "VOLUME", "EXPOSE", "LABEL"),
        *("HEALTHCHECK", "STOPSIGNAL", "CMD", "ENTRYPOINT"),
    }
)


class Instruction(NamedTuple):
    """One instruction."""

    name: str
    rest: str

    def command(self) -> list[str]:
        """The words of an exec form, wherever the instruction has it."""
        return [str(word) for word in json.loads(self.rest[self.rest.index("[") :])]


class Dockerfile(NamedTuple):
    """The stages of a file, each from its FROM on."""

    stages: tuple[tuple[Instruction, ...], ...]

    @property
    def final(self) -> tuple[Instruction, ...]:
        """The stage that becomes the image."""
        return self.stages[-1]

    def all(self, name: str) -> list[Instruction]:
        """Every instruction of a name, in every stage."""
        return [each for stage in self.stages for each in stage if each.name == name]

    def last(self, name: str) -> Instruction:
        """The one of the final stage that counts."""
        return [each for each in self.final if each.name == name][-1]


def read_dockerfile(path: Path) -> Dockerfile:
    """Read a file; ValueError for an instruction that there is not."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        if name not in KNOWN or (not stages and name not in ("FROM", "ARG")):
            raise ValueError(f"{path}: {line!r}")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, rest.strip()))
    return Dockerfile(tuple(tuple(stage) for stage in stages))
