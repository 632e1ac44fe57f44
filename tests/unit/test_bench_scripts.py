"""The benchmarks run, and what they hand over hangs together; nothing here looks at a time."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch

from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.registry import DECODERS, INTERVENTIONS, Registry
from tests.tiers import in_full

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = {path.stem for path in BENCHMARKS.glob("*.py")} | {"support"}


def forget_benchmarks() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in MODULES:
            del sys.modules[name]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a script of the benchmarks as it imports its own parts: from its folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    forget_benchmarks()
    yield importlib.import_module
    forget_benchmarks()


def run(module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Any:
    """What the script left in its file."""
    monkeypatch.setattr(
        sys, "argv", [f"{module.__name__}.py", "--results", str(folder), "--small", *more]
    )
    module.main()
    return json.loads((folder / f"{module.__name__}.json").read_text())


def tables(result: Any) -> dict[str, dict[str, list[str]]]:
    """Title -> name of the row -> its cells; each table is whole."""
    found = {}
    for sheet in result["sheets"]:
        assert sheet["rows"]
        assert {len(row) for row in sheet["rows"]} == {len(sheet["columns"])}
        found[sheet["title"]] = {name: cells for name, *cells in sheet["rows"]}
        assert len(found[sheet["title"]]) == len(sheet["rows"])
    return found


def test_steps_hold_every_method_against_its_bar(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(bench("steps"), tmp_path, monkeypatch)
    single, blocks = tables(result).values()
    assert list(single)[:2] == ["generate", "LocoRE"]
    assert single["LocoRE"][-1] == "1.010"
    assert single["LocoRE on the growing cache"][-1] == "1.000"
    # Half of four layers and the head, over all layers and the head: worked out by hand from the
    # shapes (width 64, an MLP 176 wide, a head of 256).
    layer, head = 4 * 64**2 + 3 * 64 * 176 + 2 * 64, 256 * 64
    bar = 1.05 + (2 * layer + head) / (4 * layer + head)
    assert {single[name][-1] for name in single if name.endswith(" row")} == {f"{bar:.3f}"}
    at_zero = {name: cells for name, cells in blocks.items() if name.startswith("alpha 0,")}
    assert [name.partition("m = ")[2] for name in at_zero] == ["1", "4", "8", "16", "32"]
    # Nothing is rejected at alpha 0, and a block of m is m - 1 plain passes and one recorded.
    assert {tuple(cells[:2]) for cells in at_zero.values()} == {("0%", "1.00")}
    # Block SGRS says what the one-by-one loop says, whatever it rejects.
    note = result["sheets"][1]["note"]
    assert re.findall(r"(\d) of (\d) at alpha", note) == [("4", "4"), ("1", "1"), ("1", "1")]
    assert len(result["claims"]) == 5


@pytest.mark.full
def test_every_registered_method_has_its_cost(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(bench("methods"), tmp_path, monkeypatch)
    edits, decoders, trained = tables(result).values()
    for table, registry in ((edits, INTERVENTIONS), (decoders, DECODERS)):
        left_out = {name for name in registry if f"`{name}` (" in result["text"]}
        assert set(table) == {"generate", *registry} - left_out
        # the first line is what the others are held against
        assert next(iter(table)) == "generate"
        assert table["generate"][2::2] == ["1", "1"]
    # Passes a token and of the prompt, by what these do: nothing more, beams and candidates that
    # are rows of one pass, and a second stream.
    assert edits["none"][0::3] == edits["locore"][0::3] == decoders["beam"][0::3] == ["1.00", "1"]
    # Of three tokens the last one's pass is of both; a longer second prompt is no other case.
    assert edits["vcd"][0::3] == ["1.67", "2"]
    assert edits["icd"][0] == "1.67"
    assert decoders["opera"][0] == "1.00"
    # on trained models second streams wait where a cut leaves one token
    streams = {name for name in INTERVENTIONS if INTERVENTIONS.get(name).has_second_stream}
    models = ("pocket-llava", "pocket-qwen2vl")
    assert set(trained) == {f"{model}, {name}" for model in models for name in streams}
    waiting = {f"{model}, {name}" for model in models for name in ("vcd", "icd", "m3id", "ritual")}
    for name, row in trained.items():
        passes = [float(each) for each in row if each != "refused"]
        assert all(1 <= each < (2 if name in waiting else 8) for each in passes), name


def test_what_refuses_the_model_runs_with_other_options_or_is_left_out(bench: Any) -> None:
    methods, models = bench("methods"), bench("support.models")

    @dataclass(frozen=True)
    class Picky(LogitsIntervention):
        strong: ClassVar[dict[str, Any]] = {"level": 1}
        summary: ClassVar[str] = "needs a level"
        level: int = 0

        def logits(self, logits: torch.Tensor, context: Any) -> torch.Tensor:
            if self.level == 0:
                raise UnsupportedError("no level")
            return logits

    @dataclass(frozen=True)
    class Never(Picky):
        strong: ClassVar[dict[str, Any]] = {}

    registry: Any = Registry(
        "edit",
        base="lvlmsal.interventions.base:Intervention",
        packages=["lvlmsal.interventions"],
        entry_points="none",
    )
    registry.names = lambda: ["never", "picky"]
    registry.register("picky")(Picky)
    registry.register("never")(Never)
    shape, notes = models.SMALL, methods.Notes()
    lvlm = models.with_processor(shape)
    inputs = models.question(lvlm, shape)
    found, passes = methods.tried(lvlm, inputs, registry, 2, notes)
    assert [method.name for method in found] == ["picky"]
    assert passes == {"picky": (1, 1.0)}
    assert notes.text() == (
        " `picky` refuses this model by default and ran with level=1. Left out: `never` (no level)."
    )


def test_the_question_of_a_shape_fits_its_model(bench: Any) -> None:
    models = bench("support.models")
    lvlm = models.with_processor(models.SMALL)
    inputs = models.question(lvlm, models.SMALL)
    (spans,) = lvlm.adapter.spans(inputs["input_ids"])
    ((start, end),) = spans.images
    assert end - start == models.SMALL.patches**2
    assert inputs["pixel_values"].shape == (1, 3, models.SMALL.side, models.SMALL.side)


def test_a_shared_prefix_changes_no_token(bench: Any) -> None:
    models, prefix = bench("support.models"), bench("support.prefix")
    model, inputs = models.build(models.SMALL), models.prompt(models.SMALL, 40)
    plain = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    with prefix.shared_prefix(model, inputs) as prefills:
        shared = [model.generate(**inputs, max_new_tokens=6, do_sample=False) for _ in range(2)]
    assert len(prefills.ended) == 2
    assert all(torch.equal(plain, other) for other in shared)
    assert "forward" not in vars(model)


@pytest.mark.full
def test_rejections_are_counted_in_trained_models(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(bench("trained"), tmp_path, monkeypatch)
    (table,) = tables(result).values()
    assert all(cells[0].endswith("%") and float(cells[1]) >= 1 for cells in table.values())


@pytest.mark.full
def test_diagnosis_compares_ways_that_agree(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(bench("diagnosis"), tmp_path, monkeypatch)
    agreement = next(sheet for sheet in result["sheets"] if "agreement" in sheet["title"])
    compared = {(row[0], row[1]): float(row[3]) for row in agreement["rows"]}
    assert ("block (one pass an answer)", "row (one step a token)") in compared
    assert ("block (one pass an answer)", "the paper's way") in compared
    # Each is another way through the same mathematics; the last two have a softmax in float32.
    assert compared["block (one pass an answer)", "row (one step a token)"] < 1e-9
    assert max(compared.values()) < 1e-4
    assert any("the paper's way / block way" in claim["what"] for claim in result["claims"])
    (chart,) = result["charts"]
    assert all(len(x) == len(y) == 2 for x, y in chart["lines"].values())


def test_the_paper_s_row_is_the_full_graph_s(bench: Any) -> None:
    """The baseline against the library's own slow reference."""
    from lvlmsal.saliency.full import full_graph_rows
    from lvlmsal.saliency.options import SaliencyOptions

    models, baselines = bench("support.models"), bench("support.baselines")
    model, inputs = models.build(models.SMALL), models.prompt(models.SMALL, 40)
    ids = models.answer(models.SMALL, 5)
    full = full_graph_rows(model, inputs, ids, SaliencyOptions())
    full = full["product"] if isinstance(full, dict) else full
    with baselines.as_loaded(model):
        row = baselines.paper_row(model, inputs, ids, 3, [2, 3])
    torch.testing.assert_close(row, full[0, 3, :, : row.shape[-1]], rtol=1e-4, atol=1e-6)
    assert not any(p.requires_grad for p in model.parameters())
    assert model.config.text_config._attn_implementation == "sdpa"


