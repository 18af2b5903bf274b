"""Groups of commands that are made only when one of them is asked for: nothing else waits for them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def late(module: str, name: str, *, says: str) -> typer.Typer:
    """The group ``name``, a typer.Typer of ``module``, which is imported when its commands are wanted."""

    @cache
    def made() -> TyperGroup:
        return get_group(import_module(module).__dict__[name])

    class Group(TyperGroup):
        @property
        def commands(self) -> MutableMapping[str, Any]:
            return made().commands

        @commands.setter
        def commands(self, _: MutableMapping[str, Any]) -> None:
            """The parser sets those that it knows of: none."""

    return typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, help=says)
