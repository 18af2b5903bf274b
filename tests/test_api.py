"""Python: the command line's records, and what a notebook shows of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import namesae
from agent.records import Explanation
from namesae import api
from sae.feature import Feature
from tools.errors import UsageError


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAMESAE_FAKES", "1")
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    yield
    api.close()


def test_a_feature_is_named_and_found_again() -> None:
    heard: list[str] = []
    first = namesae.name("fake#0", say=heard.append)
    assert isinstance(first, Explanation)
    assert (first.name, first.verdict, first.stored) == ("striped", "named", False)
    assert any("sealed judge" in line for line in heard)
    again = namesae.name(Feature(dictionary="fake", index=0))
    assert again.stored and again.run == first.run
    assert namesae.name("fake#0", again=True).run != first.run


def test_what_a_notebook_shows() -> None:
    named = namesae.name("fake#0")
    shown = named._repr_html_()
    assert "striped" in shown and "AUROC" in shown and "data:image/png" in shown
    assert "<iframe" in named.trace()._repr_html_()
    assert named.contact_sheet().size[0] > 500
    assert "13 features" in namesae.load_dictionary("fake")._repr_html_()
    assert named.model_dump_json() == Explanation.model_validate(named.model_dump()).model_dump_json()


def test_a_trace_by_run_by_feature_and_by_explanation(tmp_path: Path) -> None:
    named = namesae.name("fake#0")
    for which in (named, named.run, "fake#0", named.feature):
        assert namesae.trace(which).run == named.run
    trace = namesae.trace(named)
    assert trace.events[0].what.kind == "started" and len(trace.control) == 1000
    assert trace.race is not None and trace.race.record.winner is not None
    assert trace.race.record.winner.name == named.name
    assert any(shot.image and shot.activation is not None for shot in trace.race.record.shots)
    assert trace.save(tmp_path / "t.html").read_text().startswith("<!doctype html>")
    with pytest.raises(UsageError, match="does not exist"):
        namesae.trace("no-such-run")


def test_a_dictionary_names_several_as_they_come() -> None:
    dictionary = namesae.load_dictionary("fake")
    assert (dictionary.name, dictionary.n_features) == ("fake", 13)
    assert repr(dictionary) == "Dictionary('fake', 13 features)"
    assert {row.index: row.concept for row in dictionary.truth}[0] == "striped"
    results = dictionary.name_features("8,9")
    assert [each.verdict for each in results] == ["dead", "dense"]
    features = dictionary.features("truth>=0.8", sample=2)
    assert len(features) == 2
    assert [each.feature for each in dictionary.name_features(features[:1])] == list(features[:1])
    with pytest.raises(UsageError, match="has no weights"):
        _ = dictionary.weights


def test_a_feature_that_a_limit_leaves_without_a_verdict_does_not_end_the_others() -> None:
    dictionary = namesae.load_dictionary(
        "fake", proposer="openai", openai_api_key="sk-never-used", cost_limit=0.0
    )
    told = [(each.verdict, each.code) for each in dictionary.name_features("0,8")]
    assert told == [("failed", "limit_usd"), ("dead", None)]


def test_settings_are_keywords_and_a_wrong_one_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="bogus"):
        namesae.name("fake#0", bogus=1)
    with pytest.raises(UsageError, match="means 2 features"):
        namesae.name("fake#0,1")
    assert namesae.name("fake#8", seed=4).verdict == "dead"


def test_importing_namesae_is_light() -> None:
    probe = "import sys, namesae; sys.exit(any(m in sys.modules for m in ('torch', 'redis', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
    with pytest.raises(AttributeError, match="it has __version__"):
        _ = namesae.nonsense