@pytest.mark.full
def test_throughput_asks_the_same_questions_in_every_way(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways, edited = tables(run(bench("throughput"), tmp_path, monkeypatch)).values()
    assert set(ways) >= {"one by one", "batches of 8", "shared images, 18 at once"}
    assert set(edited) == {"LocoRE", "PAI", "M3ID", "VCD"}
    assert {cells[-1] for cells in [*ways.values(), *edited.values()]} == {"0"}  # that differ


@pytest.mark.parametrize("name", in_full(["scaling", "prefill"], but="prefill"))
def test_growth_is_measured_along_every_axis(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    result = run(bench(name), tmp_path, monkeypatch)
    assert len(tables(result)) == {"scaling": 5, "prefill": 2}[name]
    assert result["charts"]


def test_a_row_goes_both_ways_in_two_precisions(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table,) = tables(run(bench("products"), tmp_path, monkeypatch)).values()
    assert {name.partition(",")[0] for name in table} == {"float32", "bfloat16"}
    assert len(table) == 4


@pytest.mark.full
def test_memory_is_measured_in_processes_of_their_own(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = bench("memory")
    kept = {name: memory.METHODS[name] for name in list(memory.METHODS)[:2]}
    monkeypatch.setattr(memory, "METHODS", kept)
    result = run(memory, tmp_path, monkeypatch)
    (table,) = tables(result).values()
    assert table["generate"][1::2] == ["1", "1", "1"]
    assert all(float(cells[0]) > 50 for cells in table.values())  # torch alone is more
    assert {claim["bar"] for claim in result["claims"]} == {1.05}


def test_peak_memory_counts_what_stands_together(bench: Any) -> None:
    memory = bench("support.memory")

    def work() -> None:
        first = torch.zeros(2**20)  # 4 MiB
        second = first + 1  # 8 MiB together
        del first
        torch.zeros(2**18).add_(float(second[0]))  # 5 MiB together

    assert memory.peak_above(work) == pytest.approx(8, abs=0.1)


@pytest.mark.full
def test_shapes_are_measured_on_tiny_models(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ["LLaVA-1.5-7B", "Qwen2.5-VL-32B"]
    more = ["--device", "cpu", "--tiny", "--models", *models]
    result = run(bench("shapes"), tmp_path, monkeypatch, *more)
    titles = [sheet["title"] for sheet in result["sheets"]]
    assert [title.partition(":")[0] for title in titles] == [m for m in models for _ in range(2)]
    assert len(result["claims"]) == 6 * len(models)


def test_shapes_are_those_of_the_checkpoints(bench: Any) -> None:
    """Parameters, as they are published."""
    checkpoints = bench("support.checkpoints")
    counts = {
        name: checkpoints.parameters(checkpoint, tiny=False)
        for name, checkpoint in checkpoints.CHECKPOINTS.items()
    }
    assert counts == {
        "LLaVA-1.5-7B": 7_063_427_072,
        "LLaVA-1.5-13B": 13_351_494_656,
        "Qwen2-VL-7B": 8_291_375_616,
        "Qwen2.5-VL-32B": 33_452_718_336,
    }


def result_file(folder: Path, **changes: Any) -> None:
    content = {
        "name": "steps",
        "title": "Cost",
        "text": "Why.",
        "claims": [
            {
                "what": what,
                "bar": 1.02,
                "measured": {"median": median, "low": 1.0, "high": 1.2, "count": 9},
                "least": False,
                "digits": 3,
            }
            for what, median in (("fast", 1.01), ("slow", 1.5))
        ],
        "sheets": [{"title": "table", "columns": ["", "ms"], "rows": [["a", "1"]], "note": "n"}],
        "charts": [
            {
                "name": "line",
                "title": "a line",
                "x": "m",
                "y": "ms",
                "lines": {"a": [[1, 2], [3, 4]]},
                "log": False,
            }
        ],
        "small": False,
        "command": "python benchmarks/steps.py",
        "minutes": 1.5,
        "machine": {"processor": "one"},
        **changes,
    }
    (folder / f"{content['name']}.json").write_text(json.dumps(content))


def write_page(bench: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    options = ["report.py", "--results", str(folder), "--docs", str(folder / "docs")]
    monkeypatch.setattr(sys, "argv", options)
    bench("report").main()
    return (folder / "docs" / "performance.md").read_text()


def test_the_page_shows_every_bar_and_whether_it_is_met(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result_file(tmp_path)
    page = write_page(bench, tmp_path, monkeypatch)
    assert "| fast | 1.010 (1.000 - 1.200) | at most 1.020 | met |" in page
    assert "| slow | 1.500 (1.000 - 1.200) | at most 1.020 | **not met** |" in page
    assert "| a | 1 |" in page
    assert "python benchmarks/steps.py  # 1.5 minutes" in page
    assert "benchmarks/shapes.py --device cuda" in page  # there is no table of a GPU's
    assert "`memory.py`" in page  # which left nothing
    assert "--small" not in page
    assert (tmp_path / "docs" / "images" / "performance-line.png").stat().st_size > 1000


def test_numbers_of_tiny_shapes_are_called_so(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result_file(tmp_path, small=True)
    result_file(tmp_path, name="shapes", machine={"device": "a card"})
    page = write_page(bench, tmp_path, monkeypatch)
    assert "they say nothing" in page
    assert "- device: a card" in page
    assert "Not measured here" not in page


@pytest.mark.full
def test_a_failing_part_stops_no_other(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module = bench("run")
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "prefill.json").write_text("{}")
    monkeypatch.setattr(module, "PARTS", {"nothing_of_the_kind": 5, "prefill": 60})
    options = ["run.py", "--small", "--results", str(tmp_path), "--docs", str(tmp_path / "docs")]
    monkeypatch.setattr(sys, "argv", options)
    assert module.main() == 1
    assert "FAILED: nothing_of_the_kind (exit code 2)" in capfd.readouterr().err
    assert json.loads((tmp_path / "prefill.json").read_text())["name"] == "prefill"
    assert "LocoRE over many rows" in (tmp_path / "docs" / "performance.md").read_text()


def test_results_name_no_folder(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results = bench("support.results")
    monkeypatch.setattr(
        sys, "argv", ["steps.py", "--small", "--results", "somewhere", "--seconds", "5"]
    )
    assert results._options() == ["--small", "--seconds", "5"]
    assert set(results.machine()) >= {"processor", "memory", "threads", "torch", "transformers"}
