"""The notebooks of examples/ run as they stand, from an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.full

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_there_is_one_for_each_kind_of_user() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "a_method_of_your_own",
        "from_image_to_explorer",
        "measure_a_method",
        "your_own_model",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbclient and its parts are not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="there is no kernel to run notebooks with")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    stored = outputs(notebook)
    assert all(kind != "error" for cell in stored for kind, _ in cell)
    # nothing says on which machine it was run
    assert not re.search(r"/(home|root|tmp|Users)/", path.read_text(encoding="utf-8"))
    folder = {"metadata": {"path": str(tmp_path)}}
    done = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder)
    done.execute()
    assert [[kind for kind, _ in cell] for cell in outputs(notebook)] == [
        [kind for kind, _ in cell] for cell in stored
    ]
    if path.stem == "from_image_to_explorer":
        page = (tmp_path / "explorer.html").read_text(encoding="utf-8")
        assert '"label":"greedy"' in page
        assert '"label":"SGRS + LocoRE"' in page
        # words that name what is not there, and the same ones as on the machine that stored them
        wrong = [text for cell in outputs(notebook) for _, text in cell if text.startswith("[' ")]
        assert wrong
        assert wrong == [text for cell in stored for _, text in cell if text.startswith("[' ")]


def outputs(notebook: Any) -> list[list[tuple[str, str]]]:
    """Kind and text of what each cell shows.

    What a cell says on stderr depends on the machine, and so does in how many pieces the text of
    one stream arrives: pieces that follow one another are one.
    """
    cells: list[list[tuple[str, str]]] = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        shown: list[tuple[str, str]] = []
        for each in cell.outputs:
            if each.get("name") == "stderr":
                continue
            text = each.get("text") or each.get("data", {}).get("text/plain", "")
            if each.output_type == "stream" and shown and shown[-1][0] == "stream":
                shown[-1] = ("stream", shown[-1][1] + text)
            else:
                shown.append((each.output_type, text))
        cells.append(shown)
    return cells
