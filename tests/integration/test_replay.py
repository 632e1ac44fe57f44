"""Replaying a run: the recorded answers, judged as the methods that gave them would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evaluation import Result
from lvlmsal.evaluation.run.replay import replay
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import SaliencyOptions

pytestmark = pytest.mark.slow


def test_every_answer_comes_back_with_its_saliency(finished: Result, tiny: Lvlm) -> None:
    found = list(replay(finished.folder, lvlms={"tiny": tiny}))
    assert [entry.record for entry in found] == finished.records()
    for entry in found:
        assert (entry.model, entry.record["method"]) == ("tiny", entry.method)
        assert entry.sample.id == entry.record["sample_id"]
        assert entry.lvlm is tiny
        assert entry.sample in entry.benchmark.samples()
        assert entry.report.token_ids == entry.record["token_ids"]
        assert entry.report.text == entry.record["answer"]


def test_a_method_that_computes_saliency_is_judged_by_its_own(finished: Result, tiny: Lvlm) -> None:
    ready = {"tiny": tiny}
    for entry in replay(finished.folder, methods=["sgrs"], lvlms=ready):
        assert entry.report.layers == [1]
        # the records were written while decoding, step by step
        recorded = [token["saliency"] for token in entry.record["tokens"]]
        assert entry.report.saliency == pytest.approx(recorded, rel=1e-3, abs=2e-6)
    options = SaliencyOptions(layers=[0], context="output")
    (entry,) = replay(
        finished.folder, methods=["sgrs"], benchmarks=["chair"], limit=1, options=options,
        lvlms=ready,
    )  # fmt: skip
    assert (entry.report.options, entry.report.layers) == (options, [0])
    assert entry.report.saliency[0] is None


def test_interventions_of_the_method_act(
    config: dict[str, object], tiny: Lvlm, tmp_path: Path
) -> None:
    from lvlmsal.evaluation import evaluate

    config["methods"] = [
        {"name": "plain", "decoder": "greedy"},
        {"name": "edited", "decoder": "greedy", "interventions": [{"name": "locore", "beta": 5.0}]},
    ]
    result = evaluate(config, models={"tiny": tiny})
    plain, edited = (
        next(replay(result.folder, methods=[m], benchmarks=["chair"], lvlms={"tiny": tiny}))
        for m in ("plain", "edited")
    )
    ids = edited.report.token_ids
    expected = tiny.diagnose(
        list(edited.sample.images), edited.sample.prompt, ids,
        interventions=[{"name": "locore", "beta": 5.0}],
    )  # fmt: skip
    assert torch.equal(edited.report.rows, expected.rows)
    unedited = tiny.diagnose(list(edited.sample.images), edited.sample.prompt, ids)
    assert not torch.allclose(edited.report.rows, unedited.rows)
    assert torch.equal(
        plain.report.rows,
        tiny.diagnose(
            list(plain.sample.images), plain.sample.prompt, plain.report.token_ids
        ).rows,
    )  # fmt: skip


def test_what_is_not_there_is_named(finished: Result, tiny: Lvlm, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no method 'sgsr'\. Did you mean 'sgrs'\?") as caught:
        replay(finished.folder, methods=["sgsr"], benchmarks=["pope"], lvlms={"tiny": tiny})
    assert "no benchmark 'pope'" in str(caught.value)
    with pytest.raises(DataError, match=r"not a run folder \(no config\.yaml"):
        replay(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    records = (copy / "records.jsonl").read_text().splitlines(keepends=True)
    last = json.loads(records[-1])
    (copy / "records.jsonl").write_text("".join(records[:-1]))
    with pytest.raises(DataError, match=f"to 1 samples, '{last['sample_id']}' among them: type"):
        replay(copy, lvlms={"tiny": tiny})
    # the others are not touched by that
    assert list(replay(copy, benchmarks=[last["benchmark"]], limit=1, lvlms={"tiny": tiny}))


def test_samples_that_failed_are_left_out(finished: Result, tiny: Lvlm, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    records = [json.loads(line) for line in (copy / "records.jsonl").read_text().splitlines()]
    records[0] |= {"status": "failed", "answer": None, "token_ids": []}
    (copy / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    found = replay(copy, lvlms={"tiny": tiny})
    assert [entry.record["key"] for entry in found] == [record["key"] for record in records[1:]]


def test_changed_samples_are_refused(finished: Result, tiny: Lvlm, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    environment = json.loads((copy / "environment.json").read_text())
    environment["data"]["chair"]["samples_digest"] = "of other samples"
    (copy / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(ConfigError, match="the samples of chair have changed"):
        replay(copy, lvlms={"tiny": tiny})
