"""The notebooks of examples/ run as they stand, from an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.full

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["from_image_to_explorer"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbclient and its parts are not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="there is no kernel to run notebooks with")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    # outputs would name the machine that they come from
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert len(notebook.cells) == 10
    folder = {"metadata": {"path": str(tmp_path)}}
    done = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder)
    done.execute()
    page = (tmp_path / "explorer.html").read_text()
    assert '"label":"greedy"' in page
    assert '"label":"SGRS + LocoRE"' in page
    text = {cell.id: "".join(map(str, cell.outputs)) for cell in cells}
    assert "heart" in text["cell-4"]  # the shape that is not there
    assert "gave way to" in text["cell-6"]
    assert "True" in text["cell-8"]
