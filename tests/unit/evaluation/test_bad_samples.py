"""Whatever one sample's image or text does, it alone fails, with its reason."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lvlmsal.benchmarks.base import Sample
from lvlmsal.errors import DataError, LvlmsalError, UnsupportedError, is_out_of_memory
from lvlmsal.evaluation.config.plan import import_plugins
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.evaluation.results.atomic import write_text
from lvlmsal.evaluation.results.records import read_records
from lvlmsal.evaluation.results.writing import RecordWriter
from lvlmsal.evaluation.run.answering import AnswerModule, make_record
from lvlmsal.evaluation.run.guards import interrupts
from lvlmsal.evaluation.run.loading import Batch, OpenedBatches, Task
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.testing.tiny import tiny_lvlm
from lvlmsal.tiny.processors import MARKS
from tests.tiers import FAMILIES, in_full
from tests.unit.evaluation.given import cell_of

pytestmark = pytest.mark.slow

LONE = "half \ud83d of it?"


@functools.cache
def tiny(family: str) -> Lvlm:
    return load(tiny_lvlm(family))


def scene(level: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    columns = np.linspace(0, level, size[0])
    return Image.fromarray(np.tile(columns, (size[1], 1)).astype(np.uint8)).convert("RGB")


def answered(lvlm: Lvlm, rows: list[tuple[Image.Image, str]], *, shared: bool) -> list[Any]:
    samples = [Sample(str(n), (), prompt, "yes", str(n)) for n, (_, prompt) in enumerate(rows)]
    batch = Batch(tuple(Task(cell_of("p", samples), one) for one in samples), shared)
    module = AnswerModule(lvlm, [batch], 8)
    return module.predict_step((0, [[image] for image, _ in rows]))


def bad_rows(family: str) -> dict[str, tuple[Image.Image, str, str]]:
    mark, video = MARKS[family][:2]
    rows = {
        "placeholders": (scene(90), f"{mark} and {mark}?", "1 image but 2 placeholders"),
        "surrogate": (scene(90), LONE, r"lone surrogate \\ud83d at position 5"),
    }
    if hasattr(tiny(family).processor, "video_token"):
        rows["video"] = (scene(90), f"what is {video}?", "of a video in its prompt")
    if family.startswith("qwen"):
        strip = Image.new("RGB", (5, 1093))
        rows["strip"] = (strip, "Is it?", r"sample 0 \(with images of 5 x 1093 pixels\).*ratio")
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_one_bad_sample_leaves_the_others_their_answers(family: str) -> None:
    lvlm = tiny(family)
    good = [(scene(250), "Is it light?"), (scene(30), "Or dark, is it?")]
    wanted = [record["token_ids"] for record in answered(lvlm, good, shared=False)]
    for image, prompt, reason in bad_rows(family).values():
        first, bad, last = answered(lvlm, [good[0], (image, prompt), good[1]], shared=False)
        assert [first["token_ids"], last["token_ids"]] == wanted
        assert (bad["status"], bad["answer"]) == ("failed", None)
        with pytest.raises(DataError, match=reason):
            raise DataError(bad["error"])


@pytest.mark.parametrize("family", in_full(["llava", "qwen2_vl"], but="qwen2_vl"))
def test_questions_about_one_image_fail_one_by_one(family: str) -> None:
    image = scene(200)
    prompts = ["Is it light?", "Is it dark?", "Is it round?"]
    wanted = answered(tiny(family), [(image, prompt) for prompt in prompts], shared=True)
    for bad in (LONE, f"what is {MARKS[family][0] * 2}?"):
        rows = [(image, prompt) for prompt in [*prompts[:2], bad, prompts[2]]]
        records = answered(tiny(family), rows, shared=True)
        assert [r["status"] for r in records] == ["ok", "ok", "failed", "ok"]
        assert [r["token_ids"] for r in records if r["status"] == "ok"] == [
            r["token_ids"] for r in wanted
        ]


def test_generate_ask_and_diagnose_name_what_is_refused() -> None:
    lvlm, strip = tiny("qwen2_vl"), Image.new("RGB", (5, 1093))
    with pytest.raises(DataError, match=r"5 x 1093 pixels.*aspect ratio"):
        lvlm.generate(strip, "Is it?", max_new_tokens=2)
    with pytest.raises(DataError, match=r"sample 1 \(with images of 5 x 1093"):
        lvlm.generate([scene(9), strip, scene(9)], ["a?", "b?", "c?"], max_new_tokens=2)
    with pytest.raises(DataError, match="aspect ratio"):
        lvlm.ask(strip, ["a?", "b?"], max_new_tokens=2)
    with pytest.raises(DataError, match="aspect ratio"):
        lvlm.diagnose(strip, "Is it?", "yes")
    with pytest.raises(DataError, match="the response holds half of a character"):
        lvlm.diagnose(scene(9), "Is it?", LONE)
    with pytest.raises(DataError, match="lone surrogate"):
        lvlm.ask(scene(9), ["a?", LONE], max_new_tokens=2)


def test_what_is_wrong_with_the_setup_is_no_fault_of_a_sample() -> None:
    lvlm = load(tiny_lvlm("llava"))
    lvlm.processor.patch_size = 14  # not that of the model
    with pytest.raises(UnsupportedError, match="Set in the processor"):
        answered(lvlm, [(scene(9), "Is it?")], shared=False)


def test_memory_that_runs_out_in_a_processor_is_told_as_that() -> None:
    class Full:
        """A processor on a machine without memory."""

        def __getattr__(self, name: str) -> Any:
            return getattr(tiny("llava").processor, name)

        def __call__(self, **_: Any) -> Any:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")

    lvlm = load((tiny("llava").model, Full()))
    (record,) = answered(lvlm, [(scene(9), "Is it?")], shared=False)
    assert record["error"].startswith("out of memory: DefaultCPUAllocator")
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(ValueError("out of memory"))


def test_an_image_above_the_limit_of_its_model_fails(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    scene(9, (50, 40)).save(path)
    one = Sample("0", (path,), "Is it?", "yes", "0")
    batch = Batch((Task(cell_of("p", [one]), one),), shared=False)
    assert OpenedBatches([batch], 2000)[0][1][0][0].size == (50, 40)  # type: ignore[union-attr]
    assert "2,000 pixels, and the limit is 1,999" in str(OpenedBatches([batch], 1999)[0][1][0])
    lvlm = load(tiny_lvlm("llava"), max_image_pixels=1999)
    for given in (path, scene(9, (50, 40))):
        with pytest.raises(DataError, match="max_image_pixels=2000"):
            lvlm.generate(given, "Is it?")
    with pytest.raises(DataError, match="max_image_pixels=2000"):
        lvlm.adapter.encode([[path]], ["Is it?"])


def test_half_of_a_surrogate_pair_can_be_written_and_read_again(tmp_path: Path) -> None:
    one = Sample("\ud83d", (), LONE, "yes", "0")
    task = Task(cell_of("p", [one]), one)
    record = make_record(task)
    record |= {"status": "ok", "answer": "\U0001f600 ja"}
    writer = RecordWriter(tmp_path / "records.jsonl")
    writer.write([record])
    writer.close()
    assert read_records(tmp_path / "records.jsonl") == [record]
    assert "\U0001f600" in (tmp_path / "records.jsonl").read_text(encoding="utf-8")
    write_text(tmp_path / "table.md", f"| {LONE} | \U0001f600 |")
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert text == "| half \\ud83d of it? | \U0001f600 |"


class Quiet:
    """A callback that saw no Ctrl+C."""

    interrupted = False


def test_sys_exit_of_a_plugin_is_a_message_and_that_of_a_signal_is_kept() -> None:
    with pytest.raises(LvlmsalError, match=r"called sys\.exit\(3\)"), interrupts(Quiet()):
        raise SystemExit(3)
    with pytest.raises(SystemExit) as ended, interrupts(Quiet()):
        raise SystemExit(143)
    assert ended.value.code == 143


def test_a_module_of_plugins_that_ends_python_is_a_problem_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugin_that_exits.py").write_text("import sys\nsys.exit(4)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (problem,) = import_plugins(["plugin_that_exits"])
    assert problem.endswith("'plugin_that_exits' cannot be imported: it calls sys.exit")


def test_records_of_earlier_versions_keep_their_keys() -> None:
    cell = cell_of("p", [])
    names = {"source", "name", "dtype", "revision", "trust_remote_code", "device_map"}
    assert cell.settings["model"].keys() == names
    raised = replace(cell, model=ModelConfig("tiny", "tiny", max_image_pixels=9))
    chosen = replace(cell, model=ModelConfig("tiny", "tiny", image_backend="pil"))
    assert raised.digest == cell.digest != chosen.digest
