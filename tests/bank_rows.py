"""Banked images for tests, and the plainest bank there can be to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from tools.bank import Bank, BankRow, PromptResponse
from tools.protocols import SparseCode

FEATURES = 9


def row(prompt: str, seed: int, **activations: float) -> BankRow:
    """An image of a prompt; f3=0.5 says that feature 3 is at 0.5 on it."""
    pairs = sorted((int(name[1:]), value) for name, value in activations.items())
    code = SparseCode(
        np.array([index for index, _ in pairs], dtype=np.int32),
        np.array([value for _, value in pairs], dtype=np.float32),
    )
    return BankRow(hashlib.sha256(f"{prompt}{seed}".encode()).hexdigest(), prompt, seed, code)


def random_rows(count: int, *, seed: int, prompts: int = 40) -> list[BankRow]:
    """Rows over ``FEATURES`` features; the last one fires on almost all, some rows fire nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for at in range(count):
        fires = {f"f{index}": float(rng.integers(1, 99)) / 8 for index in rng.integers(0, FEATURES, 3)}
        if at % 7:
            fires[f"f{FEATURES - 1}"] = float(rng.exponential())
        number = int(rng.zipf(1.5)) % prompts
        made.append(row(f"prompt {number}", seed * 100_000 + at, **(fires if at % 11 else {})))
    return made


class ListBank:
    """Every answer from a list of rows, by its definition."""

    def __init__(self, rows: Iterable[BankRow] = ()) -> None:
        self.rows: dict[str, BankRow] = {}
        self.add(rows)

    def add(self, rows: Iterable[BankRow]) -> int:
        """The first row of an image stays."""
        before = len(self.rows)
        for each in rows:
            self.rows.setdefault(each.image, each)
        return len(self.rows) - before

    def all_responses(self, index: int) -> list[PromptResponse]:
        """Those that fire by mean, then the others by how often they were drawn."""
        groups: dict[str, list[float]] = {}
        for each in self.rows.values():
            groups.setdefault(each.prompt, []).append(each.code.activation(index))
        found = [
            PromptResponse(prompt, len(held), tuple(sorted((each for each in held if each), reverse=True)))
            for prompt, held in groups.items()
        ]
        order = {True: lambda each: (-each.mean, each.prompt), False: lambda each: (-each.n, each.prompt)}
        return [
            each
            for fires in (True, False)
            for each in sorted((f for f in found if bool(f.activations) is fires), key=order[fires])
        ]

    def n_firing(self, threshold: Sequence[float]) -> list[int]:
        """Row by row."""
        codes = [each.code for each in self.rows.values()]
        return [sum(code.activation(at) > bar for code in codes) for at, bar in enumerate(threshold)]


def assert_same(bank: Bank, plain: ListBank) -> None:
    """All that can be asked of both has the same answer."""
    assert len(bank) == len(plain.rows)
    for index in range(FEATURES + 1):
        assert bank.responses(index) == plain.all_responses(index)
    loud = [each for each in plain.all_responses(2) if each.mean > 0]
    assert bank.prompts_that_fire(2, top=5) == [(each.prompt, each.mean, each.n) for each in loud[:5]]
    threshold = np.linspace(0, 3, FEATURES, dtype=np.float32)
    assert bank.n_firing(threshold).tolist() == plain.n_firing(threshold.tolist())
    for each in [*plain.rows.values()][:: 1 + len(plain.rows) // 6]:
        same_row(bank.row(each.image), each)
    assert bank.row("0" * 64) is None


def same_row(found: BankRow | None, kept: BankRow) -> None:
    """Equal to the last bit; of the code what is not 0."""
    assert found is not None and found[:3] == kept[:3]
    indices, values = kept.code
    assert found.code.indices.tolist() == indices[values != 0].tolist()
    assert found.code.values.tolist() == values[values != 0].tolist()
