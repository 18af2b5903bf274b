"""``namesae evals`` end to end on the planted dictionary: run, resume, refuse, report, export."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from evals.cell import Cell
from evals.results import RUN_FILE, Results
from tests.command_line import here, namesae, plant, records, start
from tests.fake_openai_server import FakeOpenAI, name, plan

SUITE = """
schema = 1
name = "planted"
description = "A few planted features."
seed = 3
proposer = "lexical"
images = 60
sealed = 20
conditions = ["agent", "line-auc", "mils", "one-proposal", "random", "shuffled", "constant", "true", "cosine"]

[[features]]
group = "words"
select = "fake#0-3"

[[features]]
group = "joined"
select = "fake#3,4,8"

[options.mils]
steps = 2
proposals = 6

[only.constant]
groups = ["words"]
"""


@pytest.fixture(autouse=True)
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    (tmp_path / "suite.toml").write_text(SUITE)


def cells(out: Path) -> dict[tuple[str, int], Cell]:
    """What a run has filled so far."""
    results = Results(out)
    return {(cell.condition, cell.feature.index): cell for cell in results.cells(results.record())}


def test_a_suite_is_run_reported_and_exported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    told = namesae("evals", "run", "suite.toml", "--out", str(out), "--json")
    assert told.returncode == 0, told.stderr
    launch, *filled, done = records(told.stdout)
    assert launch["cells"] == len(filled) == 7 * 6 + 4
    assert launch["missing"] == [
        "decoder cosine was not run on fake: it lacks a decoder in a joint image-text space."
    ]
    assert done["totals"]["cells"] == done["totals"]["expected"] == 46
    found = cells(out)
    assert found["agent", 0].answer.name == "striped" and found["agent", 0].grade.right is True
    assert found["agent", 8].answer.verdict == "dead" and found["agent", 8].judged is None
    assert found["true", 1].answer.name == "fish" and found["true", 1].judged is not None
    assert found["true", 1].judged.cosy is not None and found["true", 1].judged.cosy.auroc > 0.8
    assert found["agent", 3].groups == ("words", "joined")
    assert found["line-auc", 0].answer.images <= 105 and found["mils", 0].answer.images <= 22
    assert all(len(cell.asked) <= cell.answer.images for cell in found.values())
    for file in ("report.html", "report.md", "leaderboard.csv", "features.jsonl", "differences.csv"):
        assert (out / file).stat().st_size > 100, file
    assert here("evals", "export", str(out), "--format", "datasets", "--to", str(tmp_path / "set")) == 0
    assert (tmp_path / "set" / "README.md").is_file()
    assert here("evals", "export", str(out), "--format", "inspect", "--to", str(tmp_path / "logs")) == 0
    assert len(list((tmp_path / "logs").glob("*.eval"))) == 8
    assert here("evals", "export", str(out), "--format", "inspect", "--to", str(tmp_path / "logs")) == 2
    assert here("evals", "export", str(out), "--format", "csv", "--to", str(tmp_path / "other")) == 2


def test_a_run_fills_only_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("evals", "run", "suite.toml", "--out", str(out), "--json")
    launch, *filled, _ = records(namesae(*command, "--conditions", "true,random").stdout)
    assert len(filled) == launch["cells"] == 12 and launch["done"] == 0
    before = {path: path.read_bytes() for path in (out / "cells").rglob("*.json")}
    removed = next(path for path in before if path.parent.name == "true")
    removed.unlink()
    launch, *filled, _ = records(namesae(*command, "--conditions", "true,random,one-proposal").stdout)
    assert launch["done"] == 11 and len(filled) == 7
    assert all(path.read_bytes() == kept for path, kept in before.items() if path != removed)
    again = json.loads(removed.read_bytes())
    kept = json.loads(before[removed])
    for each in (again, kept):
        each["answer"]["cost"].pop("seconds")
    assert again == kept | {"drawn": again["drawn"]}


def test_conditions_run_one_by_one_end_in_one_report(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("evals", "run", "suite.toml", "--out", str(out), "--quiet", "--conditions")
    assert here(*command, "shuffled") == 2
    assert not (out / "cells").exists(), "without the agent's names there is nothing to shuffle"
    assert here(*command, "random") == 0
    assert here(*command, "agent,shuffled") == 0
    found = cells(out)
    assert {name for name, _ in found} == {"random", "agent", "shuffled"}
    assert found["shuffled", 0].answer.name not in (None, "striped")
    capfd.readouterr()
    assert here("evals", "report", str(out)) == 0
    assert "true: 6 of 6 features are not there yet" in capfd.readouterr().out
    assert here(*command, "agents") == 2 and here(*command, ",") == 2
    assert cells(out) == found


def test_other_options_of_a_condition_are_another_suite(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("evals", "run", "suite.toml", "--out", str(out), "--quiet", "--conditions")
    assert here(*command, "mils") == 0
    changed = SUITE + "\n[options.line-auc]\nseed_classes = ['fish', 'tree']\n"
    (tmp_path / "suite.toml").write_text(changed)
    assert here(*command, "random") == 2
    assert "another suite" in capfd.readouterr().err
    more = SUITE.replace('"cosine"]', '"cosine", "invert"]')
    (tmp_path / "suite.toml").write_text(more)
    assert here(*command, "random") == 0
    assert {name for name, _ in cells(out)} == {"mils", "random"}


def test_a_signal_stops_after_a_step_and_no_cell_is_lost_or_counted_as_failed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("evals", "run", "suite.toml", "--out", str(out), "--json", "--conditions", "agent")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == "cell":
            process.terminate()
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    stopped = cells(out)
    assert 1 <= len(stopped) < 6 and not any(cell.answer.failed for cell in stopped.values())
    told = namesae("evals", "run", "suite.toml", "--out", str(out), "--conditions", "agent")
    assert told.returncode == 0, told.stderr
    whole = cells(out)
    assert len(whole) == 6 and all(whole[key] == cell for key, cell in stopped.items())


def test_images_are_counted_though_an_answer_comes_from_the_store(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        told = namesae("evals", "run", "suite.toml", "--out", str(tmp_path / folder), "--conditions", "agent")
        assert told.returncode == 0, told.stderr
    first, second = cells(tmp_path / "first"), cells(tmp_path / "second")
    assert {key: set(cell.asked) for key, cell in first.items()} == {
        key: set(cell.asked) for key, cell in second.items()
    }
    assert sum(len(cell.asked) for cell in second.values()) > 60
    assert sum(cell.drawn for cell in second.values()) == 0 < sum(cell.drawn for cell in first.values())


def test_a_report_over_half_a_run_says_what_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert (
        here("evals", "run", "suite.toml", "--out", str(out), "--conditions", "true,random", "--quiet") == 0
    )
    next((out / "cells" / "random").glob("*.json")).unlink()
    capfd.readouterr()
    assert here("evals", "report", str(out)) == 0
    assert "1 of 6 features" in capfd.readouterr().out
    assert "1 of 6 features" in (out / "report.md").read_text()


def test_a_failure_is_counted_beside_the_mean_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from evals.conditions.controls import TrueName

    whole = TrueName.answer

    def fails_once(self: TrueName, case: Any) -> Any:
        if case.feature.index == 2:
            raise KeyError("no such word")
        return whole(self, case)

    out = tmp_path / "out"
    command = ("evals", "run", "suite.toml", "--out", str(out), "--conditions", "true", "--quiet")
    with monkeypatch.context() as patched:
        patched.setattr(TrueName, "answer", fails_once)
        assert here(*command) == 1
    failed = cells(out)["true", 2]
    assert (failed.answer.verdict, failed.answer.code, failed.judged) == ("failed", "KeyError", None)
    assert "failed" in (out / "report.md").read_text().lower()
    assert here(*command) == 0
    assert cells(out)["true", 2].answer.name == "red"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('select = "fake#3,4,8"', 'select = "fake#3,400"'), "400"),
        (('select = "fake#3,4,8"', 'select = "nothing#3"'), "nothing"),
        (('"cosine"]', '"cosina"]'), "cosine"),
        (("proposals = 6", "proposal = 6"), "proposal"),
        (("seed = 3", "sead = 3"), "sead"),
    ],
)
def test_a_wrong_suite_is_refused_in_a_sentence_and_nothing_is_written(
    change: tuple[str, str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.toml").write_text(SUITE.replace(*change))
    assert here("evals", "run", "wrong.toml", "--out", str(tmp_path / "out")) == 2
    told = capfd.readouterr()
    assert told.err.startswith("Error: ") and said in told.err and told.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_results_of_something_else_are_never_overwritten(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("evals", "run", "suite.toml", "--out", str(out), "--conditions", "true", "--quiet")
    assert here(*command) == 0
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tmp_path / "suite.toml").write_text(SUITE.replace("sealed = 20", "sealed = 21"))
    assert here(*command) == 2
    assert "another suite" in capfd.readouterr().err
    record = json.loads((out / RUN_FILE).read_text())
    (out / RUN_FILE).write_text(json.dumps(record | {"schema_": 99}))
    (tmp_path / "suite.toml").write_text(SUITE)
    assert here(*command) == 2
    assert "another version" in capfd.readouterr().err
    (out / RUN_FILE).write_bytes(kept[out / RUN_FILE])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == kept
    assert here("evals", "run", "suite.toml", "--out", str(tmp_path / "suite.toml")) == 2
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("years of work")
    assert here("evals", "run", "suite.toml", "--out", str(full)) == 2
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]
    assert here("evals", "report", str(full)) == 2


def the_model(body: dict[str, Any]) -> dict[str, Any]:
    """A model that draws two prompts and concludes; in the peers' loops it goes through a list of words."""
    asked = str(body["messages"][-1]["content"])
    wanted = (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
    if "texts" in wanted.get("properties", {}):
        return {"texts": ["striped", "a striped fish", "no such word"]}
    if "concept" in wanted.get("properties", {}):
        tried = [word for word in ("striped", "red", "fish") if f'"{word}"' not in asked]
        return {"thinking": "", "concept": tried[0] if tried else "water"}
    if "Nothing has been drawn yet" in asked and "Conclude now" not in asked:
        return plan("draw", prompts=["a striped ball", "a red ball"])
    return plan("conclude", names=[name("striped"), name("red")])


def test_an_llm_proposes_for_every_loop_and_its_limit_in_dollars_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE.replace('"lexical"', '"openai"').replace("#0-3", "#0"))
    server, out = FakeOpenAI(the_model), tmp_path / "out"
    names = "agent,line-auc,mils,one-proposal"
    command = ("evals", "run", "suite.toml", "--out", str(out), "--conditions", names, "--debug")
    with server.serve() as url:
        environ = {"OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": url, "OPENAI_MODEL": "unheard-of"}
        refused = namesae(*command, **environ)
        assert refused.returncode == 2 and "--yes" in refused.stderr, refused.stderr
        told = namesae(*command, "--yes", **environ)
        assert told.returncode == 0, told.stderr
    found = cells(out)
    assert [found[each, 0].answer.name for each in ("agent", "one-proposal")] == ["striped"] * 2
    assert found["mils", 0].answer.name in ("striped", "a striped fish")
    assert found["line-auc", 0].answer.cost.llm_calls == 11
    assert found["mils", 0].answer.cost.llm_calls == 2
    assert found["one-proposal", 0].answer.cost.llm_calls == 1
    assert all(found[each, 0].answer.cost.usd is None for each in names.split(","))
    assert not [path for path in out.rglob("*") if path.is_file() and b"sk-canary" in path.read_bytes()]
