"""What edits are told of queries, keys and values, against the model's own projections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import AttentionContext, AttentionSession, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import (
    AttentionIntervention,
    HiddenStateIntervention,
    LogitsIntervention,
)
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.tiny import tiny_inputs, tiny_model
from lvlmsal.versions import CACHE
from tests.tiers import FAMILIES, FURTHER
from tests.unit.attention.hooks_by_hand import text

F64 = torch.float64


class Looks(AttentionIntervention):
    """Keeps what it is told from row ``first`` on, by layer and by hook."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.told: dict[tuple[int, str], tuple[Tensor, Tensor, Tensor]] = {}

    def first_row(self, context: AttentionContext) -> int:
        return self.first

    def _keep(self, edited: Tensor, hook: str, context: AttentionContext) -> Tensor:
        self.told[context.layer, hook] = context.queries, context.keys, context.values
        return edited

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        return self._keep(scores, "scores", context)

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return self._keep(weights, "weights", context)


def run_watched(model: Any, inputs: dict[str, Any], look: Looks) -> dict[tuple[int, str], Tensor]:
    """Outputs (B, n, heads, d) of the projections of each layer, in one pass under a look."""
    found: dict[tuple[int, str], Tensor] = {}

    def keep(name: str, layer: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Tensor) -> None:
            found[layer, name] = output.detach()

        return hook

    handles = [
        module.get_submodule(f"{name}_proj").register_forward_hook(keep(name, layer))
        for layer, module in enumerate(adapter_for(model).attention_modules)
        for name in "qkv"
    ]
    with torch.no_grad(), intervene(model, look):
        model(**inputs)
    for handle in handles:
        handle.remove()
    return found


# transformers' Chameleon returns no weights
MORE = [family for family in FURTHER if family != "chameleon"]


@pytest.mark.parametrize(
    "family", [*FAMILIES, *(pytest.param(family, marks=pytest.mark.full) for family in MORE)]
)
def test_they_are_those_of_the_models_own_projections(family: str) -> None:
    model = tiny_model(family, dtype=F64)
    inputs: dict[str, Any] = {**tiny_inputs(family, (2,), dtype=F64)}
    inputs["use_cache"] = False  # a cache may hold a window alone
    look = Looks()
    projected = run_watched(model, inputs, look)
    model.set_attn_implementation({"text_config": "eager"})
    with torch.no_grad():
        eager = model(**inputs, output_attentions=True).attentions
    adapter = adapter_for(model)
    columns, cap = inputs["input_ids"].shape[1], adapter.text_config.to_dict()
    assert len(look.told) == 2 * adapter.num_layers
    for (layer, _), (queries, keys, values) in look.told.items():
        module: Any = adapter.attention_modules[layer]

        def made(name: str, like: Tensor, layer: int = layer) -> Tensor:
            return projected[layer, name].view(1, columns, -1, like.shape[-1]).transpose(1, 2)

        assert torch.equal(values, made("v", values))
        if not hasattr(module, "q_norm"):
            # The rotary embedding turns queries and keys, and keeps their length.
            torch.testing.assert_close(queries.norm(dim=-1), made("q", queries).norm(dim=-1))
            torch.testing.assert_close(keys.norm(dim=-1), made("k", keys).norm(dim=-1))
        # Turned as they are, they make the weights of transformers' eager attention.
        groups = queries.shape[1] // keys.shape[1]
        scores = queries @ keys.repeat_interleave(groups, 1).mT * module.scaling
        if (bound := cap.get("attn_logit_softcapping")) is not None:
            scores = bound * (scores / bound).tanh()
        weights = scores.masked_fill(eager[layer] == 0, -torch.inf).softmax(-1)
        torch.testing.assert_close(weights, eager[layer], rtol=1e-5, atol=1e-6)


