"""Whole runs on a tiny random model: records, resuming, bad data, scoring again."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.errors import ConfigError, DataError, LvlmsalError
from lvlmsal.evaluation import Result, evaluate, score
from lvlmsal.evaluation.results.locks import RunLock
from lvlmsal.evaluation.results.records import TIMINGS, Record
from lvlmsal.evaluation.results.schema import SCHEMA_VERSION, Results
from lvlmsal.evaluation.run import evaluate as running
from lvlmsal.model.lvlm import Lvlm
from tests.unit.evaluation.typed import misfits

pytestmark = pytest.mark.slow

Config = dict[str, Any]


class Stopped(BaseException):
    """Stands for a kill: nothing in the library may catch it."""


class StoppingLvlm:
    """A model that is stopped before its n-th batch."""

    def __init__(self, lvlm: Lvlm, batches: int, error: type[BaseException] = Stopped) -> None:
        self._lvlm, self._left, self._error = lvlm, batches, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lvlm, name)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        self._count()
        return self._lvlm.generate(*args, **kwargs)

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        self._count()
        return self._lvlm.ask(*args, **kwargs)

    def _count(self) -> None:
        if not self._left:
            raise self._error
        self._left -= 1


def answers(result: Result, *without: str) -> list[dict[str, Any]]:
    """Records without what may differ between two runs."""
    return [
        {key: value for key, value in record.items() if key not in (*TIMINGS, *without)}
        for record in result.records()
    ]


def figures(result: Result) -> list[Any]:
    return [
        {key: value for key, value in cell.items() if key not in ("tokens_per_second", "cost")}
        for cell in result.results["cells"]
    ]


@pytest.fixture
def run(tiny: Lvlm) -> Callable[..., Result]:
    def start(config: Config, *overrides: str, model: Any = tiny) -> Result:
        return evaluate(config, overrides, models={"tiny": model})

    return start


@pytest.fixture
def copied(config: Config, finished: Result) -> Path:
    """The folder of `config`, holding a whole run."""
    folder = Path(config["output"])
    shutil.copytree(finished.folder, folder)
    return folder


def test_a_run_folder_is_complete(finished: Result, shared_world: Path) -> None:
    records = finished.records()
    lines = (shared_world / "pope/scene_pope_random.json").read_text().splitlines()
    questions = sum(json.loads(line)["image"] == json.loads(lines[0])["image"] for line in lines)
    count = Counter((record["method"], record["benchmark"]) for record in records)
    expected = {"pope/random": questions, "chair": 3}
    assert count == {(m, b): n for m in ("greedy", "sgrs") for b, n in expected.items()}
    assert len({record["key"] for record in records}) == len(records)
    for record in records:
        assert record["status"] == "ok"
        assert record["new_tokens"] == len(record["token_ids"]) > 0
        assert record["seconds"] > 0
        assert bool(record["tokens"]) == (record["method"] == "sgrs")
    assert {path.name for path in finished.folder.iterdir()} == {
        ".lock",
        "config.yaml",
        "environment.json",
        "records.jsonl",
        "results.json",
        "results.md",
        "report.html",
        "log.txt",
        "logs",
        "samples",
    }
    environment = json.loads((finished.folder / "environment.json").read_text())
    assert environment["data"]["chair"]["samples"] == 3
    assert environment["models"]["tiny"]["class"] == "LlavaForConditionalGeneration"
    assert set(environment["packages"]) >= {"torch", "transformers", "lvlmsal"}
    assert all(record["key"].split("/")[0] in environment["cells"] for record in records)


def test_files_of_a_run_have_the_keys_and_types_of_their_page(finished: Result) -> None:
    assert [text for record in finished.records() for text in misfits(record, Record)] == []
    results = json.loads((finished.folder / "results.json").read_text())
    assert misfits(results, Results) == []
    assert results["schema_version"] == SCHEMA_VERSION


def test_answers_do_not_depend_on_the_batch_size(
    config: Config, run: Callable[..., Result], tmp_path: Path
) -> None:
    config["methods"] = [
        {"name": "sgrs", "decoder": {"name": "sgrs", "layers": [1]}},
        {"name": "edited", "decoder": "sample", "interventions": ["locore"]},
        {"name": "beam", "decoder": {"name": "beam", "num_beams": 2}},
    ]
    one = run(config, "batch_size=1", f"output={tmp_path / 'one'}")
    four = run(config, "batch_size=4", f"output={tmp_path / 'four'}")
    assert answers(one, "tokens") == answers(four, "tokens")
    for a, b in zip(one.records(), four.records(), strict=True):
        assert [t["id"] for t in a["tokens"]] == [t["id"] for t in b["tokens"]]
        for mine, theirs in zip(a["tokens"], b["tokens"], strict=True):
            assert mine["saliency"] == pytest.approx(theirs["saliency"], abs=2e-6)
    assert figures(one) == figures(four)


@pytest.mark.parametrize("batches", [0, 5])
def test_a_killed_run_goes_on_where_it_stopped(
    config: Config, run: Callable[..., Result], tiny: Lvlm, finished: Result, batches: int
) -> None:
    with pytest.raises(Stopped):
        run(config, model=StoppingLvlm(tiny, batches))
    path = Path(config["output"]) / "records.jsonl"
    kept = path.read_bytes() if path.exists() else b""
    assert bool(kept) == bool(batches)
    assert len(kept.splitlines()) < len(finished.records())
    resumed = run(config)
    assert answers(resumed) == answers(finished)
    assert figures(resumed) == figures(finished)


def test_ctrl_c_is_an_interrupt_and_not_an_exit(
    config: Config, run: Callable[..., Result], tiny: Lvlm
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(config, model=StoppingLvlm(tiny, 1, KeyboardInterrupt))
    assert signal.getsignal(signal.SIGINT) is handler
    # one batch: the questions on the one image of POPE
    assert (Path(config["output"]) / "records.jsonl").read_text().count("\n") == 4


def test_a_cut_line_is_dropped_and_answered_again(
    config: Config, run: Callable[..., Result], copied: Path, finished: Result
) -> None:
    path = copied / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]) + lines[-2][:40])
    assert answers(run(config)) == answers(finished)
    assert "cut off" in (copied / "log.txt").read_text()


def test_a_damaged_line_in_the_middle_is_not_passed_over(
    config: Config, run: Callable[..., Result], copied: Path
) -> None:
    path = copied / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:30] + b"\n", *lines[2:]]))
    with pytest.raises(DataError, match=r"records.jsonl:2: "):
        run(config)


def test_a_finished_run_loads_no_model(
    config: Config,
    run: Callable[..., Result],
    copied: Path,
    finished: Result,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "load_model", None)
    before = (copied / "records.jsonl").read_bytes()
    again = run(config)
    assert (copied / "records.jsonl").read_bytes() == before
    assert again.results == finished.results


def test_scoring_again_gives_the_same_results(copied: Path, finished: Result) -> None:
    files = {name: (copied / name).read_bytes() for name in ("results.json", "results.md")}
    for name in files:
        (copied / name).unlink()
    assert score(copied).results == finished.results
    assert {name: (copied / name).read_bytes() for name in files} == files


def test_another_config_does_not_mix_into_a_run(
    config: Config, run: Callable[..., Result], copied: Path
) -> None:
    before = (copied / "records.jsonl").read_bytes()
    with pytest.raises(ConfigError) as caught:
        run(config, "methods.sgrs.decoder.alpha=0.1", "benchmarks.chair.max_new_tokens=9", "seed=5")
    text = str(caught.value)
    for words in ("methods[sgrs].decoder.alpha", "benchmarks[chair].max_new_tokens", "seed: "):
        assert words in text
    assert (copied / "records.jsonl").read_bytes() == before
    with pytest.raises(ConfigError, match="already holds a run"):
        run(config, "resume=false")


def test_changed_questions_do_not_mix_into_a_run(
    config: Config, run: Callable[..., Result], copied: Path, world: Path
) -> None:
    config["data"] = {"root": str(world)}
    path = world / "pope/scene_pope_random.json"
    path.write_text(path.read_text().replace('"yes"', '"no"', 1))
    with pytest.raises(ConfigError, match="pope/random have changed"):
        run(config)


def test_a_run_does_not_go_on_with_another_attention(
    config: Config, run: Callable[..., Result], copied: Path
) -> None:
    """eager and sdpa give answers of their own; one run must not mix them."""
    path = copied / "environment.json"
    content = json.loads(path.read_text())
    content["models"]["tiny"]["attention"] = "eager"
    path.write_text(json.dumps(content))
    lines = (copied / "records.jsonl").read_text().splitlines(keepends=True)
    (copied / "records.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(ConfigError, match="tiny began with the attention eager and would go on"):
        run(config)


def test_a_method_can_be_added_to_a_run(
    config: Config, run: Callable[..., Result], copied: Path
) -> None:
    before = (copied / "records.jsonl").read_bytes()
    config["methods"] = [*config["methods"], {"name": "more", "decoder": "sample"}]
    config["baseline"] = "sgrs"
    result = run(config)
    assert (copied / "records.jsonl").read_bytes().startswith(before)
    assert len(result.records()) == len(before.splitlines()) * 3 // 2
    assert result.cell("tiny", "more", "chair")["changed"] is not None
    assert result.cell("tiny", "sgrs", "chair")["changed"] is None


def test_methods_with_the_same_settings_are_told_apart(
    config: Config, run: Callable[..., Result]
) -> None:
    config["methods"] = [{"name": name, "decoder": "greedy"} for name in ("one", "two")]
    result = run(config)
    for benchmark in {cell["benchmark"] for cell in result.results["cells"]}:
        first, second = (result.cell("tiny", name, benchmark) for name in ("one", "two"))
        assert first["n"] == second["n"] > 0
        assert second["changed"] == 0


def test_two_processes_do_not_write_into_one_folder(
    config: Config, run: Callable[..., Result]
) -> None:
    folder = Path(config["output"])
    folder.mkdir()
    with RunLock(folder), pytest.raises(LvlmsalError, match="another process"):
        run(config)
    with RunLock(folder):
        pass


def test_a_broken_image_stops_the_run_and_loses_nothing(
    config: Config, run: Callable[..., Result], world: Path, finished: Result
) -> None:
    config["data"] = {"root": str(world)}
    path = sorted((world / "images").iterdir())[2]
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(DataError, match=path.name):
        run(config)
    lines = (Path(config["output"]) / "records.jsonl").read_text().splitlines()
    *_, last = [json.loads(line) for line in lines]
    assert Counter(json.loads(line)["status"] for line in lines)["failed"] == 1
    assert (last["status"], last["answer"]) == ("failed", None)
    assert path.name in last["error"]
    path.write_bytes(content)
    assert answers(run(config)) == answers(finished)


def test_allowed_failures_are_counted_and_tried_again(
    config: Config, run: Callable[..., Result], world: Path
) -> None:
    config["data"] = {"root": str(world)}
    config["benchmarks"] = [config["benchmarks"][1]]
    path = sorted((world / "images").iterdir())[1]
    content = path.read_bytes()
    path.write_bytes(content[:200])
    result = run(config, "max_failures=1")
    cell = result.cell("tiny", "sgrs", "chair")
    assert (cell["n"], cell["failed"]) == (3, 1)
    assert any("1 sample failed" in warning for warning in result.results["warnings"])
    (failed,) = [r for r in result.records() if r["status"] != "ok" and r["method"] == "sgrs"]
    assert path.name in failed["error"]
    assert failed["answer"] is None
    path.write_bytes(content)
    mended = run(config, "max_failures=1").cell("tiny", "sgrs", "chair")
    assert (mended["n"], mended["failed"]) == (3, 0)


def test_model_output_cannot_leave_its_place_in_the_report(
    config: Config, run: Callable[..., Result]
) -> None:
    config["methods"] = [{"name": "<b>|x</b>", "decoder": "greedy"}]
    config["benchmarks"] = [config["benchmarks"][1]]
    result = run(config)
    assert "<b>" not in (result.folder / "report.html").read_text()
    assert "&lt;b&gt;|x&lt;/b&gt;" in (result.folder / "report.html").read_text()
    assert "<b>" not in (result.folder / "results.md").read_text()


def test_unknown_parts_of_a_result_are_told(finished: Result) -> None:
    with pytest.raises(LvlmsalError, match="it has"):
        finished.cell("tiny", "beam", "chair")
    with pytest.raises(LvlmsalError, match="chair_s"):
        finished.value("tiny", "greedy", "chair", "chairs")
    assert finished.value("tiny", "greedy", "chair", "chair_s") is not None
    assert "CHAIR_S" in str(finished)
