"""Guided beams against transformers' beam search with penalties worked out pass by pass."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lvlmsal.adapters import ModelAdapter
from lvlmsal.decoders.guided import GuidedBeam
from lvlmsal.detection.early_lens import EarlyLens
from lvlmsal.detection.judge import Judge
from lvlmsal.detection.vocabulary import Writing, judged_vocabulary
from lvlmsal.errors import UnsupportedError
from lvlmsal.testing.tiny import collate, tiny_samples
from tests import reference
from tests.tiers import FAMILIES
from tests.unit.decoders.guided.by_hand import NumberedWords, risk_at
from tests.unit.decoders.guided.test_guided import BANNED, F64, SCALING, Numbered, loaded, risk

STEPS, BEAMS = 10, 3


class Penalties(LogitsProcessor):
    """log(1 - risk) for the six most probable tokens of each beam that begin a judged word."""

    def __init__(self, adapter: ModelAdapter, inputs: dict[str, Tensor]) -> None:
        self.adapter, self.inputs, self.count = adapter, inputs, 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        changed = scores.clone()
        start = self.inputs["input_ids"].shape[1]
        words = NumberedWords()
        for row, ids in enumerate(input_ids.tolist()):
            said = ids[start:]
            output = self.adapter.model(
                **reference.longer(self.inputs, said), output_hidden_states=True
            )
            for token in scores[row].argsort(descending=True)[: 2 * BEAMS].tolist():
                if words.step(words_after(said), token).begins:
                    found = risk_at(self.adapter, output, [0, 1], risk, start - 1, len(said), token)
                    changed[row, token] += math.log(1 - found)
                    self.count += 1
        return changed


def words_after(said: list[int]) -> Writing:
    words, writing = NumberedWords(), Writing()
    for token in said:
        writing = words.step(writing, token).writing
    return writing


def bound(adapter: ModelAdapter) -> GuidedBeam:
    words: Any = NumberedWords()
    judge = Judge(EarlyLens(), SCALING, judged_vocabulary(["not", "used"]))
    beam = GuidedBeam(num_beams=BEAMS)
    object.__setattr__(beam, "_guide", Numbered(adapter, judge, words, 1.0))
    return beam


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_batch_is_searched_as_each_sample_by_hand(family: str) -> None:
    adapter = loaded(family)
    generative: Any = adapter.model
    samples = tiny_samples(family, (1, 0), dtype=F64)
    how: dict[str, Any] = {"max_new_tokens": STEPS, "suppress_tokens": BANNED}
    kwargs = bound(adapter).generate_kwargs()
    found = generative.generate(**collate(samples), **how, **kwargs)[:, -STEPS:]
    changed = 0
    for sample, ids in zip(samples, found.tolist(), strict=True):
        penalties = Penalties(adapter, sample.inputs)
        search = {"do_sample": False, "num_beams": BEAMS}
        processors = LogitsProcessorList([penalties])
        wanted = generative.generate(**sample.inputs, **how, **search, logits_processor=processors)
        assert ids == wanted[0, -STEPS:].tolist()
        plain = generative.generate(**sample.inputs, **how, **search)
        changed += ids != plain[0, -STEPS:].tolist()
        assert penalties.count > 0
    assert changed > 0


def test_beams_do_not_stream() -> None:
    adapter = loaded("llava")
    listener: Any = type("Listener", (), {"put": lambda *_: None, "end": lambda *_: None})()
    with pytest.raises(UnsupportedError, match="cannot stream"):
        bound(adapter).generate_kwargs(streamer=listener)
    generative: Any = adapter.model
    inputs = tiny_samples("llava", (0,), dtype=F64)[0].inputs
    with pytest.raises((UnsupportedError, ValueError), match="stream"):
        generative.generate(**inputs, **bound(adapter).generate_kwargs(), streamer=listener)
