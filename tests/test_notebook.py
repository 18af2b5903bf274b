"""docs/tour.ipynb runs, from a fresh data folder, and shows what it says it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from sae.card import read_card

ROOT = Path(__file__).parent.parent
TOUR = ROOT / "docs" / "tour.ipynb"


def notebook() -> Any:
    return nbformat.read(TOUR, as_version=4)  # type: ignore[no-untyped-call]


def test_the_tour_is_stored_without_outputs() -> None:
    nbformat.validate(notebook())
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert len(cells) > 5
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    for cell in cells:
        compile(cell.source, str(TOUR), "exec")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tour_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ran = notebook()
    NotebookClient(ran, timeout=600, kernel_name="python3").execute()
    outputs = [output for cell in ran.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if "data" in output]
    n_features = read_card(ROOT / "sandbox" / "models" / "sandbox").n_features
    assert any(f"{n_features} features" in data.get("text/html", "") for data in shown)
    assert any("AUROC" in data.get("text/html", "") for data in shown)
    assert any("<iframe" in data.get("text/html", "") for data in shown)
    assert any("image/png" in data for data in shown)
    assert shown[-1]["text/plain"] == "True"
    assert not any(output.output_type == "error" for output in outputs)
