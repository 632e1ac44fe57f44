"""SGRS's frame with a detector for its judge, against the walk written out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.decoders.guide import Guide
from lvlmsal.decoders.sgrs.candidates import ordered_candidates
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.detection.confidence import LogProbability
from lvlmsal.detection.judge import Judge
from lvlmsal.detection.vocabulary import judged_vocabulary
from lvlmsal.errors import UnsupportedError
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import IMAGE, VIDEO, collate, tiny_lvlm, tiny_model, tiny_samples
from lvlmsal.tiny.processors import tiny_processor
from tests import reference
from tests.unit.decoders.guided.by_hand import BEGINS, NumberedWords

F64 = torch.float64
STEPS, BANNED = 16, [0, 1, 2, 3, IMAGE, VIDEO]
CASE: dict[str, Any] = {"k": 4, "max_tries": 2, "temperature": 1.2, "plausibility": 0.02}
THRESHOLD = 0.6


def bound(adapter: ModelAdapter) -> SGRS:
    words: Any = NumberedWords()
    judge = Judge(LogProbability(), None, judged_vocabulary(["not", "used"]))
    sgrs = SGRS(**CASE, judge="log-probability")
    object.__setattr__(sgrs, "_guide", Guide(adapter, judge, words, THRESHOLD))
    return sgrs


@torch.no_grad()
def by_hand(adapter: ModelAdapter, inputs: dict[str, Tensor], name: str) -> tuple[list[int], int]:
    """Tokens, and how many positions had a fallback."""
    answer: list[int] = []
    fallbacks = 0
    length = int(inputs["attention_mask"].sum())
    while len(answer) < STEPS:
        logits = adapter.model(**reference.longer(inputs, answer)).logits[0, -1]
        scores = logits.clone()
        scores[BANNED] = -math.inf
        options = {key: CASE[key] for key in ("k", "temperature", "plausibility")}
        (candidates,) = ordered_candidates(
            scores[None], **options, seed=3, sample_ids=[name], positions=[length + len(answer)]
        )
        chances = logits.softmax(-1)
        taken, best = None, (-1.0, -1)
        for tried, token in enumerate(candidates, start=1):
            half_said = answer and answer[-1] in BEGINS and answer[-1] >= 100 and token >= 150
            judged = token in BEGINS and not half_said
            risk = 1 - float(chances[token]) if judged else math.nan
            if tried <= CASE["max_tries"] and not risk >= THRESHOLD:
                taken = token
                break
            if judged and 1 - risk > best[0]:
                best = (1 - risk, token)
        if taken is None:
            taken, fallbacks = best[1], fallbacks + 1
        answer.append(taken)
    return answer, fallbacks


@pytest.mark.slow
def test_a_batch_is_walked_as_each_sample_by_hand() -> None:
    adapter = adapter_for(tiny_model("llava", layers=4, dtype=F64), tiny_processor("llava"))
    samples = tiny_samples("llava", (1, 2, 0), dtype=F64)
    names = ["a", "b", "c"]
    generative: Any = adapter.model
    output = generative.generate(
        **collate(samples),
        **bound(adapter).generate_kwargs(seed=3, sample_ids=names),
        max_new_tokens=STEPS,
        suppress_tokens=BANNED,
        return_dict_in_generate=True,
    )
    fallbacks = rejected = 0
    for sample, name, ids, records in zip(
        samples, names, output.sequences[:, -STEPS:].tolist(), output.records, strict=True
    ):
        wanted, count = by_hand(adapter, sample.inputs, name)
        assert ids == wanted
        assert sum(record.fallback for record in records) == count
        assert all(record.threshold == pytest.approx(1 - THRESHOLD) for record in records)
        fallbacks += count
        rejected += sum(len(record.rejected) for record in records)
    assert fallbacks > 0
    assert rejected > fallbacks


def test_under_a_judge_records_hold_no_saliency() -> None:
    assert SGRS(judge="default").saliency_options() is None
    assert SGRS().saliency_options() is not None


def test_a_share_needs_a_judge_and_a_judge_a_scaling() -> None:
    with pytest.raises(ValueError, match="share is what a judge rejects"):
        SGRS(share=0.1)
    with pytest.raises(ValueError, match=r"got 1\.5, judge='default'"):
        SGRS(judge="default", share=1.5)
    lvlm = load(tiny_lvlm("llava"))
    with pytest.raises(UnsupportedError, match="no scaling"):
        lvlm.generate([], "What?", decoder=SGRS(judge="log-probability"))
    control = SGRS(judge="log-probability", rejection=False)
    found = lvlm.generate([], "What?", decoder=control, max_new_tokens=3)
    plain = lvlm.generate([], "What?", decoder=SGRS(rejection=False), max_new_tokens=3)
    assert found.token_ids == plain.token_ids
