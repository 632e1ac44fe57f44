"""A run is what it says: other data are refused, notes stay, half a run is called so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.comparisons.comparing import compare
from lvlmsal.errors import ConfigError, DataError, LvlmsalError
from lvlmsal.evaluation import Result, evaluate, score
from lvlmsal.evaluation.run import environment
from lvlmsal.evaluation.run import evaluate as running
from tests.run_folders import cut, notes_of, repaint, without_costs

pytestmark = pytest.mark.slow

Config = dict[str, Any]
Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("keep", [7, None])
def test_an_image_that_was_replaced_is_named_and_refused(
    config: Config, answer: Callable[..., Result], world: Path, copied: Path, keep: int | None
) -> None:
    """Whether something is left to answer or not."""
    config["data"] = {"root": str(world)}
    if keep is not None:
        cut(copied, keep)
    before = notes_of(copied)
    last = sorted((world / "images").iterdir())[-1]
    repaint(last)
    with pytest.raises(ConfigError) as caught:
        answer(config)
    text = str(caught.value)
    assert f"1 images of chair have changed, images/{last.name} is the first of them" in text
    assert "put back what was there, or choose another folder with output=..." in text
    assert notes_of(copied) == before


def test_an_image_that_is_gone_is_named_also_where_all_is_answered(
    config: Config, answer: Callable[..., Result], world: Path, copied: Path
) -> None:
    config["data"] = {"root": str(world)}
    gone = sorted((world / "images").iterdir())[0]
    gone.unlink()
    with pytest.raises(ConfigError, match=gone.name):
        answer(config)


def test_a_changed_question_is_named_with_its_file(
    config: Config, answer: Callable[..., Result], world: Path, copied: Path
) -> None:
    config["data"] = {"root": str(world)}
    path = world / "pope/scene_pope_random.json"
    path.write_text(path.read_text().replace('"yes"', '"no"', 1))
    before = notes_of(copied)
    with pytest.raises(ConfigError) as caught:
        answer(config)
    first = without_costs(copied)[0]["sample_id"]
    assert "pope/random have changed: pope/scene_pope_random.json is not what it" in str(
        caught.value
    )
    assert f"sample {first!r} differs first" in str(caught.value)
    assert notes_of(copied) == before


def test_a_repaired_image_is_added_to_what_was_noted(
    config: Config, answer: Callable[..., Result], world: Path
) -> None:
    config["data"] = {"root": str(world)}
    path = sorted((world / "images").iterdir())[-1]
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    folder = answer(config, "max_failures=9").folder
    manifest = folder / "samples/chair.jsonl"
    before = manifest.read_text()
    path.write_bytes(whole)
    answer(config)
    added = manifest.read_text().removeprefix(before).splitlines()
    assert manifest.read_text().startswith(before)
    assert [path.name in line for line in added] == [True]
    assert answer(config).unfinished is None
    # now that it is answered, it is what the run was made with
    repaint(path)
    with pytest.raises(ConfigError, match=f"images/{path.name} is the first of them"):
        answer(config)


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "the weights of tiny have changed since the run began: model.safet"),
        ("generation_config.json", "the files of tiny have changed since the run began: generat"),
        ("tokenizer_config.json", "the files of tiny have changed since the run began: tokenize"),
    ],
)
def test_a_checkpoint_that_was_replaced_is_refused(
    config: Config, tiny_folder: Path, tmp_path: Path, stopped: bool, name: str, message: str
) -> None:
    checkpoint = shutil.copytree(tiny_folder, tmp_path / "checkpoint")
    config["models"] = [{"source": str(checkpoint), "name": "tiny"}]
    config["methods"] = ["greedy"]
    folder = evaluate(config).folder
    if stopped:
        cut(folder, 2)
    before = notes_of(folder)
    content = bytearray((checkpoint / name).read_bytes())
    if name.endswith(".json"):
        content += b"\n"
    else:
        content[-1] ^= 1  # the last weight
    (checkpoint / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        evaluate(config)
    assert message in str(caught.value)
    assert notes_of(folder) == before


def test_other_versions_are_added_to_what_was_noted(
    config: Config,
    answer: Callable[..., Result],
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def noted() -> dict[str, Any]:
        return dict(json.loads((copied / "environment.json").read_text()))

    before, version = noted(), environment._version
    assert "continued" not in before
    monkeypatch.setattr(environment, "_version", lambda n: "9.9" if n == "torch" else version(n))
    answer(config)
    # nothing was left to answer with that version
    assert noted() == before
    changed = {"answers": 2, "changed": {"packages": {"torch": "9.9"}}}
    for _ in range(2):
        cut(copied, 2)
        answer(config)
        assert noted() == {**before, "continued": [changed]}
    monkeypatch.undo()
    cut(copied, 3)
    answer(config)
    back = {"answers": 3, "changed": {"packages": {"torch": before["packages"]["torch"]}}}
    assert noted() == {**before, "continued": [changed, back]}


def test_a_folder_without_a_record_takes_any_config(
    config: Config,
    answer: Callable[..., Result],
    finished: Result,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a load that failed: everything but the records was written."""

    def fail(*_: Any) -> None:
        raise LvlmsalError("cannot be loaded")

    monkeypatch.setattr(running, "load_model", fail)
    wrong = {**config, "methods": ["beam"], "benchmarks": [{"name": "pope", "subset_seed": 1}]}
    with pytest.raises(LvlmsalError, match="cannot be loaded"):
        answer(wrong, "benchmarks.pope.limit=2")
    folder = Path(config["output"])
    assert (folder / "environment.json").is_file()
    assert not (folder / "records.jsonl").exists()
    monkeypatch.undo()
    # not even what a stopped write has left is a record
    (folder / "records.jsonl").write_text('{"key": "')
    answer(config, "resume=false")
    assert without_costs(folder) == without_costs(finished.folder)
    for name in ("samples", "subsets"):
        mine, other = (
            [p.name for p in sorted((f / name).rglob("*"))] for f in (folder, finished.folder)
        )
        assert mine == other
    found, right = (
        json.loads((f / "environment.json").read_text()) for f in (folder, finished.folder)
    )
    assert found["cells"] == right["cells"]
    # from here on it belongs to that config
    with pytest.raises(ConfigError, match="holds a run of another config"):
        answer(wrong, "benchmarks.pope.limit=2")


