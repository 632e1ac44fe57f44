"""EAH against a prompt worked out by hand and against loops over heads, rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, AttentionSession, intervene
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.interventions.eah import EAH
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import TinySample, collate, tiny_inputs, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES
from tests.unit.interventions.by_hand import Rule, attention_by_hand, decode
from tests.unit.interventions.siblings import check_blocks_of_sgrs_next_to_locore

pytestmark = pytest.mark.slow

F64 = torch.float64


def edited(eah: EAH, spans: Sequence[TokenSpans], weights: Tensor) -> Tensor:
    """The weights (B, H, q, k) of a whole pass after the edit."""
    columns = torch.arange(weights.shape[2])
    context = AttentionContext(spans, columns, columns, 0, 1, 0, states={id(eah): {}})
    return eah.weights(weights, context)


# T = 5, visual tokens 1 and 2
HEAD_0 = [[1.0], [0.5, 0.5], [0.2, 0.6, 0.2], [0.1, 0.5, 0.3, 0.1], [0.1, 0.4, 0.2, 0.2, 0.1]]
HEAD_1 = [[1.0], [0.9, 0.1], [0.8, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.6, 0.1, 0.1, 0.1, 0.1]]


def square(*heads: list[list[float]], pad: int = 0) -> Tensor:
    """Weights (1, H, n, n); padding sees itself, as a row must see something."""
    size = pad + len(heads[0])
    found = torch.eye(size).expand(len(heads), size, size).clone()
    for head, rows in zip(found, heads, strict=True):
        for place, row in enumerate(rows):
            head[pad + place, pad : pad + len(row)] = torch.tensor(row)
    return found[None]


@pytest.mark.parametrize("pad", [0, 2])
@pytest.mark.parametrize(
    ("beta", "copied"),
    # of head 0: (.6 + .5 + .4) / 3 = .5 and (.3 + .2) / 2 = .25; of head 1: .1 and .1
    [(0.2, True), (0.3, True), (0.49, True), (0.6, False)],
)
def test_a_prompt_by_hand(beta: float, copied: bool, pad: int) -> None:
    spans = [TokenSpans(pad, ((1, 3),), output_start=5, length=5)]
    plain = square(HEAD_1, HEAD_0, pad=pad)
    found = edited(EAH(beta=beta), spans, plain)
    assert torch.equal(found, square(HEAD_0, HEAD_0, pad=pad) if copied else plain)


def test_of_equal_heads_the_first_one_is_copied() -> None:
    spans = [TokenSpans(0, ((1, 3),), output_start=5, length=5)]
    found = edited(EAH(beta=0.05), spans, square(HEAD_1, HEAD_0))
    assert torch.equal(found, square(HEAD_1, HEAD_1))


def test_an_answer_behind_the_prompt_neither_counts_nor_changes() -> None:
    # (.6 + .5) / 2 of head 0 is above .52; with row 4 it would be (.6 + .5 + .4) / 3
    spans = [TokenSpans(0, ((1, 3),), output_start=4, length=5)]
    found = edited(EAH(beta=0.52), spans, square(HEAD_1, HEAD_0))
    assert torch.equal(found[:, :, :4], square(HEAD_0, HEAD_0)[:, :, :4])
    assert torch.equal(found[:, :, 4], square(HEAD_1, HEAD_0)[:, :, 4])


def test_samples_of_a_batch_have_heads_of_their_own() -> None:
    spans = [
        TokenSpans(0, ((1, 3),), 5, 5),
        TokenSpans(0, (), 5, 5),
        TokenSpans(0, ((1, 3),), 5, 5),
    ]
    batch = torch.cat([square(HEAD_0, HEAD_1), square(HEAD_0, HEAD_1), square(HEAD_1, HEAD_0)])
    found = edited(EAH(beta=0.2), spans, batch)
    assert torch.equal(found[0], square(HEAD_0, HEAD_0)[0])
    assert torch.equal(found[1], batch[1])
    assert torch.equal(found[2], square(HEAD_0, HEAD_0)[0])


def test_the_ramp_of_the_code() -> None:
    # 35 tokens, 576 visual ones from column 35 on, 20 more; columns as the code has them
    draw = torch.Generator().manual_seed(1)
    scores = torch.randn(1, 3, 631, 631, generator=draw) * 3
    hidden = ~torch.ones(631, 631).tril().bool()
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    spans = [TokenSpans(0, ((35, 611),), 631, 631)]
    counts = []
    for head in weights[0]:
        sums = (head - head.diag().diag()).sum(0)[36:611]
        counts.append(int((sums / torch.arange(611, 36, -1) > 0.0008).sum()))
    best = counts.index(max(counts))
    assert best > 0  # the code copies head 0 never
    found = edited(EAH(beta=0.0008, divisor="code"), spans, weights)
    assert torch.equal(found[0], weights[0, best].expand(3, -1, -1))
    more = [TokenSpans(0, ((35, 612),), 631, 631)]
    with pytest.raises(UnsupportedError, match="576 visual tokens, and a sample has 577"):
        edited(EAH(divisor="code"), more, weights)


def rule_of(sample: TinySample, width: int, eah: EAH, layers: Sequence[int]) -> Rule:
    """The weights of one unpadded sample whose prompt has this width."""
    image = [key for start, end in sample.images for key in range(start, end)]

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        weights = torch.softmax(scores.masked_fill(~visible, -torch.inf), -1)
        best, most = None, 0
        for head in range(weights.shape[1] if layer in layers else 0):
            sinks = 0
            for key in image:
                rows = [row for row in range(width) if row != key]
                total = sum(weights[0, head, row, key].item() for row in rows)
                sinks += total / max(1, width - 1 - key) > eah.beta
            if sinks > most:
                best, most = head, sinks
        if best is not None:
            weights[0, :, :width] = weights[0, best, :width].clone()
        return weights

    return rule


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_loop_over_columns(family: str, use_cache: bool) -> None:
    # in a padded batch of one image, none and two; qwen2_vl has two query heads for a key head
    model, samples = (
        tiny_model(family, layers=3, dtype=F64),
        tiny_samples(family, (1, 0, 2), dtype=F64),
    )
    eah = EAH(beta=0.06, layers=[0, 1])
    with intervene(model, eah):
        tokens, logits = decode(model, collate(samples), use_cache=use_cache)
    _, plain = decode(model, collate(samples))
    assert not torch.allclose(plain[0], logits[0])
    for index, sample in enumerate(samples):
        rule = rule_of(sample, sample.inputs["input_ids"].shape[1], eah, [0, 1])
        with torch.no_grad(), attention_by_hand(model, rule):
            longer = reference.longer(sample.inputs, tokens[index].tolist())
            wanted = model(**longer).logits[0, -5:-1]
        torch.testing.assert_close(logits[index], wanted, rtol=1e-9, atol=1e-9)


def test_all_heads_of_a_recorded_layer_are_one_and_rows_sum_to_one() -> None:
    model, batch = tiny_model("qwen2_vl"), tiny_inputs("qwen2_vl", (1, 0))
    session = AttentionSession(model, [EAH(beta=0.0)])
    with session, session.record([0, 1], full=True) as recording:
        model(**batch)
    heads = recording.weights[1]
    real = batch["attention_mask"].bool()
    assert torch.equal(heads[0], heads[0, :1].expand_as(heads[0]))
    assert not torch.allclose(heads[1, 0], heads[1, 1])
    torch.testing.assert_close(heads.sum(-1)[:, 0][real], torch.ones(int(real.sum())))


def test_the_choice_is_that_of_the_prompt_under_sgrs_and_next_to_locore() -> None:
    # SGRS runs the last row of the prompt again by itself, where no column can be summed.
    check_blocks_of_sgrs_next_to_locore(EAH(beta=0.05, layers=None))


def test_a_prompt_in_parts_is_refused() -> None:
    eah, columns = EAH(), torch.arange(5)
    spans = [TokenSpans(0, ((1, 3),), output_start=5, length=5)]
    context = AttentionContext(spans, columns[2:], columns, 0, 1, 2, states={id(eah): {}})
    with pytest.raises(UnsupportedError, match="run the prompt as a whole"):
        eah.weights(square(HEAD_0)[:, :, 2:], context)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"beta": -0.1}, "beta must be at least 0 (and below 1 to act), got -0.1"),
        ({"layers": "second"}, "layers='second' is not understood"),
    ],
)
def test_what_is_refused(options: dict[str, object], problem: str) -> None:
    (found,) = INTERVENTIONS.problems("eah", options)
    assert found.startswith(f"intervention 'eah': {problem}")


def test_a_model_of_one_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="'eah': layers='1:2' reaches beyond a model of 1 layers"):
        intervene(tiny_model("llava", layers=1), EAH())
