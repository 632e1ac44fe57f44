"""VAF against hand-worked rows and against attention with loops over every score."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.interventions.vaf import VAF
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.registry.catalog import Catalog
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import IMAGE, TinySample, collate, tiny_model, tiny_samples
from tests.tiers import FAMILIES, in_full
from tests.unit.interventions.by_hand import Rule, attention_by_hand, decode

pytestmark = pytest.mark.slow


def whole(spans: list[TokenSpans]) -> AttentionContext:
    """A pass over a whole batch."""
    columns = torch.arange(spans[0].pad + spans[0].length)
    return AttentionContext(spans, columns, columns, layer=0, num_layers=1, first_query_column=0)


def test_rows_by_hand() -> None:
    # One column of padding, a word, two visual tokens, a word, another image, a word that predicts.
    spans = [TokenSpans(pad=1, images=((1, 3), (4, 5)), output_start=6, length=6)]
    row = torch.tensor([7.0, 2.0, 4.0, -4.0, 3.0, 8.0, 1.0])
    edited = VAF(alpha=0.5, beta=0.25).scores(row.expand(1, 2, 7, 7), whole(spans))
    behind = torch.tensor([7.0, 1.5, 6.0, -6.0, 3.0, 12.0, 1.0])
    # Rows of text behind an image: columns 4 and 6. The mask, which comes later, hides the future.
    for column, wanted in enumerate([row, row, row, row, behind, row, behind]):
        assert torch.equal(edited[0, 0, column], wanted)
        assert torch.equal(edited[0, 1, column], wanted)


def test_magnitudes_by_hand() -> None:
    # A negative score of the image rises, one of the system falls.
    spans = [TokenSpans(pad=0, images=((1, 3),), output_start=4, length=4)]
    row = torch.tensor([-2.0, 4.0, -4.0, 1.0])
    edited = VAF(alpha=0.5, beta=0.25, amplify="magnitudes").scores(
        row.expand(1, 1, 4, 4), whole(spans)
    )
    assert torch.equal(edited[0, 0, 3], torch.tensor([-2.5, 6.0, -2.0, 1.0]))


def test_published_command_is_a_factor_on_scores() -> None:
    # LLaVA-1.5 with the prompt of the published code: 35, 576 and then text, at fixed columns.
    spans = [TokenSpans(pad=0, images=((35, 611),), output_start=620, length=620)]
    scores = torch.randn(1, 2, 620, 620, generator=torch.Generator().manual_seed(0))
    wanted = scores.clone()
    wanted[:, :, 611:, 35:611] *= 1.15
    wanted[:, :, 611:, :35] *= 0.95
    edited = VAF(beta=0.05).scores(scores, whole(spans))
    torch.testing.assert_close(edited, wanted, rtol=1e-6, atol=1e-6)


def rule_of(vaf: VAF, ids: list[int], layers: list[int]) -> Rule:
    """The weights of one unpadded sample whose prompt has these ids, score by score."""
    image = [place for place, token in enumerate(ids) if token == IMAGE]

    def weight(score: float, row: int, key: int) -> float:
        if not image or row in image or row < image[0]:
            return score
        size = score if vaf.amplify == "scores" else abs(score)
        if key in image:
            return score + vaf.alpha * size
        return score - vaf.beta * size if key < image[0] else score

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        assert len(scores) == 1
        if layer not in layers:
            return torch.softmax(scores.masked_fill(~visible, -torch.inf), -1)
        weights = torch.zeros_like(scores)
        for head in range(scores.shape[1]):
            for row in range(scores.shape[2]):
                keys = visible[0, 0, row].nonzero().flatten().tolist()
                values = [weight(scores[0, head, row, key].item(), row, key) for key in keys]
                parts = [math.exp(value - max(values)) for value in values]
                weights[0, head, row, keys] = torch.tensor(parts).to(weights) / sum(parts)
        return weights

    return rule


def by_hand(model: Any, sample: TinySample, vaf: VAF, layers: list[int]) -> tuple[Tensor, Tensor]:
    """Tokens and logits of one sample alone, without a cache."""
    batch = collate([sample])
    rule = rule_of(vaf, batch["input_ids"][0].tolist(), layers)
    with attention_by_hand(model, rule):
        return decode(model, batch, use_cache=False)


@pytest.mark.parametrize("amplify", ["scores", "magnitudes"])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_against_loops(family: str, amplify: Any) -> None:
    # With a cache, in one padded batch of one image, none and two.
    model, samples = tiny_model(family), tiny_samples(family, (1, 0, 2))
    vaf = VAF(alpha=8.0, beta=0.5, amplify=amplify, layers=None)
    with intervene(model, vaf):
        tokens, logits = decode(model, collate(samples))
    plain, _ = decode(model, collate(samples))
    assert not torch.equal(tokens, plain)
    for index, sample in enumerate(samples):
        wanted, wanted_logits = by_hand(model, sample, vaf, [0, 1])
        assert torch.equal(tokens[index], wanted[0])
        torch.testing.assert_close(logits[index], wanted_logits[0], rtol=1e-3, atol=1e-3)


def test_only_its_layers() -> None:
    model, samples = tiny_model("llava"), tiny_samples("llava", (1,))
    vaf = VAF(alpha=8.0, beta=0.5, layers=[1])
    with intervene(model, vaf):
        _, logits = decode(model, collate(samples))
    _, wanted = by_hand(model, samples[0], vaf, [1])
    torch.testing.assert_close(logits, wanted, rtol=1e-3, atol=1e-3)


def test_a_text_question_is_left_alone() -> None:
    model, samples = tiny_model("qwen2_vl"), tiny_samples("qwen2_vl", (0,))
    _, plain = decode(model, collate(samples))
    with intervene(model, VAF(**VAF.strong)):
        _, logits = decode(model, collate(samples))
    assert torch.equal(plain, logits)


def test_defaults() -> None:
    assert sorted(VAF().bind(32)._bound or ()) == [9, 10, 11, 12, 13, 14]
    # The published code has the same indices for 40 layers.
    defaults = INTERVENTIONS.defaults("vaf", Catalog().get("llava-1.5-13b"))
    built = INTERVENTIONS.build("vaf", **defaults)
    assert sorted(built.bind(40)._bound or ()) == [9, 10, 11, 12, 13, 14]
    assert INTERVENTIONS.defaults("vaf", Catalog().get("llava-1.5-7b")) == {}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"alpha": -0.1}, "alpha must be at least 0 (no such edit), got -0.1"),
        ({"alpha": math.inf}, "alpha must be at least 0 (no such edit), got inf"),
        ({"beta": 1.5}, "beta must be from 0 (no such edit) to 1, got 1.5"),
        ({"layers": "middle"}, "layers='middle' is not understood"),
    ],
)
def test_what_is_refused(options: dict[str, object], problem: str) -> None:
    (found,) = INTERVENTIONS.problems("vaf", options)
    assert found.startswith(f"intervention 'vaf': {problem}")


def test_an_unknown_way_to_amplify_is_refused() -> None:
    with pytest.raises(ValueError, match="amplify='weights' is unknown"):
        VAF(amplify="weights")  # type: ignore[arg-type]  # which is the test


@pytest.mark.parametrize("family", in_full(["llava", "qwen2_vl"], but="qwen2_vl"))
def test_every_promise_with_magnitudes(family: str) -> None:
    check_intervention(VAF(**{**VAF.strong, "amplify": "magnitudes"}), families=[family])
