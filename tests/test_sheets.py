"""The sheets of the documents: the right pictures in the right places, and small files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sandbox import sheets
from sandbox.picture_grid import CELL, GAP, MARGIN, SIZE, Cell, Grid, Row, cells_of, draw_grid, write_grid
from sandbox.sheets import best_features, dictionary_grid, generator_grid, unseen_captions, world_grid
from sandbox.truth import TruthRow
from sandbox.world.concepts import parse
from sandbox.world.scene import Scene, is_held_out
from sandbox.world.vocabulary import ATTRIBUTES, COUNT_WORDS
from tools.fakes import FakeGenerator, MemoryImageStore

TOP = MARGIN + 2 * SIZE


def plain(shade: int) -> Image.Image:
    return Image.new("RGB", (CELL, CELL), (shade, 0, 0))


def noise(count: int) -> tuple[Cell, ...]:
    rng = np.random.default_rng(0)
    return cells_of(
        [Image.fromarray(rng.integers(0, 256, (CELL, CELL, 3), dtype=np.uint8)) for _ in range(count)]
    )


def truth_row(index: int, concept: str, f1: float) -> TruthRow:
    return TruthRow(
        index=index, concept=concept, kind="object" if concept else "none", f1=f1, auroc=0.9, density=0.1
    )


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_a_row_wraps_after_its_columns(count: int) -> None:
    cells = cells_of([plain(10 * at) for at in range(count)])
    drawn = draw_grid(Grid("title", (Row("label", "note", cells),), columns=3, label_width=100))
    assert drawn.size == (
        2 * MARGIN + 100 + 3 * (CELL + GAP),
        TOP + max(1, -(-count // 3)) * (CELL + GAP) + 18,
    )
    for at in range(count):
        left, above = MARGIN + 100 + at % 3 * (CELL + GAP), TOP + at // 3 * (CELL + GAP)
        assert drawn.getpixel((left, above)) == (10 * at, 0, 0)
        assert drawn.getpixel((left + CELL - 1, above + CELL - 1)) == (10 * at, 0, 0)


def test_a_missing_picture_is_grey_and_any_text_can_be_written() -> None:
    row = Row(
        "a very long label " * 20, "日本語", (Cell(None, "a long caption"), Cell(plain(9).resize((5, 9))))
    )
    drawn = draw_grid(Grid("", (row,), columns=2, label_width=60))
    assert drawn.getpixel((MARGIN + 60 + 5, TOP + 5)) == (228, 228, 231)


def test_a_file_gives_up_colours_before_it_grows_too_large(tmp_path: Path) -> None:
    grid = Grid("noise", (Row("", "", noise(4)),), columns=4)
    whole = write_grid(grid, tmp_path / "new" / "whole.png").stat().st_size
    small = write_grid(grid, tmp_path / "small.png", most_bytes=whole).stat().st_size
    assert small < whole
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["whole.png"]
    with pytest.raises(ValueError, match="fewer rows"):
        write_grid(grid, tmp_path / "none.png", most_bytes=500)
    assert not (tmp_path / "none.png").exists()


def test_the_world_shows_every_value_once() -> None:
    grid = world_grid()
    assert {row.label: tuple(cell.caption for cell in row.cells) for row in grid.rows} == ATTRIBUTES
    pictures = [cell.picture for row in grid.rows for cell in row.cells]
    # Each attribute shows the usual scene once.
    shown = {picture.tobytes() for picture in pictures if picture is not None}
    assert len(shown) == len(pictures) - len(grid.rows) + 1


def test_captions_are_of_scenes_nobody_was_trained_on() -> None:
    captions = unseen_captions(9)
    assert len(set(captions)) == 9
    counts = {word: count for count, word in COUNT_WORDS.items()}
    for caption in captions:
        (concept,) = parse(caption)
        said = {value.attribute: value.value for value in concept.present}
        assert is_held_out(Scene(**{**said, "count": counts[said["count"]]}))  # type: ignore[arg-type]


def test_a_prompt_has_a_row_with_the_same_seeds() -> None:
    store = MemoryImageStore()
    draw = FakeGenerator(store, faulty={"black": "black"})
    grid = generator_grid(draw, store, prompts=("fish", "black", "red fish"), seeds=2)
    assert [row.label for row in grid.rows] == ["fish", "black", "red fish"]
    assert [[cell.picture is None for cell in row.cells] for row in grid.rows] == [
        [False, False],
        [True, True],
        [False, False],
    ]
    assert [request.seed for request in draw.drawn[:2]] == [request.seed for request in draw.drawn[4:]]
    assert grid.title == "Drawn by fake: 2 seeds a prompt"


def test_the_best_feature_of_each_concept() -> None:
    rows = [truth_row(0, "fish", 0.8), truth_row(1, "", 0.99), truth_row(2, "fish", 0.9)]
    rows += [truth_row(3, "red", 0.9), truth_row(4, "boat", 0.7)]
    assert [row.index for row in best_features(rows, count=2)] == [2, 3]
    assert [row.index for row in best_features(rows, count=9)] == [2, 3, 4]


def test_a_feature_shows_its_strongest_pictures_and_no_picture_it_is_silent_on() -> None:
    activations = np.zeros((12, 3), np.float32)
    activations[:, 2] = np.arange(12)
    activations[5, 1] = 0.5
    rows = [truth_row(2, "fish", 0.8), truth_row(1, "red", 0.75)]
    grid = dictionary_grid("tiny", rows, activations, picture=plain)
    assert [(row.label, row.note) for row in grid.rows] == [("fish", "#2, 0.80 F1"), ("red", "#1, 0.75 F1")]
    assert [cell.caption for cell in grid.rows[0].cells] == [f"{value}.00" for value in range(11, 3, -1)]
    assert [cell.picture.getpixel((0, 0)) for cell in grid.rows[1].cells if cell.picture] == [(5, 0, 0)]
    assert "12 held-out scenes" in grid.title


def test_the_command_writes_what_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sheets", "--out", str(tmp_path), "--only", "world"])
    sheets.main()
    path = tmp_path / "world.png"
    assert capsys.readouterr().out == f"{path}\n"
    assert 10_000 < path.stat().st_size < 200_000
