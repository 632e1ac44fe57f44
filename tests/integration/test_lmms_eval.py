"""The model `lvlmsal` of lmms-eval, run by lmms-eval on a task that this library exports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lvlmsal
from lvlmsal.cli import main
from lvlmsal.data.lmms_export import export_task
from lvlmsal.errors import LvlmsalError, UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.registry import BENCHMARKS, CATALOG

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed")

from lmms_eval.evaluator import simple_evaluate
from lmms_eval.models import get_model_manifest
from lmms_eval.models.simple import llava_hf
from lmms_eval.tasks import TaskManager
from transformers import Idefics3ForConditionalGeneration

from lvlmsal.lmms_eval.models import ChatModel

pytestmark = pytest.mark.slow

POPE, DESCRIBE = "lvlmsal_pope_random", "lvlmsal_chair"
METHOD = 'decoder={"name":"sgrs","alpha":0.9},interventions=locore+vcd'
BASES = {
    "pocket-llava": "llava_hf",
    "pocket-qwen2vl": "qwen2_vl",
    "pocket-idefics3": "llava_hf",
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tasks about two scenes."""
    folder = tmp_path_factory.mktemp("lmms")
    world = write_world(folder / "world", images=2, seed=11, shifted=False)
    for name, options in (("pope", {"split": "random"}), ("chair", {"max_new_tokens": 24})):
        built = BENCHMARKS.build(name, root=str(world), **options)
        export_task(built, options, folder / "tasks")
    return folder / "tasks"


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tasks: Path) -> Run:
    """Runs lmms-eval in this process, and gives its results."""

    def evaluated(model: str, arguments: str, task: str = POPE, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = simple_evaluate(
            model=model,
            model_args=arguments,
            tasks=[task],
            task_manager=TaskManager("ERROR", include_path=str(tasks), model_name=model),
            batch_size=options.pop("batch_size", 1),
            device="cpu",
            log_samples=True,
            bootstrap_iters=0,
            **options,
        )
        return found

    return evaluated


def pocket(name: str) -> str:
    return f"pretrained={CATALOG.get(name).source},device_map=cpu"


def answers(found: dict[str, Any], task: str = POPE) -> list[str]:
    samples = sorted(found["samples"][task], key=lambda sample: sample["doc_id"])
    return [sample["filtered_resps"][0] for sample in samples]


def documents(tasks: Path, task: str) -> list[dict[str, Any]]:
    lines = (tasks / task / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_lmms_eval_finds_it() -> None:
    found = get_model_manifest("lvlmsal")
    assert found.chat_class_path == "lvlmsal.lmms_eval.models.ChatModel"
    assert found.simple_class_path == "lvlmsal.lmms_eval.models.SimpleModel"


@pytest.mark.parametrize("name", BASES)
def test_without_a_method_answers_are_those_of_the_base(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "pocket-qwen2vl":
        pytest.importorskip("torchvision", reason="needs torchvision")
    # No class of lmms-eval 0.7.3 loads an Idefics3 under transformers 5; this one takes its prompts
    # and images as they are.
    monkeypatch.setitem(llava_hf.model_map, "idefics3", Idefics3ForConditionalGeneration)
    base = BASES[name]
    arguments = pocket(name)
    for task in (POPE, DESCRIBE):
        own = answers(run(base, arguments, task), task)
        assert answers(run("lvlmsal", f"{arguments},base={base}", task), task) == own
        assert any(own)


def test_a_method_answers_as_in_this_library(run: Run, tasks: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"
    arguments = f"{pocket('pocket-llava')},base=llava_hf,{METHOD},seed=5,records={path}"
    found = answers(run("lvlmsal", arguments, DESCRIBE), DESCRIBE)
    assert found != answers(run("llava_hf", pocket("pocket-llava"), DESCRIBE), DESCRIBE)
    lvlm = lvlmsal.load("pocket-llava")
    wanted = [
        lvlm.generate(
            doc["images"],
            doc["question"],
            decoder={"name": "sgrs", "alpha": 0.9},
            interventions=["locore", "vcd"],
            max_new_tokens=24,
            seed=5,
            sample_ids=[f"{DESCRIBE}/test/{place}"],
        )
        for place, doc in enumerate(documents(tasks, DESCRIBE))
    ]
    assert found == [answer.text for answer in wanted]
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines.sort(key=lambda line: int(line["doc_id"]))
    assert [line["doc_id"] for line in lines] == list(range(len(wanted)))
    for line, answer in zip(lines, wanted, strict=True):
        assert [token["id"] for token in line["tokens"]] == answer.token_ids
        for token, record in zip(line["tokens"], answer.tokens, strict=True):
            assert token["saliency"] == pytest.approx(record.saliency, rel=1e-4)


def test_batches_of_a_base_answer_as_one_by_one(run: Run) -> None:
    pytest.importorskip("torchvision", reason="needs torchvision")
    arguments = f"{pocket('pocket-qwen2vl')},base=qwen2_vl,{METHOD}"
    alone = answers(run("lvlmsal", arguments))
    assert answers(run("lvlmsal", arguments, batch_size=4)) == alone


def test_a_method_that_fails_ends_the_run_with_its_reason(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(LocoRE, "weights", fails)
    monkeypatch.setattr(LocoRE, "key_gains", fails)
    monkeypatch.setattr(LocoRE, "closed_form", fails)
    arguments = f"{pocket('pocket-llava')},base=llava_hf,interventions=locore"
    with pytest.raises(LvlmsalError, match="ZeroDivisionError: by nothing"):
        run("lvlmsal", arguments)


def test_refusals() -> None:
    method = ChatModel(
        base="llava_hf",
        pretrained=CATALOG.get("pocket-llava").source,
        device_map="cpu",
        device="cpu",
        interventions="locore",
    )
    with pytest.raises(UnsupportedError, match="compares log-likelihoods"):
        method.loglikelihood([])
    method.clean()
    with pytest.raises(LvlmsalError, match="unknown intervention 'locor'"):
        ChatModel(base="llava_hf", interventions="locor")


@pytest.mark.full
def test_two_processes_answer_as_one_and_are_scored_here_alike(
    tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command line, which writes the samples."""
    count_of_all = len(documents(tasks, POPE))
    found = []
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for count in (1, 2):
        folder = tmp_path / str(count)
        records = folder / "tokens.jsonl"
        command = [
            *(*launched, f"--nproc_per_node={count}"),
            *("-m", "lmms_eval", "--model", "lvlmsal", "--tasks", POPE),
            *("--model_args", f"{pocket('pocket-llava')},base=llava_hf,{METHOD},records={records}"),
            *("--include_path", str(tasks), "--device", "cpu", "--batch_size", "1"),
            *("--log_samples", "--output_path", str(folder)),
        ]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        (path,) = folder.rglob("*_samples_*.jsonl")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found.append({line["doc_id"]: line["filtered_resps"] for line in lines})
        kept = [json.loads(line) for p in folder.glob("tokens*.jsonl") for line in p.open()]
        assert sorted(line["doc_id"] for line in kept) == list(range(count_of_all))
        assert len(list(folder.glob("tokens*.jsonl"))) == count
        (path,) = folder.rglob("*_results.json")
        printed = json.loads(path.read_text(encoding="utf-8"))["results"][POPE]
        (samples,) = folder.rglob("*_samples_*.jsonl")
        world = ["--benchmark", "pope", "--root", str(tasks.parent / "world"), "split=random"]
        capsys.readouterr()
        assert main(["score", "log", str(samples), *world, "--json"]) == 0
        scored = json.loads(capsys.readouterr().out)
        for figure in ("accuracy", "recall", "yes_ratio", "n"):
            assert scored[figure] == pytest.approx(printed[f"{figure},none"])
    assert found[0] == found[1]
    assert len(found[0]) == count_of_all
