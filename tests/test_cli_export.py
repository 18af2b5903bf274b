"""``namesae export``: to a file in one step, to stdout, and each way it is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis as redis_module

from tests.command_line import here, plant
from tests.named_features import finish, state_of, told
from tests.weightless_dictionary import write_weightless


@pytest.fixture(autouse=True)
def named(
    redis: redis_module.Redis, redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, redis_url=redis_server.url, folder=tmp_path)
    finish(
        state_of(redis, tmp_path),
        told(1, "fish", auroc=0.95),
        told(2, "=red", auroc=0.7, verdict="weak"),
        told(8, None, verdict="dead"),
    )


def export(*arguments: str) -> int:
    """The command in this process; its exit code."""
    return here("export", *arguments)


def test_a_table_goes_to_stdout(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert export("fake") == 0
    rows = list(csv.DictReader(io.StringIO(capsysbinary.readouterr().out.decode(), newline="")))
    assert [(row["index"], row["name"], row["verdict"]) for row in rows] == [
        ("1", "fish", "named"),
        ("2", "'=red", "weak"),
        ("8", "", "dead"),
    ]


def test_verdicts_and_figures_choose(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert export("fake", "--format", "jsonl", "--verdict", "named", "--verdict", "weak") == 0
    lines = capsysbinary.readouterr().out.splitlines()
    assert [json.loads(line)["index"] for line in lines] == [1, 2]
    assert export("fake", "--format", "cosy", "--min-auroc", "0.9") == 0
    assert capsysbinary.readouterr().out == b"neuron,concept\r\n1,fish\r\n"


def test_a_file_is_there_whole(tmp_path: Path) -> None:
    out = tmp_path / "names.jsonl.gz"
    assert export("fake", "--format", "neuronpedia", "--out", str(out)) == 0
    told = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    assert [(each["modelId"], each["layer"], each["index"]) for each in told] == [
        ("unknown", "fake", "1"),
        ("unknown", "fake", "2"),
    ]
    assert [path.name for path in tmp_path.iterdir() if "names" in path.name] == ["names.jsonl.gz"]


def test_a_folder_is_a_dictionary_here(
    redis: redis_module.Redis, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = write_weightless(tmp_path / "elsewhere", "mine", np.eye(4, dtype=np.float32))
    finish(state_of(redis, tmp_path), told(3, "boat", dictionary=str(folder)))
    assert export(str(folder), "--format", "cosy") == 0
    assert capsysbinary.readouterr().out == b"neuron,concept\r\n3,boat\r\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "'nothing' does not exist"),
        (["fake", "--format", "xlsx"], "xlsx"),
        (["fake", "--verdict", "fine"], "'fine' does not exist; there are named"),
        (["fake", "--min-auroc", "2"], "min-auroc"),
        (["fake", "--out", "no/such/folder/x.csv"], "no/such/folder does not exist"),
        (["fake", "--out", "."], "is a folder"),
        ([], "DICTIONARY"),
    ],
)
def test_what_cannot_be_written_is_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and sentence in err and "Traceback" not in err


def test_an_answer_that_comes_while_it_is_written_is_left_for_the_next(
    redis: redis_module.Redis, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert export("fake", "--format", "cosy") == 0
    finish(state_of(redis, tmp_path), told(3, "water"))
    assert export("fake", "--format", "cosy") == 0
    first, second = capsysbinary.readouterr().out.split(b"neuron,concept\r\n")[1:]
    assert first + b"3,water\r\n" == second
