"""What answers from the store must not wait for a model library to be imported."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "open_clip", "diffusers", "transformers", "timm", "langgraph", "langchain_core", "openai")
LIGHT = (
    "sae.feature",
    "tools.errors",
    "tools.protocols",
    "tools.keys",
    "tools.redis_server",
    "tools.ledger",
    "tools.image_store",
    "agent.records",
    "agent.events",
    "agent.runs_store",
    "namesae.cli",
    "namesae.cli_evals",
    "namesae.cli_sae",
)

PROBE = """
import importlib, sys
for name in sys.argv[2].split():
    importlib.import_module(name)
    loaded = [heavy for heavy in sys.argv[1].split() if heavy in sys.modules]
    if loaded:
        sys.exit(f"import {name} loads {', '.join(loaded)}")
"""


def test_light_modules_load_no_model_library() -> None:
    command = [sys.executable, "-c", PROBE, " ".join(HEAVY), " ".join(LIGHT)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_command_line_is_made_without_pydantic_and_numpy() -> None:
    """They take longer to import than all that --help needs."""
    command = [sys.executable, "-c", PROBE, "pydantic numpy", "namesae.cli namesae.cli_evals namesae.cli_sae"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def seconds(*command: str) -> float:
    """Processor time of the cheapest of five runs: other work on the machine does not lengthen it much."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


@pytest.mark.slow
@pytest.mark.timed
def test_help_costs_at_most_twice_its_libraries() -> None:
    assert seconds("-m", "namesae", "--help") <= 2 * seconds("-c", "import typer, rich")
