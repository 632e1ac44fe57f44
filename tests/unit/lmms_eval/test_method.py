"""A method in place of `generate` of a base's model, without lmms-eval."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.decoders.search import Sample
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.lmms_eval.documents import Documents, Place
from lvlmsal.lmms_eval.method import Method, Stopped
from lvlmsal.lmms_eval.options import Options
from lvlmsal.lmms_eval.records import RecordFile
from lvlmsal.testing.tiny import collate, tiny_lvlm, tiny_samples

TASK = {"pope": {"test": ["first", "second"]}}
CHOICE = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None}
LIMIT = {"max_new_tokens": 5, "suppress_tokens": [2], "pad_token_id": 3}


@dataclass(frozen=True)
class Fails(AttentionIntervention):
    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        raise ZeroDivisionError("by nothing")


class Base:
    """What a model of lmms-eval does: looks documents up, then calls generate."""

    def __init__(self, options: Options, records: RecordFile | None = None) -> None:
        self.model: Any
        self.model, processor = tiny_lvlm("llava", dtype=torch.float64)
        self.method = Method(self.model, processor, options)
        self.method.records = records
        self.inputs = collate(tiny_samples("llava", (1, 0), dtype=torch.float64))
        self.answered: Counter[Place] = Counter()

    def ask(self, **options: Any) -> Any:
        self.method.documents = Documents(TASK, self.answered)
        for number in (1, 0):
            self.method.documents["pope"]["test"][number]
        return self.model.generate(**self.inputs, **{**CHOICE, **LIMIT, **options})

    def plain(self, *edits: Any, **options: Any) -> Tensor:
        """By the model's class, in a scope."""
        with intervene(self.model, *edits):
            ids: Tensor = type(self.model).generate(self.model, **self.inputs, **LIMIT, **options)
        return ids


def edits(*names: str) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"name": name, "beta": 1.0} if name == "locore" else {"name": name} for name in names
    )


def test_interventions_act_and_the_task_chooses_how_tokens_are() -> None:
    base = Base(Options("x", interventions=edits("locore")))
    assert torch.equal(base.ask(), base.plain(LocoRE(beta=1.0), do_sample=False))
    wanted = base.plain(LocoRE(beta=1.0), do_sample=False, num_beams=3)
    assert torch.equal(base.ask(num_beams=3), wanted)


def test_a_decoder_stands_in_place_of_what_the_task_says_and_says_so_once() -> None:
    base = Base(Options("x", decoder={"name": "sgrs", "alpha": 1.2}, seed=3))
    names = ["pope/test/1", "pope/test/0"]
    wanted = base.plain(**SGRS(alpha=1.2).generate_kwargs(seed=3, sample_ids=names))
    with pytest.warns(UserWarning, match="do_sample=True and num_beams=2; the decoder 'sgrs'"):
        found = base.ask(do_sample=True, num_beams=2, temperature=0.5)
    assert torch.equal(found, wanted)
    base.answered.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(base.ask(do_sample=True), wanted)


def test_the_second_answer_to_a_document_draws_other_numbers() -> None:
    base = Base(Options("x", decoder={"name": "sample"}))
    first, second = base.ask(), base.ask()
    names = ["pope/test/1#1", "pope/test/0#1"]
    assert torch.equal(second, base.plain(**Sample().generate_kwargs(sample_ids=names)))
    assert not torch.equal(first, second)


def test_records_have_a_line_for_each_document(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokens.jsonl"
    base = Base(Options("x", decoder={"name": "sgrs"}), RecordFile(path, 0))
    output = base.ask(return_dict_in_generate=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["task"], line["split"], line["doc_id"]) for line in lines] == [
        ("pope", "test", 1),
        ("pope", "test", 0),
    ]
    start = base.inputs["input_ids"].shape[1]
    for line, row in zip(lines, output.sequences[:, start:].tolist(), strict=True):
        assert [token["id"] for token in line["tokens"]] == row
        assert line["answer"] == base.method.adapter.decode(row)
    assert [t.saliency for t in output.records[0]][1:] == pytest.approx(
        [token["saliency"] for token in lines[0]["tokens"]][1:]
    )
    with pytest.raises(DataError, match="is there already"):
        RecordFile(path, 0)
    assert RecordFile(path, 1).path.name == "tokens.rank1.jsonl"


def test_records_of_greedy_search_end_with_the_answer(tmp_path: Path) -> None:
    base = Base(Options("x", decoder={"name": "greedy"}), RecordFile(tmp_path / "a.jsonl", 0))
    free = base.ask()[:, base.inputs["input_ids"].shape[1] :].tolist()
    base.model.generation_config.eos_token_id = end = free[0][1]
    base.ask()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()][2:]
    for line, row in zip(lines, free, strict=True):
        cut = row[: row.index(end) + 1] if end in row else row
        assert [token["id"] for token in line["tokens"]] == cut


def test_the_first_failure_ends_everything_and_is_remembered() -> None:
    base = Base(Options("x", interventions=edits("locore")))
    base.method.edits = [Fails()]
    with pytest.raises(Stopped) as caught:
        base.ask()
    assert isinstance(base.method.failure, ZeroDivisionError)
    assert caught.value.error is base.method.failure
    assert not isinstance(caught.value, Exception)  # `except Exception` of a base does not get it


def test_what_does_not_go_together_is_refused_before_anything_runs() -> None:
    with pytest.raises(UnsupportedError, match="second stream each"):
        Base(Options("x", interventions=edits("vcd", "icd")))


def test_a_base_that_hands_over_no_ids_is_refused() -> None:
    base = Base(Options("x", decoder={"name": "greedy"}))
    with pytest.raises(Stopped) as caught:
        base.model.generate(inputs_embeds=torch.zeros(1, 2, 32))
    assert "without input_ids" in str(caught.value.error)
