"""Thousands of spoilt checkpoints: refused in a sentence or read as what they say; none runs code, ever."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from sae.dictionary import SparseDictionary
from sae.errors import BadDictionary
from sae.formats.bag import Bag
from sae.formats.container import open_container
from sae.loading import load
from tests.format_files import CASES
from tests.mutations import Files, mutate
from tests.poisoned_pickles import registered

ALL, FEW = 5_000, 150
LONGEST = 1.0
"""Seconds of CPU that a file may take."""
BESIDE = ("activation_whitening.safetensors", "mean.pt", "std.pt")
"""Tensors that readers take from files of their own."""
NEVER_RESTATED = frozenset({"truncated"})
"""Ways to spoil a file after which it cannot say anything else."""


class Sample(NamedTuple):
    """A sound checkpoint."""

    name: str
    files: Files
    path: Path
    """Relative to its folder; '.' for the folder."""
    options: Mapping[str, Any]
    dictionary: SparseDictionary
    said: Any
    """All that its files hold."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    found = []
    for case in CASES:
        folder = tmp_path_factory.mktemp("sound")
        path = case.write(folder, 3).path
        files = {
            str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()
        }
        dictionary = load(path, **case.options).dictionary
        found.append(
            Sample(case.name, files, path.relative_to(folder), case.options, dictionary, _said(path))
        )
    return found


def spoil_many(samples: list[Sample], folder: Path, *, count: int, seed: int) -> Counter[str]:
    """Spoil each in turn; what became of them, by outcome and by way."""
    chance = random.Random(seed)
    canary, outcomes = folder / "canary", Counter[str]()
    with registered():
        for number in range(count):
            sample = samples[number % len(samples)]
            kind, files = mutate(sample.files, chance, canary=canary)
            place = _written(files, folder / "case")
            outcome = _outcome(sample, place / sample.path, kind)
            assert not canary.exists(), (sample.name, kind, number)
            outcomes.update([outcome, f"{kind}: {outcome}"])
    return outcomes


def _outcome(sample: Sample, path: Path, kind: str) -> str:
    began = time.process_time()
    try:
        loaded = load(path, **sample.options)
    except BadDictionary as error:
        assert time.process_time() - began < LONGEST, (sample.name, kind)
        said = str(error)
        assert said.endswith(".") and "\n" not in said and len(said) < 2_000, said
        return "refused"
    assert time.process_time() - began < LONGEST, (sample.name, kind)
    x = torch.randn(5, sample.dictionary.width, generator=torch.Generator().manual_seed(0))
    if loaded.dictionary.width == sample.dictionary.width and torch.equal(
        loaded.dictionary.reconstruct(x), sample.dictionary.reconstruct(x)
    ):
        return "equal"
    # What a file says may change with it; never by itself.
    assert kind not in NEVER_RESTATED, (sample.name, kind)
    assert not _equal(_said(path), sample.said), (sample.name, kind)
    x = torch.zeros(2, loaded.dictionary.width)
    assert loaded.dictionary.encode(x).shape == (2, loaded.dictionary.n_features)
    return "restated"


def _said(path: Path) -> Any:
    contents = open_container(path)
    beside = [open_container(file).tree for name in BESIDE for file in contents.path.parent.glob(name)]
    return [contents.tree, dict(contents.files), beside]


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(_equal(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, Bag) and isinstance(second, Bag):
        return _equal(
            [first.name, first.attributes, first.arguments],
            [second.name, second.attributes, second.arguments],
        )
    return type(first) is type(second) and bool(first == second)


def _written(files: Files, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def test_a_few_spoilt_checkpoints_are_refused_or_equal(samples: list[Sample], tmp_path: Path) -> None:
    outcomes = spoil_many(samples, tmp_path, count=FEW, seed=1)
    assert outcomes["refused"] > FEW // 4 and outcomes["equal"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_spoilt_checkpoints_are_refused_or_equal(samples: list[Sample], tmp_path: Path) -> None:
    outcomes = spoil_many(samples, tmp_path, count=ALL, seed=2)
    assert outcomes["refused"] > ALL // 4 and outcomes["equal"]