def test_rows_are_cut_and_keys_are_those_of_the_cache() -> None:
    model, inputs, cache = tiny_model("qwen2_vl", dtype=F64), text(dtype=F64), DynamicCache()
    width = inputs["input_ids"].shape[1]
    looks = [Looks(), Looks(first=width - 2)]
    for look in looks:
        with torch.no_grad(), intervene(model, look):
            model(**inputs)
    whole, cut = (look.told[1, "weights"] for look in looks)
    assert torch.equal(cut[0], whole[0][:, :, -2:])
    assert torch.equal(cut[1], whole[1])
    with torch.no_grad(), intervene(model, look := Looks()):
        model(**inputs, **{CACHE: cache})
        model(input_ids=torch.tensor([[7]]), **{CACHE: cache})
    queries, keys, values = look.told[1, "scores"]
    assert queries.shape[2] == 1
    layer: Any = cache.layers[1]
    assert torch.equal(keys, layer.keys)
    assert torch.equal(values, layer.values)
    assert torch.equal(keys[:, :, :width], whole[1])


@pytest.mark.parametrize("name", ["queries", "keys", "values"])
def test_nobody_else_is_told(name: str) -> None:
    class Asks(HiddenStateIntervention):
        def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
            getattr(context, name)
            return states

    with (
        pytest.raises(
            UnsupportedError, match=r"known to AttentionIntervention\.scores and weights"
        ),
        intervene(tiny_model("llava"), Asks()) as session,
    ):
        session.model(**text())


class Leaves(AttentionIntervention, HiddenStateIntervention, LogitsIntervention):
    """Leaves the visual weight and the residual stream of each row for the logits."""

    def __init__(self) -> None:
        self.found: list[tuple[Tensor, Tensor]] = []

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        visual = weights * context.image_keys()[:, None, None]
        context.carried[id(self), "seen", context.layer] = visual.sum(-1).mean(1)
        return weights

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        context.carried[id(self), "out", context.layer] = states
        return states

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        rows = logits.shape[1]
        left: list[Tensor] = [context.carried[id(self), kind, 1] for kind in ("seen", "out")]
        seen, out = (states[:, -rows:] for states in left)
        self.found.append((seen, out))
        return logits * (1 + seen[..., None])


@pytest.mark.parametrize("nested", [False, True])
def test_logits_find_what_layers_left_in_their_pass(nested: bool) -> None:
    model, inputs = tiny_model("llava", dtype=F64), tiny_inputs("llava", (1, 0), dtype=F64)
    leaves, outer = Leaves(), intervene(model, LocoRE(beta=0.5))
    inner = AttentionSession(model)  # as SGRS opens one
    with torch.no_grad(), outer, intervene(model, leaves), inner if nested else intervene(model):
        logits = model(**inputs, use_cache=False).logits
        more = torch.cat([inputs["input_ids"], torch.tensor([[5], [6]])], dim=1)
        mask = torch.cat([inputs["attention_mask"], torch.ones(2, 1, dtype=torch.long)], dim=1)
        longer = {**inputs, "input_ids": more, "attention_mask": mask}
        model(**longer, use_cache=False)
    session = AttentionSession(model, [LocoRE(beta=0.5)])
    with session, session.record([0, 1], full=True) as recording:
        plain = model(**inputs, output_hidden_states=True)
    seen, _ = leaves.found[0]
    images = torch.zeros_like(inputs["input_ids"])
    for row, spans in enumerate(adapter_for(model).spans(*_texts(inputs))):
        for start, end in spans.images:
            images[row, spans.pad + start : spans.pad + end] = 1
    by_hand = (recording.weights[1][:, :, -1] * images[:, None]).sum(-1).mean(1)
    torch.testing.assert_close(seen[:, 0], by_hand)
    assert by_hand[0] > 0
    wanted = plain.logits[:, -1].detach() * (1 + by_hand[:, None])
    torch.testing.assert_close(logits[:, -1], wanted)
    assert [len(out[0]) for _, out in leaves.found] == [1, 2]  # rows that predict, without a cache


def _texts(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return inputs["input_ids"], inputs["attention_mask"]


@pytest.mark.slow
def test_sgrs_finds_them_too() -> None:
    model: Any = tiny_model("llava", dtype=F64)
    inputs = tiny_inputs("llava", (1, 0), dtype=F64)
    answers = []
    for size in (1, 3):
        kwargs = SGRS(alpha=1.2, block_size=size).generate_kwargs(sample_ids=["a", "b"])
        with intervene(model, Leaves()):
            answers.append(model.generate(**inputs, max_new_tokens=5, **kwargs))
    assert torch.equal(*answers)
