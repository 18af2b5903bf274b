"""The bank: every image drawn by searches, its prompt, and what every feature did on it.

Exact to the fingerprints of the scorer and the generator. The judge's images lie in a sealed
partition of their own: they are refused here, by their seeds, so nothing can read them from here.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tools import keys, sparse_code
from tools.protocols import SparseCode

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

SEALED_FROM = 2**31
"""Seeds from here on are not the search's; the judge draws with seeds of 2**32 and more."""
STRONGEST = 1000
"""Images kept in the index of one feature, the strongest; all rows are kept."""


class BankRow(NamedTuple):
    """One image of a search."""

    image: str
    prompt: str
    seed: int
    code: SparseCode


class PromptFiring(NamedTuple):
    """What a feature did on the images of one prompt."""

    prompt: str
    activation: float
    """Mean over the prompt's images in the bank, 0 for those not among the feature's strongest."""
    n: int
    """Images of the prompt in the bank."""


class Bank:
    """The images of one generator as one scorer sees them."""

    def __init__(
        self, client: redis.Redis, *, score: str, generator: str, strongest: int = STRONGEST
    ) -> None:
        self.client, self.score, self.generator, self.strongest = client, score, generator, strongest

    def add(self, rows: Iterable[BankRow]) -> int:
        """Bank images, each in one transaction; how many were new. ValueError for a sealed seed."""
        banked = list(rows)
        for row in banked:
            if not 0 <= row.seed < SEALED_FROM:
                raise ValueError(f"Seed {row.seed} is not a search's: sealed images are never banked.")
        return sum(self._add(row) for row in banked)

    def _add(self, row: BankRow) -> bool:
        member = bytes.fromhex(row.image)
        facts = json.dumps({"prompt": row.prompt, "seed": row.seed}).encode()
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(
                self._rows, cast(Any, member), cast(Any, facts + b"\n" + sparse_code.encode(row.code))
            )
            pipe.sadd(self._prompt(row.prompt), member)
            for index, value in zip(row.code.indices.tolist(), row.code.values.tolist(), strict=True):
                if value > 0:
                    self._index(pipe, index, member, value)
            return bool(pipe.execute()[0])

    def _index(self, pipe: Pipeline, index: int, member: bytes, value: float) -> None:
        column = keys.bank_feature(self.score, self.generator, index)
        pipe.zadd(column, {member: value}, nx=True)
        pipe.zremrangebyrank(column, 0, -self.strongest - 1)

    def row(self, image: str) -> BankRow | None:
        """What is banked of an image; None where it is not."""
        return self._read([bytes.fromhex(image)])[0]

    def prompts_that_fire(self, index: int, *, top: int) -> list[PromptFiring]:
        """The ``top`` prompts of any run with the highest mean activation of a feature, highest first.

        Read from the feature's strongest images: a prompt with none of them is not found.
        """
        column = keys.bank_feature(self.score, self.generator, index)
        strongest = cast(
            "list[tuple[bytes, float]]", self.client.zrevrange(column, 0, self.strongest - 1, withscores=True)
        )
        sums: defaultdict[str, float] = defaultdict(float)
        rows = self._read([member for member, _ in strongest])
        for row, (_, activation) in zip(rows, strongest, strict=True):
            if row is not None:
                sums[row.prompt] += activation
        counts = self._counts(list(sums))
        firing = [PromptFiring(prompt, sums[prompt] / n, n) for prompt, n in counts.items()]
        return sorted(firing, key=lambda found: (-found.activation, found.prompt))[:top]

    def __len__(self) -> int:
        return int(self.client.hlen(self._rows))

    @property
    def _rows(self) -> str:
        return keys.bank_rows(self.score, self.generator)

    def _prompt(self, prompt: str) -> str:
        return keys.bank_prompt(self.score, self.generator, hashlib.sha256(prompt.encode()).hexdigest())

    def _counts(self, prompts: list[str]) -> dict[str, int]:
        with self.client.pipeline(transaction=False) as pipe:
            for prompt in prompts:
                pipe.scard(self._prompt(prompt))
            return dict(zip(prompts, pipe.execute(), strict=True))

    def _read(self, members: list[bytes]) -> list[BankRow | None]:
        if not members:
            return []
        found = cast("list[bytes | None]", self.client.hmget(self._rows, cast(Any, members)))
        return [
            None if data is None else _row(member, data) for member, data in zip(members, found, strict=True)
        ]


def _row(member: bytes, data: bytes) -> BankRow:
    facts, _, code = data.partition(b"\n")
    told = json.loads(facts)
    return BankRow(member.hex(), told["prompt"], told["seed"], sparse_code.decode(code))
