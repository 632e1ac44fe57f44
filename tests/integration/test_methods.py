"""The methods side by side: the config, a small run of it and the page that shows it."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from lvlmsal.evaluation import Result, evaluate
from lvlmsal.evaluation.config.plan import read_draft
from lvlmsal.evaluation.config.source import load_content
from methods_page.listing import known_methods

pytestmark = pytest.mark.full

KEPT = ("greedy", "sample", "greedy + LocoRE", "sample + VCD", "sample + cut only")
CONTROL = "sample + cut only"
SCRIPT = Path(__file__).parents[2] / "tools" / "methods.py"


@pytest.fixture
def write(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The script with these words: exit code, output and errors."""
    spec = importlib.util.spec_from_file_location("methods_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def start(*words: object) -> tuple[int, str, str]:
        code = script.main([str(word) for word in words])
        output = capsys.readouterr()
        return code, output.out, output.err

    return start


@pytest.mark.parametrize(("config", "models"), [("methods", 2), ("stickers/methods", 1)])
def test_a_dry_run_of_the_config_finds_no_problem(config: str, models: int) -> None:
    found = evaluate(config, dry_run=True)
    # what no random model has, and what a dry run need not have
    known = (
        "VisSink found no massive",
        "has no scaling for this model",
        "a stand-in takes the place",
    )
    assert all(any(words in note for words in known) for note in found.notes), found.notes
    assert len({(entry.model, entry.method) for entry in found.tried}) == models * len(
        load_content("methods")[0]["methods"]
    )


def test_every_row_has_its_control_and_no_method_comes_twice() -> None:
    draft = read_draft("methods", [])
    assert draft.problems == []
    content = load_content("methods")[0]
    assert not content.get("baseline")
    named = [entry["name"] for entry in content["methods"]]
    planned = [method.name for method in draft.config.methods]
    assert planned == named
    used = [
        json.dumps([method.decoder, method.interventions], sort_keys=True)
        for method in draft.config.methods
    ]
    assert len(set(used)) == len(used)


def run_of(folder: Path, kept: Collection[str]) -> Result:
    content = load_content("methods")[0]
    content["methods"] = [entry for entry in content["methods"] if entry["name"] in kept]
    content["output"] = str(folder / "run")
    content["world"].update(root=str(folder / "world"), images=4)
    content["bootstrap"] = {"samples": 100}
    content["benchmarks"] = [b for b in content["benchmarks"] if b["name"] in ("pope", "chair")]
    return evaluate(content)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run_of(tmp_path_factory.mktemp("methods"), KEPT)


def test_every_method_is_compared_with_its_control(small: Result) -> None:
    against = {cell["method"]: cell["compared_with"] for cell in small.results["cells"]}
    assert against == {
        "greedy": None,
        "sample": None,
        "greedy + LocoRE": "greedy",
        "sample + VCD": "sample",
        "sample + cut only": "sample",
    }
    assert not any(cell["decoder_differs"] for cell in small.results["cells"])


def test_the_page_has_the_figures_of_the_run(
    small: Result, tmp_path: Path, write: Callable[..., tuple[int, str, str]]
) -> None:
    before = {p: p.read_bytes() for p in small.folder.iterdir() if p.is_file()}
    code, _, _ = write(small.folder, "--control", CONTROL, "-o", tmp_path)
    assert code == 0
    assert before == {p: p.read_bytes() for p in small.folder.iterdir() if p.is_file()}
    page = (tmp_path / "methods" / "runs.md").read_text(encoding="utf-8")
    missing = {m.name for m in known_methods()} - {"locore", "vcd"}
    (line,) = re.findall(r"^Measured in none of these: (.*)\.$", page, flags=re.MULTILINE)
    assert {name.strip("`") for name in line.split(", ")} == missing
    figure = small.cell("pocket-llava", "greedy + LocoRE", "chair")["figures"]["chair_s"]
    value = f"{100 * figure['difference']['value']:+.1f}"
    controls = page[
        page.index("## Differences to the control") : page.index("## Differences to 'sa")
    ]
    row = next(line for line in controls.split("\n") if line.startswith("| greedy + LocoRE"))
    assert re.search(rf"{re.escape(value)} \[", row)
    # the same line stands on the page of the method, and no other
    own = (tmp_path / "methods" / "locore.md").read_text(encoding="utf-8")
    assert row in own
    assert "sample + VCD" not in own
    # 3 methods with a control, 2 models, 3 benchmarks
    assert "There are 18 differences." in page
    # one row alone has vcd and a contrast: "cut only" is vcd as well
    index = (tmp_path / "methods.md").read_text(encoding="utf-8")
    line = next(line for line in index.split("\n") if line.startswith("| [`locore`]"))
    assert sum(map(int, line.strip("| ").split(" | ")[-4:])) == 6
    beside = page[page.index("## Differences to 'sample + cut") : page.index("## How much")]
    rows = [line for line in beside.split("\n") if f"| {CONTROL} |" in line]
    # one a model: what decodes differently, and both controls, stand elsewhere
    assert [row.split(" | ")[0] for row in rows] == ["| sample + VCD"] * 2


def test_runs_are_shown_one_after_the_other_and_counted_together(
    small: Result, tmp_path: Path, write: Callable[..., tuple[int, str, str]]
) -> None:
    other = run_of(tmp_path, ["greedy", "greedy + LocoRE"])
    # a control that one of the runs has not is that of the others
    code, index, _ = write(small.folder, other.folder, "--control", CONTROL, "-o", tmp_path)
    assert (code, index) == (0, "")
    page = (tmp_path / "methods" / "runs.md").read_text(encoding="utf-8")
    assert page.count("## The run on shapes") == 2
    assert "There are 24 differences." in page


def test_the_difference_to_a_control_is_that_of_the_answers(
    small: Result, tmp_path: Path, write: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, _ = write(small.folder, "--control", CONTROL, "-o", tmp_path)
    assert code == 0
    page = (tmp_path / "methods" / "runs.md").read_text(encoding="utf-8")
    shares = {}
    for method in ("sample + VCD", CONTROL):
        answers = [
            record["answer"].strip(" .").lower() == record["target"]
            for record in small.records()
            if (record["model"], record["method"]) == ("pocket-qwen2vl", method)
            and record["benchmark"] == "pope/adversarial"
        ]
        shares[method] = 100 * sum(answers) / len(answers)
    beside = page[page.index("## Differences to 'sample + cut") : page.index("## How much")]
    table = beside[beside.index("### pocket-qwen2vl") :].split("\n")
    column = table[2].split(" | ").index("pope/adversarial: Δ accuracy ↑ %")
    value = float(table[4].split(" | ")[column].strip("* ").split(" ")[0])
    assert value == pytest.approx(shares["sample + VCD"] - shares[CONTROL], abs=0.051)


def test_what_cannot_be_shown_is_said(
    small: Result, tmp_path: Path, write: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, error = write(small.folder, "--control", "sampel")
    assert (code, "unknown method 'sampel'" in error) == (2, True)
    code, _, error = write(tmp_path)
    assert (code, "run folder" in error) == (2, True)
    code, _, error = write("--costs", tmp_path / "none.json")
    assert (code, "cannot be read" in error) == (2, True)
    code, _, error = write("-o", tmp_path / "no" / "docs")
    assert (code, "No such file" in error) == (2, True)
    code, page, _ = write()
    assert code == 0
    assert "Costs were not measured" in page
