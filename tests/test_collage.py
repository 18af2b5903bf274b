"""Collages and the table of interpretations: what is drawn, what stays, and no cell that is a formula."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sae.code_index import CodeIndex
from sae.code_index_columns import Columns, IndexCard
from sae.collage import (
    COLUMNS,
    CSV_FILE,
    Grid,
    Interpretation,
    Style,
    draw_collage,
    read_interpretations,
    write_collages,
    write_interpretations,
)
from sae.errors import BadInterpretations
from sae.image_source import PictureList

COLOURS = [(30 * at, 255 - 30 * at, 7 * at) for at in range(8)]
SOURCE = PictureList("colours", lambda row: Image.new("RGB", (20, 10), COLOURS[row]), len(COLOURS))


@pytest.fixture
def index() -> CodeIndex:
    """Feature 0 on images 5, 2 and 7, feature 1 nowhere, feature 2 on image 1."""
    columns = Columns(
        offsets=np.array([0, 0, 1, 2, 2, 2, 3, 3, 4]),
        features=np.array([2, 0, 0, 0], np.int32),
        values=np.array([9.0, 2.0, 3.0, 1.0], np.float32),
        starts=np.array([0, 3, 3, 4]),
        rows=np.array([5, 2, 7, 1], np.uint32),
        ranked=np.array([3.0, 2.0, 1.0, 9.0], np.float32),
        means=np.array([0.75, 0.0, 1.125], np.float32),
        labels=np.full(8, -1, np.int32),
        sums=np.zeros((8, 32), np.uint8),
        key_starts=np.zeros(9, np.int64),
        key_text=np.zeros(0, np.uint8),
    )
    card = IndexCard(
        identity="one",
        source="colours",
        fingerprint="",
        classes=(),
        n_images=8,
        n_features=3,
        entries=4,
        generation="g",
    )
    return CodeIndex(card, columns)


def test_a_collage_is_four_rows_of_three_unless_said() -> None:
    sheet = draw_collage([Image.new("RGB", (300, 200), "red")] * 12)
    assert sheet.size == (3 * 224, 4 * 224)
    wide = draw_collage([Image.new("RGB", (9, 9), (at, 0, 0)) for at in range(20)], Grid(2, 5), tile=16)
    assert wide.size == (80, 32)
    assert [wide.getpixel((16 * at + 8, 24)) for at in range(5)] == [(5 + at, 0, 0) for at in range(5)]


def test_what_is_not_there_is_grey_or_white() -> None:
    sheet = draw_collage([None, Image.new("RGB", (5, 5), "black")], Grid(2, 2), tile=10)
    assert [sheet.getpixel(at) for at in ((4, 4), (14, 4), (4, 14))] == [(200,) * 3, (0,) * 3, (255,) * 3]


def test_a_table_has_a_line_a_feature_strongest_first(index: CodeIndex, tmp_path: Path) -> None:
    rows = write_collages(
        index, SOURCE, features=[0, 1, 2, 0], out=tmp_path, style=Style(Grid(1, 2), 10, {0: "blue-ish"})
    )
    with (tmp_path / CSV_FILE).open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == [
        *("feature_rank", "feature_id", "collage_path", "activation_mean"),
        *("activation_max", "num_images", "interpretation"),
    ]
    assert lines[1:] == [
        ["1", "2", "collages/feature_00002.png", "1.125", "9.0", "1", ""],
        ["2", "0", "collages/feature_00000.png", "0.75", "3.0", "2", "blue-ish"],
        ["3", "1", "", "0.0", "0.0", "0", ""],
    ]
    assert read_interpretations(tmp_path / CSV_FILE) == rows
    with Image.open(tmp_path / "collages" / "feature_00000.png") as drawn:
        assert [drawn.getpixel(at) for at in ((5, 5), (15, 5))] == [COLOURS[5], COLOURS[2]]
    assert not (tmp_path / "collages" / "feature_00001.png").exists()


def test_what_a_person_wrote_stays(index: CodeIndex, tmp_path: Path) -> None:
    rows = write_collages(index, SOURCE, features=[0, 2], out=tmp_path)
    write_interpretations(
        [row.model_copy(update={"interpretation": f"seen {row.feature_id}"}) for row in rows],
        tmp_path / CSV_FILE,
    )
    names = {1: "stored", 2: "stored"}
    again = write_collages(index, SOURCE, features=[1, 2], out=tmp_path, style=Style(names=names))
    assert {row.feature_id: row.interpretation for row in again} == {0: "seen 0", 1: "stored", 2: "seen 2"}
    assert [row.feature_rank for row in again] == [1, 2, 3]


def test_another_dictionarys_table_is_left_alone(index: CodeIndex, tmp_path: Path) -> None:
    write_collages(index, SOURCE, features=[0], out=tmp_path)
    other = replace(index, card=index.card.model_copy(update={"identity": "two"}))
    with pytest.raises(BadInterpretations, match="another dictionary"):
        write_collages(other, SOURCE, features=[0], out=tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "a,b\n1,2\n",
        ",".join(COLUMNS) + "\nx,2,c,1,1,1,\n",
        ",".join(COLUMNS) + "\n1,2,c,1,1,1,y,z\n",
        "\xff",
    ],
)
def test_a_file_that_is_no_table_is_refused_and_kept(index: CodeIndex, tmp_path: Path, raw: str) -> None:
    (tmp_path / CSV_FILE).write_bytes(raw.encode("latin-1"))
    with pytest.raises(BadInterpretations, match="move it away"):
        write_collages(index, SOURCE, features=[0], out=tmp_path)
    assert (tmp_path / CSV_FILE).read_bytes() == raw.encode("latin-1")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4))
def test_no_cell_is_a_formula_and_every_text_comes_back(texts: list[str]) -> None:
    import tempfile

    rows = [line(at, text) for at, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_interpretations(rows, path)
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for cells in csv.reader(file) for cell in cells]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert read_interpretations(path) == rows


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "+1", "-1", "@x", "'=1", "''", "'tis", "two\nlines", "ä;b"]
)
def test_texts_that_spreadsheets_take_for_more_come_back(text: str, tmp_path: Path) -> None:
    write_interpretations([line(0, text)], tmp_path / "table.csv")
    assert read_interpretations(tmp_path / "table.csv")[0].interpretation == text


def line(at: int, text: str) -> Interpretation:
    return Interpretation(
        feature_rank=1,
        feature_id=at,
        collage_path="c.png",
        activation_mean=0.5,
        activation_max=1.0,
        num_images=3,
        interpretation=text,
    )
