"""Every key is one of ours, says its noun, and cannot be made to mean another's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tools import keys

ROOT = Path(__file__).parent.parent
BUILDERS = [f for name, f in inspect.getmembers(keys, inspect.isfunction) if f.__module__ == keys.__name__]
PUBLIC = [builder for builder in BUILDERS if not builder.__name__.startswith("_")]

ids = st.lists(st.text("ab:%/# é\0"), min_size=2, max_size=2)


def test_every_key_is_prefixed_with_the_schema_and_no_two_nouns_share_one() -> None:
    arguments = {builder: ["x"] * len(inspect.signature(builder).parameters) for builder in PUBLIC}
    built = [builder(*arguments[builder]) for builder in PUBLIC]
    assert all(key.startswith(f"namesae:{keys.SCHEMA}:") for key in built)
    assert len(set(built)) == len(built)


@given(ids, ids)
def test_different_ids_never_make_one_key(one: list[str], other: list[str]) -> None:
    assert (keys.ledger(*one) == keys.ledger(*other)) == (one == other)


def test_a_feature_stays_readable_in_its_key() -> None:
    assert keys.explanations("sandbox#17") == f"{keys.PREFIX}:explanations:sandbox#17"


def test_no_other_file_builds_a_key() -> None:
    folders = ("sae", "tools", "agent", "sandbox", "evals", "namesae")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    own = re.compile(r"""["']namesae:(?!//)""")
    assert [path.name for path in files if own.search(path.read_text()) and path.name != "keys.py"] == []
