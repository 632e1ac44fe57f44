"""The examples of CONTRIBUTING.md are complete: each runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lvlmsal.registry.catalogue import read_card

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()

# Section -> what the example prints at its end.
EXAMPLES = {
    "A new adapter": "VipLlavaAdapter(VipLlavaForConditionalGeneration, 2 layers)",
    "A new intervention": "torch.Size([2, ",
    "A new decoder": "[[",
    "A new metric": "{'repetition': 0.",
    "A new benchmark": "{'accuracy': 0.5, 'recall': 1.0, 'n': 2}",
}

RUN = """
import contextlib, io, json, runpy, sys, traceback

outcomes = []
for path in sys.argv[1:]:
    printed, error = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            runpy.run_path(path, run_name="__main__")
        except Exception:
            error = traceback.format_exc()
    outcomes.append({"printed": printed.getvalue(), "error": error})
print(json.dumps(outcomes))
"""


def blocks(section: str, language: str) -> list[str]:
    text = re.split(rf"^## {re.escape(section)}$", GUIDE, flags=re.M)[1]
    text = re.split(r"^## ", text, flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def test_every_example_is_known_to_this_test() -> None:
    found = re.findall(r"^## (.*)$", GUIDE, flags=re.M)
    assert {section for section in found if blocks(section, "python")} == set(EXAMPLES)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each example prints, and the traceback of one that fails.

    They run as scripts, in one process of their own: what they register must not reach other tests.
    """
    files = {}
    for section in EXAMPLES:
        (code,) = blocks(section, "python")
        files[section] = tmp_path_factory.mktemp("example") / "example.py"
        files[section].write_text(code)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, files.values())],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(files, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_example_runs(section: str, outcomes: dict[str, dict[str, str]]) -> None:
    assert outcomes[section]["error"] == ""
    assert outcomes[section]["printed"].startswith(EXAMPLES[section])


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_example_keeps_the_style(section: str, tmp_path: Path) -> None:
    (code,) = blocks(section, "python")
    file = tmp_path / "example.py"
    file.write_text(code)
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for command in (["check", "--ignore", "D100"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *command, *options, str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_entry_point_groups_are_those_that_are_read() -> None:
    (block,) = blocks("From a package of your own", "toml")
    plugin = tomllib.loads((ROOT / "tests/example_plugin/pyproject.toml").read_text())
    assert set(tomllib.loads(block)["project"]["entry-points"]) <= set(
        plugin["project"]["entry-points"]
    )


def test_the_card_can_be_read(tmp_path: Path) -> None:
    (block,) = blocks("A new checkpoint", "yaml")
    card = tmp_path / "my-llava.yaml"
    card.write_text(block)
    assert read_card(card).defaults == {"locore": {"beta": 0.1}}
