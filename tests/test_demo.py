"""The demo on planted features; the trained dictionary's is in the slow tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from namesae.demo import clearest, command_name, run_demo
from namesae.dictionaries import TruthRow


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAMESAE_FAKES", "1")
    monkeypatch.setenv("REDIS_URL", redis_server.url)


def row(index: int, concept: str, kind: str, f1: float) -> TruthRow:
    return TruthRow(index=index, concept=concept, kind=kind, f1=f1, auroc=0.9)


def test_the_clearest_feature_is_one_object_or_texture_with_the_highest_f1() -> None:
    rows = (
        row(0, "striped fish", "and", 0.99),
        row(1, "not plain", "not", 0.99),
        row(2, "water", "background", 0.98),
        row(3, "fish", "object", 0.95),
        row(4, "striped", "texture", 0.97),
        row(5, "dotted", "texture", 0.97),
    )
    assert clearest(rows).index == 4
    assert clearest(rows[:2]).index == 0


def test_the_demo_names_a_feature_and_says_where_to_look(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a key in the environment, too, the demo asks no LLM.
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-used")
    assert run_demo() == 0
    told = capsys.readouterr()
    assert re.search(r"^striped   named   AUROC 0\.\d\d \[", told.out, re.MULTILINE)
    assert "$0, no LLM" in told.out and "lexical proposer" in told.err
    (sheet,) = re.findall(r"^  pictures  (.+)$", told.out, re.MULTILINE)
    (page,) = re.findall(r"^  trace     (.+)$", told.out, re.MULTILINE)
    assert Path(sheet).read_bytes().startswith(b"\x89PNG") and "<h1>striped</h1>" in Path(page).read_text()
    following = told.out.partition("Next:")[2]
    assert following.count(f"{command_name()} name") == 3
    assert "OPENAI_API_KEY=" in following and "CLIP ViT-B/32" in following and "SD-Turbo" in following
    assert run_demo() == 0
    again = capsys.readouterr()
    assert "stored 20" in again.out and "nothing was drawn now" in again.out
    assert f"  pictures  {sheet}" in again.out


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.timeout(300)
def test_the_demo_names_a_feature_of_the_trained_dictionary_rightly(tmp_path: Path) -> None:
    from sandbox.world.concepts import parse

    environ = {
        name: value for name, value in os.environ.items() if name not in ("NAMESAE_FAKES", "REDIS_URL")
    }
    began = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-m", "namesae.demo"],
        env=environ
        | {"PYTHONPATH": str(Path(__file__).parent.parent), "NAMESAE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    assert told.returncode == 0, told.stderr
    (name,) = re.findall(r"^(\S.*?)   named   AUROC", told.stdout, re.MULTILINE)
    (truth,) = re.findall(r"^  truth     '(.+)' \(F1", told.stdout, re.MULTILINE)
    assert parse(name) == parse(truth)
    assert seconds <= 90, f"the demo took {seconds:.0f} s"
    assert "Warning" not in told.stderr
