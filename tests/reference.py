"""Attention and saliency written out from the definitions, sharing no code with the library.

A plain attention function (full n x n softmax, in the dtype of the inputs) is registered with
transformers under a name of its own. It keeps every layer's weights in the graph, so that
``torch.autograd.grad`` gives dL/dA, and it applies LocoRE by a double loop over the positions of
each sample. Saliency references run each sample alone, unpadded and without a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from lvlmsal.testing.tiny import TinySample

NAME = "brute_force_of_the_tests"


@dataclass
class Rule:
    """LocoRE's options, and per sample its padding, where its context begins and the first row
    that is edited (positions)."""

    beta: float
    window: int
    mode: str
    starts: Sequence[int]
    pads: Sequence[int]
    first_rows: Sequence[int]
    layers: Sequence[int] | None = None
    heads: Sequence[int] | None = None

    def gain(self, batch: int, heads: int, columns: int) -> Tensor:
        """gain(q, j) of every sample and head, by a loop over both positions."""
        each = batch // len(self.starts)  # rows of one sample: as many as it has beams
        result = torch.ones(batch, heads, columns, columns, dtype=torch.float64)
        for row in range(batch):
            start, pad = self.starts[row // each], self.pads[row // each]
            for query in range(self.first_rows[row // each], columns - pad):
                for key in range(query):
                    if key >= start and query - key <= self.window:
                        result[row, :, pad + query, pad + key] = 1 + self.beta
        if self.heads is not None:
            untouched = [head for head in range(heads) if head not in self.heads]
            result[:, untouched] = 1
        return result


@dataclass
class Brute:
    """What the attention function is to do, and the weights that it used, layer by layer."""

    rule: Rule | None = None
    weights: dict[int, Tensor] = field(default_factory=dict)


_current: Brute = Brute()


def brute_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention over the whole sequence at once; the query's rows are all of its columns."""
    assert query.shape[2] == key.shape[2], "the reference runs without a cache"
    assert attention_mask is not None
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    scores = query @ key.transpose(2, 3) * scaling
    rule, layer = _current.rule, int(module.layer_idx)
    if rule is not None and rule.layers is not None and layer not in rule.layers:
        rule = None
    if rule is not None:
        gain = rule.gain(query.shape[0], query.shape[1], query.shape[2]).to(scores.dtype)
        if rule.mode == "renormalized":
            scores = scores + gain.log()
        elif rule.mode == "scores":
            scores = scores * gain
    weights = torch.softmax(scores + attention_mask, dim=-1)
    if rule is not None and rule.mode == "weights":
        weights = weights * gain
    _current.weights[layer] = weights
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(NAME, brute_attention)
AttentionMaskInterface.register(NAME, eager_mask)


@contextmanager
def brute_force(model: PreTrainedModel, rule: Rule | None = None) -> Iterator[Brute]:
    """The text decoder of a model on the reference attention."""
    global _current
    before, _current = _current, Brute(rule)
    model.set_attn_implementation({"text_config": NAME})
    try:
        yield _current
    finally:
        _current = before
        model.set_attn_implementation({"text_config": "sdpa"})


def longer(inputs: dict[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
    """The inputs of one sample with text tokens behind them."""
    more = torch.tensor([list(ids)], dtype=torch.long)
    result = dict(inputs)
    result["input_ids"] = torch.cat([inputs["input_ids"], more], dim=1)
    result["attention_mask"] = torch.ones_like(result["input_ids"])
    if "mm_token_type_ids" in inputs:
        result["mm_token_type_ids"] = torch.cat(
            [inputs["mm_token_type_ids"], torch.zeros_like(more)], dim=1
        )
    return result


def context_start(sample: TinySample, context: str) -> int:
    """First position of J, from how the sample was laid out."""
    if context == "output":
        return sample.inputs["input_ids"].shape[1]
    return sample.images[-1][1] if sample.images else 0


def rule_for(
    samples: Sequence[TinySample], context: str, rows: str = "all", **options: Any
) -> Rule:
    """A rule for a left-padded batch of these samples."""
    lengths = [sample.inputs["input_ids"].shape[1] for sample in samples]
    return Rule(
        starts=[context_start(sample, context) for sample in samples],
        pads=[max(lengths) - length for length in lengths],
        first_rows=[{"all": 0, "predicting": length - 1}[rows] for length in lengths],
        **options,
    )


@dataclass
class Judged:
    """Saliency of one answer of one sample: a row of n columns for each layer and token, and S."""

    rows: list[list[Tensor]]
    saliency: list[float | None]


def judge(
    model: PreTrainedModel,
    sample: TinySample,
    answer: Sequence[int],
    *,
    layers: Sequence[int],
    row: str = "predicting",
    norm: str = "row",
    heads: str = "abs_then_sum",
    fusion: str = "product",
    context: str = "after_image",
    summed: bool = False,
    rule: Rule | None = None,
) -> Judged:
    """Eq. 1-6 for every token of an answer: one forward of the whole, one backward a token.

    ``summed`` takes the losses of all tokens together, as Eq. 2 has it.
    """
    prompt = sample.inputs["input_ids"].shape[1]
    start = context_start(sample, context)
    with brute_force(model, rule) as brute, torch.enable_grad():
        logits = model(**longer(sample.inputs, answer)).logits[0]
    kept = [brute.weights[layer] for layer in layers]
    rows: list[list[Tensor]] = []
    values: list[float | None] = []
    losses = []
    for index, token in enumerate(answer):
        logs = torch.log_softmax(logits[prompt + index - (row == "predicting")], dim=-1)
        losses.append(-logs[token] if row == "predicting" else -logs.max())
    for index in range(len(answer)):
        position = prompt + index
        at = position - 1 if row == "predicting" else position
        loss = torch.stack(losses).sum() if summed else losses[index]
        gradients = torch.autograd.grad(loss, kept, retain_graph=True)
        of_token = []
        for weights, gradient in zip(kept, gradients, strict=True):
            attention, slope = weights[0].detach().tril(), gradient[0].tril()
            fused = {
                "product": attention * slope,
                "add": attention + slope.abs(),
                "max": torch.maximum(attention, slope.abs()),
                "attention": attention,
                "gradient": slope,
            }[fusion]
            matrix = fused.abs().sum(0) if heads == "abs_then_sum" else fused.sum(0).abs()
            length = matrix[at].norm() if norm == "row" else matrix.norm()
            of_token.append(matrix[at] / length)
        rows.append(of_token)
        members = range(start, position)
        total = sum(float(of_layer[j]) for of_layer in of_token for j in members)
        values.append(total / (len(of_token) * len(members)) if len(members) else None)
    return Judged(rows, values)
