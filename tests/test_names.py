"""The guards on names: no stranger owns our package names, and langgraph's graph API has one importer."""

from __future__ import annotations

import ast
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("sae", "tools", "agent", "sandbox", "evals", "namesae")
VAGUE = {"utils", "util", "common", "core", "helpers", "helper", "base", "types", "misc"}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Every module a file imports, at whatever depth of indentation; 'a.b' for ``from a import b``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_ships_our_package_names(package: str) -> None:
    owners = set(packages_distributions().get(package, ()))
    assert owners <= {"namesae"}, f"{package!r} is also shipped by {owners - {'namesae'}}; uninstall it"


def test_only_the_graph_imports_the_graph_api() -> None:
    users = {str(path.relative_to(ROOT)) for path in sources() if "langgraph.graph" in imported(path)}
    assert users <= {"agent/graph.py"}


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = {str(path.relative_to(ROOT)) for path in sources() if {path.stem, path.parent.name} & VAGUE}
    assert vague == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_marked_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_tests_are_flat() -> None:
    # A package named tests/agent would be imported in place of ours.
    assert [str(path) for path in (ROOT / "tests").rglob("__init__.py")] == []
