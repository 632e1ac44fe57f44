"""Benchmarks as tasks of lmms-eval, and its samples scored here."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from PIL import Image

from lvlmsal.cli import main
from lvlmsal.data.lmms_export import export_task
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.registry import BENCHMARKS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("w") / "world", images=3, seed=2, shifted=False)


def parsed(folder: Path) -> tuple[dict[str, Any], ModuleType, list[dict[str, Any]]]:
    """The YAML file with the names of its functions, utils.py, and the documents."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: f"!{node.value}")
    (path,) = folder.glob("*.yaml")
    content = yaml.load(path.read_text(), Loader)
    spec = importlib.util.spec_from_file_location("exported_utils", folder / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    documents = (folder / content["dataset_kwargs"]["data_files"]["test"]).read_text()
    return content, module, [json.loads(line) for line in documents.splitlines()]


@pytest.mark.parametrize(
    ("name", "options"),
    [("pope", {"split": "popular"}), ("chair", {}), ("mme", {}), ("amber", {"variant": "words"})],
)
def test_a_task_asks_and_scores_what_the_benchmark_does(
    name: str, options: dict[str, Any], world: Path, tmp_path: Path
) -> None:
    benchmark = BENCHMARKS.build(name, root=str(world), **options)
    samples = benchmark.samples()
    content, utils, documents = parsed(export_task(benchmark, options, tmp_path / "tasks"))
    assert [doc["id"] for doc in documents] == [sample.id for sample in samples]
    assert [utils.question(doc, {}) for doc in documents] == [s.prompt for s in samples]
    assert content["generation_kwargs"]["max_new_tokens"] == benchmark.max_new_tokens
    for doc, sample in zip(documents[:2], samples[:2], strict=True):
        shown = utils.pictures(doc)
        stored = [Image.open(path).convert("RGB").tobytes() for path in sample.images]
        assert [picture.tobytes() for picture in shown] == stored
    answers = ["Yes, there is a red star." if k % 3 else "No." for k in range(len(samples))]
    kept = [utils.results(doc, [text]) for doc, text in zip(documents, answers, strict=True)]
    metric = benchmark.metric()
    wanted = metric.score(answers, [sample.target for sample in samples])
    for entry, figure in zip(content["metric_list"], metric.figure_info, strict=True):
        written = figure.replace("/", "_")
        assert entry["metric"] == written
        assert entry["aggregation"] == f"!utils.{written}"
        found = getattr(utils, written)([each[written] for each in kept])
        assert found == pytest.approx(float(wanted[figure]), nan_ok=True)
    for function in ("doc_to_visual", "doc_to_text", "doc_to_target", "process_results"):
        assert hasattr(utils, content[function].removeprefix("!utils."))


def test_the_commands_export_and_score(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tmp_path / "tasks"
    command = ["data", "export", "pope", "split=random", "--format", "lmms-eval"]
    main([*command, "--from", str(world), "--root", str(tasks)])
    _, utils, documents = parsed(tasks / "lvlmsal_pope_random")
    capsys.readouterr()
    # what lmms-eval writes of answers to them, in another order
    answers = ["Yes." if k % 4 else "Surely not" for k in range(len(documents))]
    log = tmp_path / "x_samples_lvlmsal_pope_random.jsonl"
    lines = [
        {"doc_id": place, "filtered_resps": [text], "input": doc["question"]}
        for place, (doc, text) in enumerate(zip(documents, answers, strict=True))
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    asked = ["--benchmark", "pope", "--root", str(world), "split=random", "--json"]
    main(["score", "log", str(log), *asked])
    found = json.loads(capsys.readouterr().out)
    kept = [utils.results(doc, [text]) for doc, text in zip(documents, answers, strict=True)]
    for figure in ("accuracy", "precision", "recall", "yes_ratio", "unparsed", "n"):
        assert found[figure] == pytest.approx(getattr(utils, figure)([k[figure] for k in kept]))
    assert 0 < found["intervals"]["accuracy"]["low"] < found["accuracy"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], "1 of {n} samples have no answer"),
        (lambda lines: [*lines, lines[0]], "occurs a second time"),
        (lambda lines: [*lines[:-1], {**lines[-1], "doc_id": 999}], "unknown place: 999"),
        (lambda lines: [{**lines[0], "input": "Why?"}, *lines[1:]], "is it the same benchmark"),
    ],
)
def test_logs_that_do_not_fit(
    change: Any, told: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = BENCHMARKS.build("pope", root=str(world)).samples()
    lines = [
        {"doc_id": place, "filtered_resps": "Yes", "input": sample.prompt}
        for place, sample in enumerate(samples)
    ]
    log = tmp_path / "a.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))
    assert main(["score", "log", str(log), "--benchmark", "pope", "--root", str(world)]) == 2
    assert told.format(n=len(samples)) in capsys.readouterr().err


def test_a_key_of_the_log_may_be_the_id(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = BENCHMARKS.build("pope", root=str(world)).samples()
    rows = [
        {"index": sample.id, "prediction": sample.target, "question": sample.prompt}
        for sample in reversed(samples)
    ]
    log = tmp_path / "model_POPE.json"
    log.write_text(json.dumps(rows))
    command = ["score", "log", str(log), "--tool", "vlmevalkit", "--benchmark", "pope"]
    main([*command, "--root", str(world), "--key", "index", "--json"])
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1


def test_what_is_no_task_is_refused(world: Path, tmp_path: Path) -> None:
    benchmark = BENCHMARKS.build("pope", root=str(world))
    export_task(benchmark, {}, tmp_path / "tasks")
    with pytest.raises(DataError, match="is there already"):
        export_task(benchmark, {}, tmp_path / "tasks")
    with pytest.raises(UnsupportedError, match="judged by a model"):
        export_task(BENCHMARKS.build("mm-vet", root=str(world)), {}, tmp_path / "tasks")
    assert (
        main(["data", "export", "pope", "--format", "lmms-eval", "--root", str(tmp_path / "x")])
        == 2
    )
    assert main(["data", "export", "pope", "--root", str(tmp_path / "x")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["tasks"]
