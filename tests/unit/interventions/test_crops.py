"""CRoPS against hand cases, and against three plain loops with attention that is written out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.interventions.crops import CRoPS, FewOfAll, ShareOfImage
from lvlmsal.testing.tiny import IMAGE, collate, tiny_model, tiny_samples
from tests import reference
from tests import second_streams as streams
from tests.tiers import FAMILIES
from tests.unit.interventions import by_hand

pytestmark = pytest.mark.slow

F64 = torch.float64


def test_both_amateurs_by_hand() -> None:
    """Token 69 of two words: the weight of the text amateur is exp(.69) - 1, about 1."""
    spans = TokenSpans(pad=0, images=((1, 2),), output_start=3, length=3)
    probs = {"plain": [0.6, 0.4], "text": [0.5, 0.5], "image": [0.8, 0.2]}
    logs = {name: torch.tensor([[each]]).log() for name, each in probs.items()}
    plain = logs.pop("plain")
    adapter = adapter_for(tiny_model("llava"))
    context = LogitsContext(adapter, [spans], 69, None, {}, seconds=logs)
    found = CRoPS(beta=0.0).logits(plain, context).softmax(-1).flatten().tolist()
    weight = math.exp(0.69) - 1
    odds = ((0.6 / 0.4) ** (1 + weight)) ** 2 / (0.8 / 0.2)
    assert found[0] == pytest.approx(odds / (1 + odds), abs=1e-5)
    sure = CRoPS(beta=0.0, sure=0.59).logits(plain, context).softmax(-1)
    assert sure.flatten().tolist() == pytest.approx([0.6, 0.4])


def test_how_many_columns_stay() -> None:
    spans = TokenSpans(pad=0, images=((1, 8),), output_start=10, length=10)
    rows, keys = torch.tensor([9, 9 + 500, 9 + 100_000]), torch.arange(12)
    context = AttentionContext([spans], rows, keys, 0, 2, first_query_column=9)
    seen, count = FewOfAll(2, 10, 30, 0.001).pool(context)
    # 10 + 30 (1 - exp(-.5)) = 21.8
    assert count.tolist() == [[10, 21, 40]]
    assert seen[0, 0].tolist() == 10 * [True] + 2 * [False]
    image, count = ShareOfImage(2, 0.25).pool(context)
    assert image.sum(-1).tolist() == [[7, 7, 7]]
    assert count.tolist() == [[1, 1, 1]], "7 / 4, rounded down"
    assert ShareOfImage(2, 0.0).pool(context)[1].tolist() == [[1, 1, 1]]


def amateur(
    model: PreTrainedModel, inputs: Any, answer: list[int], edit: CRoPS, *, of_image: bool
) -> Tensor:
    """Logits (V,) behind an answer, by one run of everything under the rule."""
    ids = inputs["input_ids"][0].tolist()
    image = [i for i, token in enumerate(ids) if token == IMAGE]
    last = len(ids) - 1
    hidden: dict[int, set[int]] = {}

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        scores = scores.clone()
        if layer >= edit.layer:
            for row in range(scores.shape[2]):
                for column in hidden[max(row, last)]:
                    scores[:, :, row, column] = -1e100
        weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
        if layer == edit.layer - 1:
            for row in range(last, scores.shape[2]):
                shares = weights[0, :, row].mean(0).tolist()
                pool = image if of_image else list(range(row + 1))
                kept = max(1, math.floor(edit.image_share * len(image)))
                if not of_image:
                    grown = 1 - math.exp(-edit.text_rate * (row - last))
                    kept = math.floor(edit.text_kept + edit.text_more * grown)
                hidden[row] = set(sorted(pool, key=lambda column: shares[column])[kept:])
        return weights

    with by_hand.attention_by_hand(model, rule), torch.no_grad():
        logits: Tensor = model(**reference.longer(inputs, answer)).logits
    return logits[0, -1].log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_every_step_is_the_contrast_of_three_runs(family: str, use_cache: bool) -> None:
    edit = CRoPS(rate=0.5, beta=0.0, sure=1.0, layer=2, text_kept=4, text_rate=0.2)
    model = tiny_model(family, layers=3, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    with intervene(model, edit):
        tokens, logits = streams.decode(model, collate(samples), use_cache=use_cache)
    for row, sample in enumerate(samples):
        blind = streams.without_images(sample.inputs)
        for step in range(4):
            answer = tokens[row, :step].tolist()
            seen = streams.following(model, sample.inputs, answer).log_softmax(-1)
            text = amateur(model, blind, answer, edit, of_image=False)
            image = amateur(model, sample.inputs, answer, edit, of_image=True)
            wanted = 2 * (seen + (math.exp(0.5 * step) - 1) * (seen - text)) - image
            assert (seen - image).abs().max() > 1e-3, "the second stream is the first one"
            assert (seen - text).abs().max() > 1e-3, "the second stream is the first one"
            assert streams.close(logits[row, step], wanted), (row, step)


def test_one_amateur_alone() -> None:
    """Without its weight an amateur does not run."""
    model = tiny_model("llava", layers=3)
    batch = collate(tiny_samples("llava", (1,)))
    passes: list[object] = []
    model.register_forward_hook(lambda *_: passes.append(None))
    counts = []
    for options in ({}, {"alpha": 0.0}, {"rate": 0.0}, {"alpha": 0.0, "rate": 0.0}):
        passes.clear()
        with intervene(model, CRoPS(**{"beta": 0.0, "sure": 1.0, **options})):
            streams.decode(model, batch, steps=4)
        counts.append(len(passes))
    assert counts == [12, 8, 8, 4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": -1.0}, "rate must be at least 0, got -1"),
        ({"text_rate": float("nan")}, "text_rate must be at least 0, got nan"),
        ({"sure": 1.5}, r"sure must be from 0 to 1, got 1\.5"),
        ({"image_share": -0.1}, "image_share must be from 0 to 1"),
        ({"text_kept": 0}, "text_kept must be at least 1 and text_more at least 0, got 0 and 30"),
        ({"layer": 0}, "layer must be at least 1"),
    ],
)
def test_options_that_mean_nothing(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CRoPS(**options)
