"""Reviewing from the command line, another process and Python."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import review
from agent.runs import AwaitsReview
from namesae import api
from tests.command_line import ROOT, here, namesae, plant, records, start


@pytest.fixture
def planted(redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)


@pytest.mark.usefixtures("planted")
def test_reviewing_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str) -> tuple[int, list[str], str]:
        code = here(*arguments)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    code, lines, err = told("name", "fake#1", "--review")
    assert code == 1 and "1 name waits for a review" in err
    (line,) = lines
    run = line.rpartition(" ")[2]
    assert "fish   waits for a review: named   AUROC" in line and f"namesae review {run}" in line
    code, lines, _ = told("review", "--list")
    assert (code, lines) == (0, [line])
    assert told("review", run) == (1, [line], "")
    assert told("review", run, "--accept", "--reject")[0] == 2
    assert told("review", "--accept")[0] == 2
    code, _, err = told("review", run, "--name", "zeppelin")
    assert code == 2 and "does not know 'zeppelin'" in err
    code, _, err = told("review", run, "--name", "Fish")
    assert code == 2 and "was judged in run" in err
    code, lines, err = told("review", "fake#1", "--name", "striped fish", "--why", "narrower", "--as", "ada")
    assert code == 1 and "retest 1" in lines[0] and "ada replaces 'fish' with 'striped fish': narrower" in err
    code, _, err = told("review", run, "--accept", "--turn", "0", "--as", "bob")
    assert code == 2 and "asks about 'striped fish' now" in err
    code, lines, _ = told("review", run, "--reject", "--as", "ada", "--quiet")
    assert code == 0 and "(no name)   unexplained (rejected)" in lines[0]
    assert "ada rejected 'striped fish' after 1 retest" in lines[0]
    code, _, err = told("review", run, "--accept", "--as", "bob")
    assert code == 2 and "is decided: ada chose to reject 'striped fish'" in err
    assert told("review", "--list") == (0, [], "")
    code, lines, _ = told("show", "fake#1")
    assert code == 0 and "ada rejected" in lines[0]
    code, lines, _ = told("trace", run)
    assert code == 0 and any("review: ada rejects 'striped fish'" in each for each in lines)
    code, _, err = told("review", "fake#1")
    assert code == 2 and "No name of fake#1 waits" in err


@pytest.mark.usefixtures("planted")
def test_only_so_many_names_are_tested(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "MAX_RETESTS", 1)
    assert here("name", "fake#1", "--review", "--quiet") == 1
    run = capsys.readouterr().out.split()[-1]
    assert here("review", run, "--name", "striped fish", "--quiet") == 1
    capsys.readouterr()
    assert here("review", run, "--name", "ball") == 2
    assert "has tested 1 other names, which is all it may" in capsys.readouterr().err
    assert here("review", run, "--accept", "--quiet") == 0
    assert "accepted after 1 retest" in capsys.readouterr().out


@pytest.mark.usefixtures("planted")
def test_a_paused_run_is_carried_on_by_another_process_and_after_a_kill() -> None:
    paused = namesae("name", "fake#1", "--review", "--json")
    assert paused.returncode == 1, paused.stderr
    launch, question, done = records(paused.stdout)
    assert (launch["type"], question["type"], done["type"]) == ("launch", "review", "done")
    assert (done["waiting"], done["exit_code"], done["success"]) == (1, 1, False)
    assert done["images"]["sealed"] == question["explanation"]["sealed"]["n_generated"] == 50
    assert (question["name"], question["retests_left"], question["turn"]) == ("fish", 3, 0)
    with start("review", question["run"], "--name", "striped fish", "--json", "--as", "ada") as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    again = namesae("review", question["run"], "--name", "striped fish", "--json", "--as", "ada")
    if again.returncode == 2:
        # The kill came after the retest was over.
        assert "was judged in run" in again.stderr
    else:
        assert again.returncode == 1, again.stderr
        assert records(again.stdout)[-1]["name"] == "striped fish"
    last = namesae("review", question["run"], "--accept", "--json", "--as", "ada")
    assert last.returncode == 0, last.stderr
    (told,) = records(last.stdout)
    assert (told["review"]["name"], told["review"]["retests"]) == ("striped fish", 1)
    assert told["images"]["sealed"] == 100


PROBE = """
import sys
from namesae import cli, cli_review
told = iter(sys.argv[1].split(","))
cli_review.typer.prompt = lambda *a, **k: next(told)
cli_review.asker = lambda as_json: cli_review.ask_person
sys.exit(cli.run(["name", "fake#1", "--review", "--seed", "2"]))
"""


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("typed", "code", "last"),
    [
        (
            ("x", "e", "zeppelin", "why", "e", "striped fish", "narrower", "r", "no"),
            0,
            "rejected 'striped fish'",
        ),
        (("l",), 1, "waits for a review"),
    ],
)
def test_a_person_at_a_terminal_is_asked(typed: Sequence[str], code: int, last: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(typed)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == code, told.stderr
    assert last in told.stdout and "would be named, confidence" in told.stderr
    if "zeppelin" in typed:
        assert "does not know 'zeppelin'" in told.stderr and "before   fish (named)" in told.stderr


@pytest.mark.usefixtures("planted")
def test_reviewing_from_python() -> None:
    import namesae as package

    try:
        with pytest.raises(AwaitsReview) as paused:
            package.name("fake#1", review=True)
        (question,) = package.waiting()
        assert question == paused.value.question
        with pytest.raises(AwaitsReview):
            package.review(question.run, "retest", name="striped fish", user="ada")
        told = package.review(question.run, "accept", user="ada")
        assert told.review is not None and (told.review.who, told.review.retests) == ("ada", 1)
        assert package.waiting() == ()
    finally:
        api.close()
