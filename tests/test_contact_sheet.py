"""The contact sheet: the right pictures in the right places."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from agent.records import Explanation
from namesae.contact_sheet import (
    CELL,
    COLUMNS,
    HEADER,
    LABEL,
    MARGIN,
    best_prompts,
    draw_contact_sheet,
    strips_of,
    write_contact_sheet,
)
from sae.feature import Feature
from tests.recorded_runs import recorded_trace
from tools.fakes import MemoryImageStore


@pytest.fixture
def store() -> MemoryImageStore:
    return MemoryImageStore()


def explained(store: MemoryImageStore, *, text: str = "striped", sealed: int = 5) -> Explanation:
    explanation = recorded_trace(store, text=text, sealed=sealed).explanation
    assert explanation is not None
    return explanation


def test_exemplars_best_prompts_and_sealed_images_each_strongest_first(store: MemoryImageStore) -> None:
    strips = strips_of(explained(store))
    assert [strip.label for strip in strips] == ["Exemplars", "Best prompts", "Sealed"]
    for strip in strips:
        values = [each.activation for each in strip.shown]
        assert values == sorted(values, reverse=True)
    assert [(each.activation, each.prompt) for each in strips[1].shown] == [(9.5, "striped"), (0.25, "")]


def test_prompts_are_ranked_by_their_mean_and_failures_are_left_out(store: MemoryImageStore) -> None:
    evidence = explained(store).evidence
    assert evidence is not None
    assert [prompt for prompt, _ in best_prompts(evidence.trials)] == ["striped"]
    assert best_prompts(evidence.trials, most=0) == []


@pytest.mark.parametrize("sealed", [1, COLUMNS, COLUMNS + 1, 50])
def test_the_sheet_grows_with_its_rows(store: MemoryImageStore, sealed: int) -> None:
    explanation = explained(store, sealed=sealed)
    sheet = draw_contact_sheet(explanation, store)
    lines = sum(strip.lines for strip in strips_of(explanation))
    assert sheet.height > HEADER + lines * CELL
    corner = (MARGIN + LABEL, HEADER + MARGIN)
    shown = sheet.crop((*corner, corner[0] + CELL, corner[1] + CELL))
    evidence = explanation.evidence
    assert evidence is not None
    first = store.get(evidence.exemplars[0].image).resize((CELL, CELL), Image.Resampling.NEAREST)
    assert shown.tobytes() == first.tobytes()


def test_a_picture_that_has_gone_leaves_a_grey_cell(store: MemoryImageStore) -> None:
    sheet = draw_contact_sheet(explained(store), MemoryImageStore())
    assert sheet.getpixel((MARGIN + LABEL + 5, HEADER + MARGIN + 5)) == (228, 228, 231)


@pytest.mark.parametrize("text", ["", "a very long prompt " * 20, "日本語 \u202e\n <b>"])
def test_any_text_can_be_drawn(store: MemoryImageStore, text: str) -> None:
    assert draw_contact_sheet(explained(store, text=text), store).size[0] > 0


def test_a_feature_without_a_name_has_a_sheet(store: MemoryImageStore) -> None:
    dead = Explanation(feature=Feature(dictionary="fake", index=8), name=None, verdict="dead", confidence=0)
    assert draw_contact_sheet(dead, store).height >= HEADER


def test_the_sheet_is_written_in_one_step(store: MemoryImageStore, tmp_path: Path) -> None:
    path = write_contact_sheet(explained(store), store, path=tmp_path / "new" / "sheet.png")
    assert [each.name for each in path.parent.iterdir()] == ["sheet.png"]
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
