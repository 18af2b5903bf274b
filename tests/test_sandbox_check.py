"""The shipped models reach every figure they must, and none of those can be lowered unseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox import check
from sandbox.gates import Figure, failures
from sandbox.heldout import held_out
from sandbox.truth import load_truth, name_f1
from sandbox.world.concepts import truth

ROOT = Path(__file__).parent.parent
ATTRIBUTES = ("object", "colour", "texture", "background", "size", "count")
PROBED = ATTRIBUTES[:4]
COHERENT = {"sandbox": 60, "sandbox-patch": 60, "sandbox-vit": 20}

# Written out, not read from sandbox.gates: a bound lowered there fails here.
AT_LEAST: dict[str, float] = {
    "clip zero-shot object": 0.90,
    "clip zero-shot colour": 0.95,
    "clip zero-shot texture": 0.95,
    "clip zero-shot background": 0.97,
    "classifier object": 0.93,
    **{f"reader {name}": 0.97 for name in ATTRIBUTES},
    "generator object": 0.80,
    "generator colour": 0.90,
    "generator background": 0.95,
    "generator texture": 0.85,
    "generator single words": 0.80,
    **{f"{name} features F1 ≥ .80": least for name, least in COHERENT.items()},
    "distinct concepts": 50,
    **{f"sandbox linear probe {name}": 0.95 for name in PROBED},
}
AT_MOST: dict[str, float] = {
    "sandbox FVU": 0.10,
    "sandbox-patch FVU": 0.20,
    "sandbox-vit FVU": 0.10,
    **{f"{name} L0": 20 for name in COHERENT},
    **{f"{name} silent": 0.05 for name in COHERENT},
}
PUBLISHED = {
    *(f"{what} {name}" for what in ("clip zero-shot", "generator") for name in ("size", "count")),
    *(f"{name} share coherent" for name in COHERENT),
    "generator words unrenderable",
}
OVERCOMPLETE = {"sandbox": (256, 2), "sandbox-patch": (768, 4), "sandbox-vit": (256, 2)}
"""Least features, and least features for each dimension of what is encoded."""
MOST_BYTES = 28_000_000


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What activations on the held-out scenes are kept in: of this session alone, so that none is stale."""
    return tmp_path_factory.getbasetemp() / "held-out"


@pytest.fixture(scope="module")
def checked(cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.check", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def figures(checked: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    (record,) = [json.loads(line) for line in checked.stdout.splitlines()]
    assert (record["schema"], record["type"]) == (1, "sandbox-check")
    found = {figure["name"]: figure for figure in record["figures"]}
    assert len(found) == len(record["figures"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_figure_is_there_and_as_it_must_be(checked: subprocess.CompletedProcess[str]) -> None:
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = figures(checked)
    assert found.keys() >= AT_LEAST.keys() | AT_MOST.keys() | PUBLISHED
    for name, least in AT_LEAST.items():
        figure = found[name]
        assert figure["value"] >= figure["bound"] >= least and not figure["at_most"], name
    for name, most in AT_MOST.items():
        figure = found[name]
        assert figure["value"] <= figure["bound"] <= most and figure["at_most"], name


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_truth_tables_are_true_of_the_shipped_weights(
    checked: subprocess.CompletedProcess[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sandbox.activations import measure

    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    found, told, labels = figures(checked), set[str](), held_out().labels
    for name in COHERENT:
        rows = [row for row in load_truth(check.MODELS / name) if row.f1 >= 0.80]
        assert len(rows) == found[f"{name} features F1 ≥ .80"]["value"]
        told |= {row.concept for row in rows}
        activations = measure(check.MODELS / name).activations
        for row in rows:
            again = name_f1(activations[:, row.index], truth(row.concept, labels))
            assert again == pytest.approx(row.f1, abs=0.01), f"{name}#{row.index} {row.concept}"
    assert len(told) == found["distinct concepts"]["value"]


@pytest.mark.slow
def test_dictionaries_are_overcomplete_and_all_weights_small() -> None:
    for name, (least, times) in OVERCOMPLETE.items():
        card = json.loads((check.MODELS / name / "dictionary.json").read_text())
        assert card["n_features"] >= max(least, times * card["width"]), name
    files = [path for path in check.MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert all((folder / "README.md").is_file() for folder in check.MODELS.iterdir() if folder.is_dir())


def test_a_figure_fails_below_its_bound_above_it_and_when_it_is_none() -> None:
    fit = Figure(name="FVU", value=0.11, bound=0.10, at_most=True)
    read = Figure(name="object", value=0.89, bound=0.90)
    unknown = Figure(name="colour", value=float("nan"), bound=0.95)
    met = (Figure(name="size", value=0.1), fit.model_copy(update={"value": 0.1}))
    assert failures([fit, read, unknown, *met]) == [fit, read, unknown]


@pytest.mark.parametrize(("value", "code"), [(0.89, 1), (0.90, 0)])
def test_a_missed_bound_is_exit_1(
    value: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = Figure(name="object", value=value, bound=0.90)
    monkeypatch.setattr(check, "SECTIONS", {"clip": lambda models: [figure]})
    monkeypatch.setattr(sys, "argv", ["check", "--json"])
    assert check.main() == code
    told = json.loads(capsys.readouterr().out)
    assert told["passes"] is (code == 0) and told["figures"][0]["passes"] is (code == 0)
