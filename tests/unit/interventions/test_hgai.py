"""HGAI against a hand-worked row and against attention with loops over heads and scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.interventions.hgai import HGAI
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import TinySample, collate, tiny_inputs, tiny_model, tiny_samples
from tests.tiers import FAMILIES
from tests.unit.interventions.by_hand import Rule, attention_by_hand, decode

pytestmark = pytest.mark.slow

F64 = torch.float64


def context(rows: int, keys: int, spans: list[TokenSpans]) -> AttentionContext:
    """The last rows of a pass over so many keys."""
    columns = torch.arange(keys)
    return AttentionContext(spans, columns[keys - rows :], columns, 0, 1, keys - rows)


def test_rows_by_hand() -> None:
    # Two columns of padding, a visual token, two that predict; the other row is text alone.
    spans = [TokenSpans(2, ((0, 1), (1, 2)), 3, 4), TokenSpans(0, (), 5, 6)]
    scores = torch.tensor([[2.0, -1.0], [0.0, 3.0]])  # two heads, two visual tokens
    scores = torch.cat([torch.full((2, 2), 7.0), scores, torch.full((2, 2), -5.0)], dim=1)
    scores = scores[None, :, None].expand(2, 2, 3, 6)
    edited = HGAI(alpha=0.5).scores(scores, context(3, 6, spans))
    # mean sizes (1, 2): the first row of the pass predicts nothing
    wanted = torch.tensor([[2.5, 0.0], [0.5, 4.0]])
    assert torch.equal(edited[0, :, 1, 2:4], wanted)
    assert torch.equal(edited[0, :, 2, 2:4], wanted)
    assert torch.equal(edited[0, :, 0], scores[0, :, 0])
    assert torch.equal(edited[0, :, :, [0, 1, 4, 5]], scores[0, :, :, [0, 1, 4, 5]])
    assert torch.equal(edited[1], scores[1])


def rule_of(sample: TinySample, width: int, alpha: float, layers: list[int]) -> Rule:
    """The weights of one unpadded sample whose prompt has this width, score by score."""

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        edited = scores.clone()
        heads, rows = scores.shape[1:3]
        for row in range(width - 1, rows if layer in layers else 0):
            for start, end in sample.images:
                for key in range(start, end):
                    size = sum(abs(scores[0, head, row, key].item()) for head in range(heads))
                    for head in range(heads):
                        edited[0, head, row, key] += alpha * size / heads
        return torch.softmax(edited.masked_fill(~visible, -torch.inf), -1)

    return rule


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_loop_over_heads(family: str, use_cache: bool) -> None:
    # in a padded batch of one image, none and two; qwen2_vl has two query heads for a key head
    model, samples = tiny_model(family, dtype=F64), tiny_samples(family, (1, 0, 2), dtype=F64)
    with intervene(model, HGAI(alpha=3.0, layers=[1])):
        tokens, logits = decode(model, collate(samples), use_cache=use_cache)
    plain, _ = decode(model, collate(samples))
    assert not torch.equal(tokens, plain)
    for index, sample in enumerate(samples):
        rule = rule_of(sample, sample.inputs["input_ids"].shape[1], 3.0, [1])
        with attention_by_hand(model, rule):
            wanted, wanted_logits = decode(model, collate([sample]), use_cache=False)
        assert torch.equal(tokens[index], wanted[0])
        torch.testing.assert_close(logits[index], wanted_logits[0], rtol=1e-9, atol=1e-9)


def test_its_model_groups_heads() -> None:
    config: Any = tiny_model("qwen2_vl").config.get_text_config()
    assert config.num_key_value_heads < config.num_attention_heads


def test_edits_act_in_their_order() -> None:
    # LocoRE edits weights and HGAI scores, so neither order changes anything.
    model, batch = tiny_model("llava", dtype=F64), tiny_inputs("llava", (1, 2), dtype=F64)
    both = HGAI(alpha=2.0, layers=None), LocoRE(beta=0.5)
    found = []
    for edits in (both, both[::-1]):
        with intervene(model, *edits):
            found.append(decode(model, batch)[1])
    torch.testing.assert_close(*found)
    for edit in both:
        with intervene(model, edit):
            assert not torch.allclose(decode(model, batch)[1], found[0])


def test_a_text_question_is_left_alone() -> None:
    model, batch = tiny_model("qwen2_vl"), tiny_inputs("qwen2_vl", (0,))
    _, plain = decode(model, batch)
    with intervene(model, HGAI(**HGAI.strong)):
        _, logits = decode(model, batch)
    assert torch.equal(plain, logits)


def test_layers_of_other_depths() -> None:
    found = {depth: sorted(HGAI().bind(depth)._bound or ()) for depth in (2, 4, 8, 28, 32, 40)}
    wanted = {2: (0, 1), 4: (1, 2), 8: (1, 5), 28: (4, 17), 32: (5, 19), 40: (6, 24)}
    assert found == {depth: list(range(*ends)) for depth, ends in wanted.items()}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"alpha": -0.5}, "alpha must be at least 0 (no edit), got -0.5"),
        ({"alpha": math.nan}, "alpha must be at least 0 (no edit), got nan"),
        ({"layers": "middle"}, "layers='middle' is not understood"),
    ],
)
def test_what_is_refused(options: dict[str, object], problem: str) -> None:
    (found,) = INTERVENTIONS.problems("hgai", options)
    assert found.startswith(f"intervention 'hgai': {problem}")
