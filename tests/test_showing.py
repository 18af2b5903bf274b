"""``namesae show``: what was found comes before what was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis as redis_module

from tests.command_line import here, plant, records
from tests.named_features import finish, state_of, told


def test_a_run_that_was_stopped_hides_no_name(
    redis: redis_module.Redis,
    redis_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    finish(
        state_of(redis, tmp_path),
        told(1, "boat", seed=0),
        told(1, "fish", seed=1),
        told(1, None, seed=2, verdict="failed", code="llm_unreachable"),
        *(told(1, None, seed=3 + at, verdict="cancelled") for at in range(12)),
    )
    assert here("show", "fake#1") == 0
    first, *_, others = capsys.readouterr().out.partition("Other runs:")
    assert first.startswith("fish   named")
    assert [line.split()[0] for line in others.splitlines() if line] == [
        "fake-1-made-0",
        *(f"fake-1-made-{seed}" for seed in range(14, 6, -1)),
    ]
    assert here("show", "fake#1", "--json") == 0
    verdicts = [each["verdict"] for each in records(capsys.readouterr().out)]
    assert verdicts == ["named", "named", *["cancelled"] * 8]
