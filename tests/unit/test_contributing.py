"""The examples for contributors are complete: each runs, and one file is all that it takes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from lvlmsal.registry.catalog import read_card

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs/contributing").glob("*.md")}

# Page -> what its example prints at its end.
EXAMPLES = {
    "adapter": "GlmMoeAdapter(Glm4vMoeForConditionalGeneration, 2 layers)",
    "intervention": "torch.Size([2, ",
    "decoder": "[[",
    "detector": "['dog']\nTrue 1",
    "metric": "{'repetition': 0.",
    "benchmark": "{'accuracy': 0.5, 'recall': 1.0, 'n': 2}",
}

# Registry and name -> the page whose example registers it.
REGISTERED = {
    ("ADAPTERS", "Glm4vMoeForConditionalGeneration"): "adapter",
    ("INTERVENTIONS", "image-boost"): "intervention",
    ("DECODERS", "min-p"): "decoder",
    ("DETECTORS", "typicality"): "detector",
    ("METRICS", "repetition"): "metric",
    ("METRICS", "night"): "benchmark",
    ("BENCHMARKS", "night"): "benchmark",
    ("SCORERS", "night"): "benchmark",
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

# The examples as built-in files: each is listed and is found in its file.
LOOK = """
import json, sys
import lvlmsal.registry

found = {}
for registry, name in json.loads(sys.argv[1]):
    table = getattr(lvlmsal.registry, registry)
    assert name in table.names()
    assert table.get(name).summary
    found[f"{registry} {name}"] = sys.modules[table.get(name).__module__].__file__
print(json.dumps(found))
"""

# A config names the files of the benchmark and of a metric for it; the run's table then has the
# columns of both.
EVALUATE = """
import sys
from lvlmsal.evaluation import evaluate

root, output = sys.argv[1:]
found = evaluate({
    "plugins": ["night", "repetition"],
    "models": ["pocket-llava"],
    "benchmarks": [
        {"name": "night", "root": root, "max_new_tokens": 3, "metrics": METRICS},
    ],
    "methods": [{"name": "greedy", "decoder": "greedy"}],
    "output": output,
})
print(found.markdown())
"""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def new_file(page: str) -> Path:
    """The one file that the page tells to write, relative to the root."""
    (name,) = re.findall(r"^\*\*Files:\*\* `([\w/]+\.py)`, and nothing else", PAGES[page], re.M)
    return Path(name)


def python(*command: str, folder: Path = ROOT, package: Path = ROOT) -> str:
    """What a command prints, in a folder and with the package of a tree."""
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(package)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_known_to_this_test() -> None:
    assert {page: len(blocks(text, "python")) for page, text in PAGES.items()} == dict.fromkeys(
        EXAMPLES, 1
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each example prints, and the traceback of one that fails.

    They run as scripts, in one process of their own: what they register must not reach other tests.
    """
    files = {}
    for page in EXAMPLES:
        (code,) = blocks(PAGES[page], "python")
        files[page] = tmp_path_factory.mktemp("example") / "example.py"
        files[page].write_text(code)
    printed = python("-c", RUN, *map(str, files.values()))
    return dict(zip(files, json.loads(printed), strict=True))


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_example_runs(page: str, outcomes: dict[str, dict[str, str]]) -> None:
    assert outcomes[page]["error"] == ""
    assert outcomes[page]["printed"].startswith(EXAMPLES[page])


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_example_keeps_the_style(page: str, tmp_path: Path) -> None:
    (code,) = blocks(PAGES[page], "python")
    file = tmp_path / "example.py"
    file.write_text(code)
    options = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(file)]
    python("-m", "ruff", "check", "--ignore", "D100", *options)
    python("-m", "ruff", "format", "--check", *options)


def test_the_table_names_the_files_that_the_pages_name() -> None:
    table = dict(re.findall(r"\(docs/contributing/(\w+)\.md\) \| `([\w/]+\.py)` \|", GUIDE))
    assert table == {page: str(new_file(page)) for page in EXAMPLES}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with each example in the file that its page names, and no other change."""
    folder = tmp_path_factory.mktemp("tree")
    # with their byte code, which is right for copies of the same age
    for name in ("lvlmsal", "adapters", "registry", "configs"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    for page in EXAMPLES:
        (code,) = blocks(PAGES[page], "python")
        file = folder / new_file(page)
        assert file.parent.is_dir(), "a new folder would be more than one file"
        assert not file.exists(), "a new file changes none that is there"
        file.write_text(f'"""The example of the page."""\n\n{code}')
    return folder


def test_one_new_file_makes_each_of_them_built_in(tree: Path) -> None:
    found = json.loads(python("-c", LOOK, json.dumps(list(REGISTERED)), folder=tree, package=tree))
    files = {name: Path(file).resolve() for name, file in found.items()}
    assert files == {
        f"{registry} {name}": (tree / new_file(page)).resolve()
        for (registry, name), page in REGISTERED.items()
    }


def test_a_benchmark_that_a_config_names_runs_and_shows_its_own_columns(tmp_path: Path) -> None:
    from PIL import Image

    for page, name in (("benchmark", "night"), ("metric", "repetition")):
        (code,) = blocks(PAGES[page], "python")
        (tmp_path / f"{name}.py").write_text(code)
    named = yaml.safe_load(blocks(PAGES["metric"], "yaml")[0])
    assert named["plugins"] == ["repetition"]
    (entry,) = named["benchmarks"]
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (28, 28)).save(data / name)
    lines = [json.dumps({"image": name, "label": "yes"}) for name in ("a.png", "b.png")]
    (data / "night.jsonl").write_text("\n".join(lines))
    code = EVALUATE.replace("METRICS", repr(entry["metrics"]))
    table = python("-c", code, str(data), str(tmp_path / "run"), folder=tmp_path)
    (head,) = re.findall(r"^\| .*right.*\|$", table, flags=re.M)
    for title in ("nights found", "| repeated runs ↓ % |", "| pairs repeated runs ↓ % |"):
        assert title in head
    assert "recall" not in head


def test_the_entry_point_groups_are_those_that_are_read() -> None:
    (block,) = blocks(GUIDE, "toml")
    plugin = tomllib.loads((ROOT / "tests/example_plugin/pyproject.toml").read_text())
    groups = set(plugin["project"]["entry-points"])
    assert set(tomllib.loads(block)["project"]["entry-points"]) <= groups
    assert set(re.findall(r"`(lvlmsal\.\w+s)`", GUIDE)) >= groups


def test_the_card_can_be_read(tmp_path: Path) -> None:
    (block,) = blocks(PAGES["adapter"], "yaml")
    card = tmp_path / "my-llava.yaml"
    card.write_text(block)
    assert read_card(card).defaults == {"locore": {"beta": 0.1}}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", *(f"docs/contributing/{p}.md" for p in PAGES)])
def test_the_paths_and_links_of_the_page_lead_somewhere(page: str) -> None:
    """But for the new files of the examples and their tests."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.M | re.S)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    paths = re.findall(r"`((?:lvlmsal|tests|adapters|registry|docs|tools)/[\w./-]*)`", text)
    new = {new_file(kind).stem for kind in EXAMPLES} | {"my-llava"}
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert [p for p in missing if not any(stem in Path(p).stem for stem in new)] == []
