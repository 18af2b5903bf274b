from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sae.dictionary import SparseDictionary
from sae.errors import BadCheckpoint, BadRecipe
from sae.fit import measure_fit
from sae.stream import MemoryStream
from sae.trainer.checkpoint import read_checkpoint
from sae.trainer.recipe import Recipe
from sae.trainer.run import Keeping, Seen, Training

WIDTH = 10


def rows(n: int = 301, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    fixed = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(9))
    return (torch.rand(n, 16, generator=chance) < 0.15).float() @ fixed + 2


def recipe(**changes: Any) -> Recipe:
    plain = {"n_features": 32, "k": 3, "steps": 12, "batch_size": 40, "input": {"mean": "mean", "rows": 200}}
    return Recipe.model_validate(plain | {"optimiser": {"lr": 3e-3, "decay": 0.3}} | changes)


def varied() -> dict[str, Recipe]:
    """Recipes that leave no part of the state out, one of them shorter."""
    return {
        "topk": recipe(
            optimiser={"lr": 2e-2, "average": 0.9, "schedule": "cosine"}, dead={"after": 60, "policy": "auxk"}
        ),
        "resampled": recipe(
            architecture="relu",
            k=None,
            steps=9,
            loss={"sparsity": "l1", "weight": 0.3, "warm_up": 5},
            dead={"policy": "resample", "after": 50, "every": 100},
        ),
        "nested": recipe(
            architecture="batchtopk",
            nesting={"by": "random-prefix", "count": 4},
            threshold={"kind": "ema", "decay": 0.5},
            k_start=9,
            k_anneal=0.9,
        ),
    }


def same(first: SparseDictionary, second: SparseDictionary) -> bool:
    pairs = zip(first._tensors().items(), second._tensors().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 9), st.integers(0, 3))
