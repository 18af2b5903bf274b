"""The pages keep up with the code: trees, links, settings, commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from namesae.cli import app
from namesae.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tree() -> list[str]:
    """The paths of the README's annotated tree."""
    block = README.partition("## What is where")[2].partition("```text\n")[2].partition("```")[0]
    paths: list[str] = []
    folder = ""
    for line in block.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name if name.endswith("/") else ""
        paths.append(name if name == folder else folder + name)
    return paths


def test_everything_in_the_tree_exists() -> None:
    assert [path for path in tree() if not (ROOT / path).exists()] == []


def test_the_tree_names_everything_at_the_top() -> None:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    top = {path.partition("/")[0] for path in files if path and (ROOT / path).exists()}
    assert top - {path.partition("/")[0] for path in tree()} == set()


def test_the_comments_of_the_tree_are_aligned() -> None:
    block = README.partition("## What is where")[2].partition("```text\n")[2].partition("```")[0]
    columns = {len(line) - len(re.sub(r"^ *\S+ +", "", line)) for line in block.splitlines()}
    assert len(columns) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if (ROOT / "docs") in page.parents]
    assert [page for page in pages if page != "index.md" and f"({page})" not in index] == []


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    table = text.partition("| setting |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(Settings.model_fields)


COMMAND = re.compile(r"(?:^ {4,}(?:\S+=\S+ +)*(?:\.venv/bin/)?|`)namesae ([a-z]+)\b([^`\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)--[a-z-]+")


def within(command: Any) -> list[Any]:
    """A command and the commands it has."""
    return [command, *getattr(command, "commands", {}).values()]


def test_every_command_in_the_pages_exists() -> None:
    known = {
        name: {
            option
            for each in within(command)
            for parameter in each.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    }
    told = [found for page in PAGES for found in COMMAND.findall(re.sub(r"\\\n\s*", "", page.read_text()))]
    wrong = [
        f"{name} {option}"
        for name, rest in told
        for option in OPTION.findall(rest) or [""]
        if name not in known or (option and option not in known[name])
    ]
    assert len(told) > 10
    assert wrong == []