def spread(folder: Path, keep: int) -> None:
    """Keep so many records, those of every second sample in the file of another process."""
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)[:keep]
    (folder / "records.jsonl").write_text("".join(lines[::2]))
    (folder / "records.rank1.jsonl").write_text("".join(lines[1::2]))


@pytest.mark.parametrize("parts", [False, True])
def test_half_a_run_is_called_so_wherever_its_figures_stand(
    config: Config,
    answer: Callable[..., Result],
    run: Cli,
    copied: Path,
    finished: Result,
    parts: bool,
) -> None:
    total = len(finished.records())
    (spread if parts else cut)(copied, 4)
    code, output, _ = run("score", copied)
    said = f"unfinished: 4 of {total} answers; lacking are tiny with "
    assert code == 1
    assert said in " ".join(output.split())
    results = json.loads((copied / "results.json").read_text())
    unfinished = results["unfinished"]
    assert (unfinished["answers"], unfinished["expected"]) == (4, total)
    lacking = {(c["method"], c["benchmark"]): c["answers"] for c in unfinished["cells"]}
    assert ("sgrs", "chair") in lacking
    assert lacking["sgrs", "chair"] == 0
    assert said in (copied / "results.md").read_text()
    assert said in (copied / "report.html").read_text()
    assert run("score", copied, "--json")[0] == 1
    assert score(copied).unfinished == unfinished
    code, output, errors = run("compare", copied, "--method", "greedy", "--format", "md")
    assert code == 1
    assert said in output
    assert said in errors
    assert compare([copied], methods=["greedy"]).to_dict()["unfinished"]
    answer(config)
    assert json.loads((copied / "results.json").read_text())["unfinished"] is None
    code, output, _ = run("score", copied)
    assert code == 0
    assert "unfinished" not in output
    assert run("compare", copied, "--method", "greedy")[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: {**r, "key": r["key"] + "9", "sample_id": r["sample_id"] + "9"},
            "has no sample",
        ),
        (lambda r: {**r, "answer": r["answer"] + "!"}, "holds another record of"),
        (lambda r: {**r, "benchmark": 3}, "benchmark must be a text, got 3"),
        (lambda r: {**r, "model": "other"}, "its model is 'other', and its key belongs to 'tiny'"),
    ],
)
@pytest.mark.parametrize("name", ["records.jsonl", "records.rank1.jsonl"])
def test_a_line_that_does_not_belong_is_named_when_answering_and_when_scoring(
    config: Config,
    answer: Callable[..., Result],
    run: Cli,
    copied: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    message: str,
    name: str,
) -> None:
    lines = (copied / "records.jsonl").read_text().splitlines()
    if name == "records.jsonl":
        where, number = copied / name, len(lines) + 1
    else:
        where, number = copied / name, 1
    with where.open("a") as file:
        file.write(json.dumps(change(json.loads(lines[0]))) + "\n")
    if "model is" in message:
        # in place of the right one, which would be doubled
        (copied / "records.jsonl").write_text("".join(f"{line}\n" for line in lines[1:]))
        if name == "records.jsonl":
            with where.open("a") as file:
                file.write(json.dumps(change(json.loads(lines[0]))) + "\n")
            number -= 1
    code, _, errors = run("score", copied)
    assert code == 2
    assert f"{where}:{number}: " in errors
    assert message in errors
    with pytest.raises(DataError) as caught:
        answer(config)
    assert f"{where}:{number}: " in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["data"].update(chair=3), "data.chair must be an object, got 3"),
        (lambda e: e["data"]["chair"].pop("samples"), "data.chair has no samples"),
        (lambda e: e["data"]["chair"].update(samples="3"), "samples must be a number, got '3'"),
        (lambda e: e["data"].pop("chair"), "data has no chair"),
        (lambda e: e["models"].update(tiny=[]), "models.tiny must be an object, got []"),
        (lambda e: next(iter(e["cells"].values())).update(seed=[0]), "seed must be a number"),
        (lambda e: next(iter(e["cells"].values())).update(decoder=["greedy"]), "must be an object"),
        (lambda e: e.update(continued={}), "continued must be a list, got {}"),
    ],
)
def test_an_environment_of_other_types_is_told_with_the_place(
    run: Cli, copied: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = copied / "environment.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    code, _, errors = run("score", copied)
    assert code == 2
    assert f"{path}: is damaged: " in errors
    assert message in errors


def test_a_damaged_manifest_is_told_with_its_line(
    config: Config, answer: Callable[..., Result], run: Cli, copied: Path
) -> None:
    path = copied / "samples/chair.jsonl"
    path.write_text(path.read_text() + '{"id": 3}\n')
    number = len(path.read_text().splitlines())
    assert f"{path}:{number}: is damaged: id must be a text, got 3" in run("score", copied)[2]
    with pytest.raises(DataError, match="is damaged: id must be a text"):
        answer(config)