def test_a_stream_goes_on_from_any_batch(n: int, size: int, start: int, seed: int) -> None:
    stream = MemoryStream(torch.arange(n, dtype=torch.float32)[:, None])
    batches = stream.batches(size, seed=seed)
    whole = torch.cat([next(batches) for _ in range(start + 3)])
    later = stream.batches(size, seed=seed, start=start)
    assert torch.equal(torch.cat([next(later) for _ in range(3)]), whole[start * size :])
    for epoch in range(len(whole) // n):
        assert sorted(whole[epoch * n : (epoch + 1) * n, 0].tolist()) == list(range(n))


def test_each_variant_learns_what_the_activations_are_made_of() -> None:
    relu = {"architecture": "relu", "k": None, "loss": {"sparsity": "l1", "weight": 0.05}}
    jump = {"sparsity": "l0-target", "weight": 0.1}
    variants: dict[str, dict[str, Any]] = {
        "topk": {},
        "batchtopk": {"architecture": "batchtopk"},
        "relu": relu,
        "gated": relu | {"architecture": "gated"},
        "jumprelu": {"architecture": "jumprelu", "loss": jump, "jump": {"start": 0.1, "bandwidth": 0.2}},
        "prefix": {"architecture": "batchtopk", "nesting": {"by": "prefix", "shares": [0.25, 0.75]}},
        "by-k": {"nesting": {"by": "k"}},
        "abs": {"sign": "abs"},
        "normed": {"input": {"layer_norm": {"eps": 1e-5}, "rows": 200}},
    }
    optimiser = {"lr": 2e-2, "decay": 0.3}
    recipes = {name: recipe(steps=150, optimiser=optimiser, **how) for name, how in variants.items()}
    found = Training(recipes, MemoryStream(rows())).run()
    for name, dictionary in found.items():
        x = rows(150, seed=1)
        error = (x - dictionary.reconstruct(x)).square().sum() / (x - x.mean(0)).square().sum()
        active = float((dictionary.encode(x) != 0).sum(1).float().mean())
        assert float(error) < 0.3 and 1 < active < 12, (name, float(error), active)


def test_dictionaries_trained_together_are_those_trained_alone() -> None:
    stream = MemoryStream(rows())
    together = Training(varied(), stream, seed=3).run()
    for name, each in varied().items():
        assert same(Training({name: each}, stream, seed=3).run()[name], together[name])


@pytest.mark.parametrize("stop", [1, 5, 10])
def test_a_continued_training_ends_as_an_uninterrupted_one(stop: int, tmp_path: Path) -> None:
    stream, path = MemoryStream(rows()), tmp_path / "it.safetensors"
    whole = Training(varied(), stream, seed=3)
    known = whole.run()
    first = Training(varied(), stream, seed=3)
    seen: list[Seen] = []

    class Enough(Exception):
        """The process is gone."""

    def log(each: Seen) -> None:
        if each.step > stop:
            raise Enough

    with pytest.raises(Enough):
        first.run(Keeping(checkpoint=path, every=1, log=log, log_every=1))
    again = Training(varied(), stream, seed=3)
    assert again.resume(path) == stop
    found = again.run(Keeping(log=seen.append, log_every=1))
    assert all(same(known[name], found[name]) for name in known)
    assert min(each.step for each in seen) == stop + 1
    for name in known:
        ours, theirs = again.members[name].state(), whole.members[name].state()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


SCRIPT = """
import sys
from pathlib import Path
from sae.stream import MemoryStream
from sae.trainer.run import Keeping, Training
from tests.test_training_run import rows, varied

path = Path(sys.argv[1])
training = Training(varied(), MemoryStream(rows()), seed=3)
if path.exists():
    training.resume(path)
print("ready", flush=True)
training.run(Keeping(checkpoint=path, every=1))
training.save(path)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_training_killed_at_any_moment_ends_the_same(tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    kills = 0
    for wait in (0.02, 0.05, 0.2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    course, states = read_checkpoint(path)
    known = Training(varied(), MemoryStream(rows()), seed=3)
    known.run()
    assert kills and course.step == 12
    for name, member in known.members.items():
        state = member.state()
        assert [key for key in state if not torch.equal(states[name][key], state[key])] == []


def test_another_training_is_not_continued(tmp_path: Path) -> None:
    stream, path = MemoryStream(rows()), tmp_path / "it.safetensors"
    Training({"a": recipe()}, stream, source="here").save(path)
    others: list[tuple[dict[str, Any], str]] = [
        ({"recipes": {"a": recipe(k=4)}}, "other recipes"),
        ({"recipes": {"b": recipe()}}, "other recipes"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"source": "there"}, "source 'here', not 'there'"),
        ({"stream": MemoryStream(rows(300))}, "rows 301, not 300"),
    ]
    for change, says in others:
        made: dict[str, Any] = {"recipes": {"a": recipe()}, "stream": stream, "source": "here"} | change
        with pytest.raises(BadCheckpoint, match=says):
            Training(made.pop("recipes"), made.pop("stream"), **made).resume(path)


@pytest.mark.parametrize("junk", [b"", b"\x80\x04.", b"x" * 100])
def test_what_is_no_checkpoint_is_refused(junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    path.write_bytes(junk)
    with pytest.raises(BadCheckpoint, match="no checkpoint of a training"):
        read_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    training = Training({"a": recipe()}, MemoryStream(rows()))
    training.run(Keeping(checkpoint=path, every=5))
    assert read_checkpoint(path)[0].step == 10 and list(tmp_path.iterdir()) == [path]


def test_epochs_count_the_rows_of_the_stream() -> None:
    training = Training({"a": recipe(steps=None, epochs=2)}, MemoryStream(rows()))
    seen: list[Seen] = []
    training.run(Keeping(log=seen.append, log_every=4))
    assert training.steps == 16 and [(each.step, each.epoch) for each in seen] == [
        *((4, 0), (8, 0), (12, 1), (16, 1)),
    ]


@pytest.mark.parametrize(
    ("recipes", "says"),
    [
        ({}, "No recipe"),
        ({"a": recipe(), "b": recipe(batch_size=41)}, "batch_size differs"),
        ({"a": recipe(k=40)}, "k 40 exceeds the 32 features"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(recipes: dict[str, Recipe], says: str) -> None:
    with pytest.raises(BadRecipe, match=says):
        Training(recipes, MemoryStream(rows()))


@pytest.mark.parametrize(
    ("x", "says"),
    [(torch.full((50, WIDTH), torch.nan), "not finite"), (torch.ones(50, WIDTH), "activations are equal")],
)
def test_unusable_activations_are_refused(x: Tensor, says: str) -> None:
    how = recipe(input={"mean": "mean", "scale": "sqrt-width"})
    with pytest.raises(BadRecipe, match=says):
        Training({"a": how}, MemoryStream(x))


def test_the_calibrated_threshold_keeps_k_on_average() -> None:
    found = Training({"a": recipe(architecture="batchtopk", steps=60)}, MemoryStream(rows())).run()["a"]
    assert measure_fit(found, rows()).l0 == pytest.approx(3, rel=0.15)
