"""The notebooks, executed from the first cell to the last, each in a kernel and a folder of its own."""

from __future__ import annotations

from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.md"))


@pytest.fixture(autouse=True)
def _this_checkout_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name, value in (("OMP_NUM_THREADS", "1"), ("OMP_WAIT_POLICY", "PASSIVE"), ("PYDEVD_DISABLE_FILE_VALIDATION", "1")):
        monkeypatch.setenv(name, value)


def executed(path: Path, folder: Path) -> list[dict[str, object]]:
    """What the cells of a notebook print and show."""
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    outputs = executed(path, tmp_path)
    assert any(output["output_type"] == "stream" for output in outputs)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notebook"]  # what it writes is in one place


def test_there_are_three_and_they_show_pictures_and_check_themselves() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
        assert len(cells) >= 3
        assert any("assert " in cell for cell in cells), path.name  # a claim of the text that does not hold fails
    assert sum("Image(" in path.read_text() for path in NOTEBOOKS) >= 2


def test_a_cell_that_fails_is_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.md").write_text("# A notebook\n\n```python\nassert 1 > 2\n```\n")
    with pytest.raises(CellExecutionError, match="AssertionError"):
        executed(tmp_path / "wrong.md", tmp_path)
