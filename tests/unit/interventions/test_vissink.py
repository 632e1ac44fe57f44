"""VisSink against loops over heads, rows and tokens that share no code with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.sinks import Sinks
from lvlmsal.interventions.vissink import VisSink
from lvlmsal.spans import TokenSpans
from lvlmsal.testing.tiny import IMAGE, TINY, VIDEO, TinySample, collate, tiny_model, tiny_samples
from tests import reference

F64 = torch.float64
STRONG = VisSink(tau=1.5, image_mass=0.1, sink_share=0.9, keep=0.25, dims=[0, 1, 2], layers=None)
MODES = {
    "strong": STRONG,
    "mass": VisSink(tau=1.5, image_mass=0.4, sink_share=0.9, keep=0.0, dims=[3, 7], layers=None),
    "share": VisSink(
        tau=1.2, image_mass=0.0, sink_share=0.3, keep=0.5, dims=[0, 1, 2], layers="1:"
    ),
    "paper's layers": VisSink(tau=1.5, image_mass=0.1, sink_share=0.9, keep=0.0, dims=[0, 5]),
}


@dataclass
class Brute:
    """One unpadded sample, run at once; what it found is kept."""

    vissink: VisSink
    images: Sequence[tuple[int, int]]
    length: int  # of the prompt
    layers: Sequence[int]
    entering: dict[int, Tensor] = field(default_factory=dict)
    sinks: dict[int, set[int]] = field(default_factory=dict)
    edited: set[tuple[int, int, int]] = field(default_factory=set)

    def note(self, layer: int, states: Tensor) -> None:
        """The sinks, token by token."""
        found = set()
        for token in range(self.length):
            x = [float(value) for value in states[token]]
            root = (sum(value**2 for value in x) / len(x) + 1e-6) ** 0.5
            assert self.vissink.dims is not None
            if max(abs(x[c]) for c in self.vissink.dims) / root >= self.vissink.tau:
                found.add(token)
        self.sinks[layer] = found

    def redistribute(self, weights: Tensor, layer: int) -> Tensor:
        """Weights (H, n, n), row by row, from the definition."""
        image = {t for start, end in self.images for t in range(start, end)}
        sinks = self.sinks[layer]
        visual, rest = sinks & image, image - sinks
        if not visual or layer not in self.layers:
            return weights
        edited, method = weights.clone(), self.vissink
        for head in range(weights.shape[0]):
            for row in range(self.images[-1][1], weights.shape[1]):
                a = weights[head, row]
                mass = float(sum(a[t] for t in image))
                on_sinks = float(sum(a[t] for t in visual))
                on_rest = float(sum(a[t] for t in rest))
                if mass < method.image_mass or on_sinks > method.sink_share * mass or not on_rest:
                    continue
                taken = (1 - method.keep) * float(sum(a[t] for t in sinks))
                for t in sinks:
                    edited[head, row, t] = method.keep * a[t]
                for t in rest:
                    edited[head, row, t] = a[t] + taken * a[t] / on_rest
                self.edited.add((layer, head, row))
        return edited


_current: list[Brute] = []


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    assert attention_mask is not None
    weights = torch.softmax(query @ key.transpose(2, 3) * scaling + attention_mask, dim=-1)
    weights = _current[-1].redistribute(weights[0], int(module.layer_idx))[None]
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register("vissink_of_the_tests", _attention)
AttentionMaskInterface.register("vissink_of_the_tests", eager_mask)


@contextmanager
def brute_force(model: PreTrainedModel, brute: Brute) -> Iterator[None]:
    layers = model.get_decoder().layers

    def note(layer: int) -> Any:
        return lambda module, args: brute.note(layer, args[0][0])

    hooks = [module.register_forward_pre_hook(note(i)) for i, module in enumerate(layers)]
    model.set_attn_implementation({"text_config": "vissink_of_the_tests"})
    _current.append(brute)
    try:
        yield
    finally:
        _current.pop()
        model.set_attn_implementation({"text_config": "sdpa"})
        for hook in hooks:
            hook.remove()


def brute_logits(
    model: PreTrainedModel, sample: TinySample, answer: list[int], vissink: VisSink
) -> tuple[Tensor, Brute]:
    """Logits that predict each token of an answer, (T, V), from one pass over all of it."""
    depth, length = len(model.get_decoder().layers), sample.inputs["input_ids"].shape[1]
    layers = {None: range(depth), "1:": range(1, depth), "2:-1": range(2, depth - 1)}
    brute = Brute(vissink, sample.images, length, layers[vissink.layers])
    with torch.no_grad(), brute_force(model, brute):
        logits = model(**reference.longer(sample.inputs, answer)).logits[0]
    return logits[length - 1 : length - 1 + len(answer)], brute


def decode(
    model: PreTrainedModel, batch: dict[str, Tensor], steps: int = 4, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """New tokens (B, T) and the logits that chose them (B, T, V)."""
    logits: list[Tensor] = []
    hook = model.register_forward_hook(lambda *call: logits.append(call[2].logits[:, -1]))
    plain = {"max_new_tokens": steps, "do_sample": False, "suppress_tokens": [2, IMAGE, VIDEO]}
    try:
        ids = model.generate(**batch, **plain, **kwargs)
    finally:
        hook.remove()
    return ids[:, batch["input_ids"].shape[1] :], torch.stack(logits, dim=1)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", sorted(TINY))
def test_decoding_a_batch_is_the_loop_over_each_sample(
    family: str, use_cache: bool, mode: str
) -> None:
    vissink = MODES[mode]
    model = tiny_model(family, layers=4, dtype=F64)
    samples = tiny_samples(family, (1, 2, 0), dtype=F64)
    with intervene(model, vissink):
        tokens, logits = decode(model, collate(samples), use_cache=use_cache)
    found = []
    for index, sample in enumerate(samples):
        wanted, brute = brute_logits(model, sample, tokens[index].tolist(), vissink)
        assert torch.allclose(logits[index], wanted, rtol=1e-9, atol=1e-9), index
        found.append(brute)
    edited = [rows for brute in found for rows in brute.edited]
    assert edited, "nothing was there to be redistributed"
    # each layer and each sample has sinks of its own
    assert len({frozenset(brute.sinks[2]) for brute in found[:2]}) == 2
    assert len({frozenset(sinks) for sinks in found[0].sinks.values()}) > 1


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_beams_are_those_of_a_search_over_the_loop(family: str) -> None:
    model = tiny_model(family, layers=3, dtype=F64)
    sample = tiny_samples(family, (1,), dtype=F64)[0]
    count, steps = 3, 3
    with intervene(model, STRONG):
        tokens, _ = decode(model, sample.inputs, steps, num_beams=count, length_penalty=0.0)
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(steps):
        longer = []
        for score, ids in beams:
            logits, _ = brute_logits(model, sample, [*ids, 5], STRONG)
            last = logits[-1].log_softmax(-1)
            last[[2, IMAGE, VIDEO]] = -torch.inf
            best = last.topk(count)
            longer += [
                (score + float(value), [*ids, int(token)])
                for value, token in zip(best.values, best.indices, strict=True)
            ]
        beams = sorted(longer, reverse=True)[:count]
    assert tokens[0].tolist() == beams[0][1]


def hooked(
    vissink: VisSink,
    spans: Sequence[TokenSpans],
    states: Sequence[Tensor],
    columns: range | None = None,
) -> list[AttentionContext]:
    """Contexts of consecutive layers whose inputs (B, n, d) the method has seen."""
    model = tiny_model("llava")
    batch, length, _ = states[0].shape
    ids = torch.full((batch, length), 5)
    adapter = adapter_for(model)
    state = vissink.prepare(Prompt(adapter, spans, {"input_ids": ids}, lambda *_: None))
    every = torch.arange(length)
    contexts = [
        AttentionContext(spans, every, every, layer, len(states), 0, states={id(vissink): state})
        for layer in range(len(states))
    ]
    for context, each in zip(contexts, states, strict=True):
        assert vissink.layer_input(each, context) is each
    return contexts


def with_sinks(batch: int, length: int, sinks: Sequence[tuple[int, int]], dim: int = 4) -> Tensor:
    """States (B, n, 32) of ones, in which tokens (row, column) are massive in one dimension."""
    states = torch.ones(batch, length, 32)
    for row, column in sinks:
        states[row, column, dim] = -1000.0
    return states


def test_a_row_worked_out_by_hand() -> None:
    # begin, image x 3, question: sinks are the first token and the image's first one
    vissink = VisSink(tau=5.0, keep=0.5, dims=[4], layers=None)
    spans = [TokenSpans(0, ((1, 4),), 5, 5)]
    (context,) = hooked(vissink, spans, [with_sinks(1, 5, [(0, 0), (0, 1)])])
    row = torch.tensor([0.3, 0.2, 0.2, 0.1, 0.2])
    weights = torch.eye(5)[None, None].clone()
    weights[..., 4, :] = row
    edited = vissink.weights(weights, context)
    # m = 0.5, of it 0.2 on a sink; half of 0.3 + 0.2 moves to the other two, as 2 to 1
    wanted = torch.tensor([0.15, 0.1, 0.2 + 0.25 * 2 / 3, 0.1 + 0.25 / 3, 0.2])
    assert torch.allclose(edited[0, 0, 4], wanted, atol=1e-6)
    assert torch.equal(edited[..., :4, :], weights[..., :4, :])
    assert vissink.first_row(context) == 4


@pytest.mark.parametrize(
    ("options", "acts"),
    [
        ({"image_mass": 0.5}, True),
        ({"image_mass": 0.51}, False),
        ({"sink_share": 0.41}, True),
        ({"sink_share": 0.39}, False),
        ({"tau": 5.6}, True),  # 1000 / sqrt(1000^2 / 32) = 5.66
        ({"tau": 5.7}, False),
        ({"dims": [3]}, False),
        ({"dims": [3, 4]}, True),
        ({"keep": 0.0}, True),
    ],
)
def test_both_sides_of_each_threshold(options: dict[str, Any], acts: bool) -> None:
    vissink = VisSink(**{"tau": 5.0, "keep": 0.5, "dims": [4], "layers": None, **options})
    spans = [TokenSpans(0, ((1, 4),), 5, 5)]
    (context,) = hooked(vissink, spans, [with_sinks(1, 5, [(0, 0), (0, 1)])])
    weights = torch.tensor([0.3, 0.2, 0.2, 0.1, 0.2], dtype=F64).expand(1, 1, 5, 5)
    edited = vissink.weights(weights, context)
    assert torch.allclose(edited.sum(-1), weights.sum(-1))
    assert torch.equal(edited, weights) != acts


def test_a_text_sink_alone_is_left_alone() -> None:
    vissink = VisSink(tau=5.0, keep=0.0, dims=[4], layers=None)
    (context,) = hooked(vissink, [TokenSpans(0, ((1, 4),), 5, 5)], [with_sinks(1, 5, [(0, 0)])])
    weights = torch.full((1, 1, 5, 5), 0.2)
    assert torch.equal(vissink.weights(weights, context), weights)
    assert vissink.first_row(context) == 5  # the whole layer stays on the plain kernel


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rows_keep_their_sum_and_only_sinks_and_image_tokens_change(data: st.DataObject) -> None:
    length = data.draw(st.integers(4, 9))
    start = data.draw(st.integers(0, length - 2))
    end = data.draw(st.integers(start + 1, length - 1))
    pad = data.draw(st.integers(0, 2))
    sinks = data.draw(st.sets(st.integers(0, length - 1)))
    vissink = VisSink(
        tau=5.0,
        keep=data.draw(st.floats(0, 1)),
        image_mass=data.draw(st.floats(0, 1)),
        sink_share=data.draw(st.floats(0, 1)),
        dims=[4],
        layers=None,
    )
    spans = [TokenSpans(pad, ((start, end),), length, length)]
    states = with_sinks(1, pad + length, [(0, pad + token) for token in sinks])
    (context,) = hooked(vissink, spans, [states])
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    scores = 3 * torch.randn(1, 3, pad + length, pad + length, dtype=F64)
    seen = torch.ones(pad + length, pad + length).tril().bool()
    seen[:, :pad] = False
    weights = scores.masked_fill(~seen, -1e30).softmax(-1)
    edited = vissink.weights(weights, context)
    assert torch.allclose(edited.sum(-1), weights.sum(-1), rtol=1e-12)
    assert (edited >= 0).all()
    assert torch.equal(edited[:, :, : pad + end], weights[:, :, : pad + end])
    image = set(range(start, end))
    if not sinks & image:
        assert torch.equal(edited, weights)
    for token in set(range(length)) - sinks - image:
        assert torch.equal(edited[..., pad + token], weights[..., pad + token])
    for token in sinks:
        assert (edited[..., pad + token] <= weights[..., pad + token]).all()
    for token in image - sinks:
        assert (edited[..., pad + token] >= weights[..., pad + token]).all()


def test_sinks_are_of_a_sample_and_of_a_layer() -> None:
    vissink = VisSink(tau=5.0, dims=[4], layers=None)
    # the second sample is shorter: what is column 3 of it is position 1
    spans = [TokenSpans(0, ((1, 4),), 6, 6), TokenSpans(2, ((1, 3),), 4, 4)]
    first, second = with_sinks(2, 6, [(0, 1), (1, 3)]), with_sinks(2, 6, [(0, 2), (1, 0)])
    contexts = hooked(vissink, spans, [first, second])
    state: Sinks = contexts[0].state(vissink)
    masks = [state.of_layer[layer].sinks[:, 0, 0].nonzero().tolist() for layer in (0, 1)]
    assert masks == [[[0, 1], [1, 3]], [[0, 2]]]  # column 0 of the second sample is padding
    weights = torch.full((2, 1, 6, 6), 1 / 6)
    changed = [
        (vissink.weights(weights, context) != weights).any(-1).nonzero()[:, [0, 2]].tolist()
        for context in contexts
    ]
    assert changed == [[[0, 4], [0, 5], [1, 5]], [[0, 4], [0, 5]]]
