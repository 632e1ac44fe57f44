"""VisSink against loops over heads, rows and tokens that share no code with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.interventions.vissink.intervention import VisSink
from lvlmsal.testing.tiny import IMAGE, VIDEO, TinySample, collate, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

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
    adapter = adapter_for(model)

    def note(layer: int) -> Any:
        return lambda module, args: brute.note(layer, args[0][0])

    hooks = [module.register_forward_pre_hook(note(i)) for i, module in enumerate(adapter.layers)]
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
    depth, length = adapter_for(model).num_layers, sample.inputs["input_ids"].shape[1]
    acting = {"None": range(depth), "1:": range(1, depth), "2:-1": range(2, depth - 1)}
    brute = Brute(vissink, sample.images, length, acting[str(vissink.layers)])
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
    generative: Any = model
    try:
        ids = generative.generate(**batch, **plain, **kwargs)
    finally:
        hook.remove()
    return ids[:, batch["input_ids"].shape[1] :], torch.stack(logits, dim=1)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
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
