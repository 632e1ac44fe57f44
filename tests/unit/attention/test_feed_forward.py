"""Edits of what feed-forward blocks add, against hooks that are put on the modules by hand."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.layers import LayerSpec
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import FeedForwardIntervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import FURTHER, TINY, tiny_inputs, tiny_model
from tests.tiers import in_full
from tests.unit.attention.hooks_by_hand import hooks_of, run, text

F64 = torch.float64

# The module of a layer whose output is added, where that is not its `mlp`; read off the classes.
BEHIND = {
    "gemma3": "post_feedforward_layernorm",
    "paligemma2": "post_feedforward_layernorm",
    "glm4v": "post_mlp_layernorm",
    "glm46v": "post_mlp_layernorm",
}


@dataclass(frozen=True)
class Bend(FeedForwardIntervention):
    """output * factor + share * inputs."""

    factor: float = 1.0
    share: float = 0.0
    layers: LayerSpec = None
    seen: list[tuple[int, Tensor, Tensor]] | None = None

    @property
    def is_identity(self) -> bool:
        return self.factor == 1 and self.share == 0

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        assert context.query_positions.shape[1] == output.shape[1]
        if self.seen is not None:
            self.seen.append((context.layer, inputs, output))
        return output * self.factor + self.share * inputs


def words(family: str) -> dict[str, Tensor]:
    """A prompt of text alone, which every family takes."""
    ids = torch.arange(40, 52)[None]
    made = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**made, "token_type_ids": torch.zeros_like(ids)} if "gemma" in family else made


def by_hand(
    model: PreTrainedModel, inputs: dict[str, Tensor], layers: Sequence[int], last: str
) -> Tensor:
    """Logits where the named modules of layers give 0.5 times what they do, plus a tenth of x."""
    entered: list[Tensor] = []
    handles = []
    for layer in layers:
        module = adapter_for(model).layers[layer]
        block, norm = (operator.attrgetter(name)(module) for name in ("mlp", last))
        handles.append(block.register_forward_pre_hook(lambda _, args: entered.append(args[0])))
        handles.append(
            norm.register_forward_hook(lambda _, __, out: 0.5 * out + 0.1 * entered.pop())
        )
    try:
        return run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", in_full(sorted({*TINY, *FURTHER}), but=["qwen2_vl", "gemma3"]))
@pytest.mark.parametrize(("spec", "layers"), [(None, [0, 1]), ([1], [1])])
def test_what_layers_add_is_edited_where_they_are_named(
    family: str, spec: LayerSpec, layers: list[int]
) -> None:
    model, inputs = tiny_model(family, dtype=F64), words(family)
    with intervene(model, Bend(0.5, 0.1, layers=spec)):
        found = run(model, inputs)
    wanted = by_hand(model, inputs, layers, BEHIND.get(family, "mlp"))
    assert torch.equal(found, wanted)
    assert not torch.allclose(found, run(model, inputs))


def test_it_is_given_the_normed_stream_and_what_is_added_to_it() -> None:
    model, inputs, edit = tiny_model("llava", dtype=F64), text(dtype=F64), Bend(1.0, 1e-9, seen=[])
    layer: Any = adapter_for(model).layers[0]
    streams: list[Tensor] = []
    hooks = [
        layer.post_attention_layernorm.register_forward_hook(lambda *call: streams.extend(call[1])),
        layer.register_forward_hook(lambda *call: streams.append(call[2])),
    ]
    run(model, inputs)
    for hook in hooks:
        hook.remove()
    with intervene(model, edit):
        run(model, inputs)
    middle, after = streams
    assert edit.seen is not None
    index, x, added = edit.seen[0]
    assert index == 0
    assert torch.equal(x, layer.post_attention_layernorm(middle))
    torch.testing.assert_close(middle + added, after)


class Tells(nn.Module):
    """A block that is called by keyword and tells how it routed, as those of GPT-OSS."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, str]:
        return self.block(hidden_states), "scores"


class Asks(nn.Module):
    """Calls it so, and takes the first of what it returns."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.inside = Tells(block)

    def forward(self, states: Tensor) -> Tensor:
        found, scores = self.inside(hidden_states=states)
        assert scores == "scores"
        made: Tensor = found
        return made


def test_blocks_by_keyword_and_in_tuples_are_edited_likewise() -> None:
    model, inputs, edit = tiny_model("llava", dtype=F64), text(), Bend(0.5, 0.1)
    with intervene(model, edit):
        wanted = run(model, inputs)
    for layer in adapter_for(model).layers:
        layer.mlp = Asks(layer.get_submodule("mlp"))

    class Other(type(adapter_for(model))):  # type: ignore[misc]  # the class of this model's adapter
        def feed_forward(self, layer: int) -> tuple[nn.Module, nn.Module]:
            block = self.layers[layer].get_submodule("mlp.inside")
            return block, block

    with intervene(Other(model), edit):
        assert torch.equal(run(model, inputs), wanted)


@pytest.mark.parametrize(
    ("family", "option"), [("chameleon", "swin_norm"), ("molmo2", "norm_after")]
)
def test_families_that_may_norm_behind_the_block(family: str, option: str) -> None:
    adapter = adapter_for(tiny_model(family))
    block = adapter.layers[0].get_submodule("mlp")
    assert adapter.feed_forward(0) == (block, block)
    setattr(adapter.text_config, option, True)
    norm = adapter.layers[0].get_submodule("post_attention_layernorm")
    assert adapter.feed_forward(0) == (block, norm)


def test_edits_act_in_their_order_and_outer_scopes_first() -> None:
    model, inputs = tiny_model("llava", dtype=F64), text()
    double, move = Bend(2.0), Bend(1.0, 0.5)
    with intervene(model, double, move):
        together = run(model, inputs)
    with intervene(model, double), intervene(model, move):
        assert torch.equal(run(model, inputs), together)
    with intervene(model, Bend(2.0, 0.5)):
        assert torch.equal(run(model, inputs), together)  # 2 f + x / 2, not 2 (f + x / 2)
    with intervene(model, move, double):
        assert not torch.allclose(run(model, inputs), together)


def test_only_blocks_that_are_edited_have_hooks() -> None:
    model = tiny_model("llava")
    before = hooks_of(model)
    with intervene(model, Bend()):
        run(model, text())
        assert hooks_of(model) == before + 1  # the one that finds the prompt
    blocks = [layer.get_submodule("mlp") for layer in adapter_for(model).layers]
    with intervene(model, LocoRE(beta=1.0)):
        run(model, text())
        assert not any(block._forward_hooks or block._forward_pre_hooks for block in blocks)
    with intervene(model, Bend(2.0, layers=[1])):
        run(model, text())
        assert [len(block._forward_hooks) for block in blocks] == [0, 1]
        assert not any(layer._forward_hooks for layer in adapter_for(model).layers)
    assert hooks_of(model) == before


def test_a_layer_without_such_a_block_is_refused_by_name_before_anything_runs() -> None:
    model = tiny_model("llava")
    layer: Any = adapter_for(model).layers[1]
    layer.experts = layer.mlp
    del layer.mlp
    before = hooks_of(model)
    with pytest.raises(UnsupportedError, match="LlamaDecoderLayer has no feed-forward block of"):
        intervene(model, Bend(2.0)).__enter__()
    assert hooks_of(model) == before
    assert model.config.get_text_config()._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("made", "said"), [(lambda x: None, "NoneType"), (lambda x: x[:, -1:], r"shape \(1, 1, 32\)")]
)
def test_what_is_returned_has_the_shape_of_what_was_given(made: Any, said: str) -> None:
    class Wrong(FeedForwardIntervention):
        def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Any:
            return made(output)

    model = tiny_model("llava")
    with (
        intervene(model, Wrong()),
        pytest.raises(UnsupportedError, match=rf"Wrong\.feed_forward returned .*{said}, expected"),
    ):
        run(model, text())


@pytest.mark.slow
def test_the_kit_passes_what_is_right() -> None:
    check_intervention(Bend(0.2, 0.5), identity=Bend(), families=["llava"])


class CountsRows(Bend):
    """Takes a pass of one row for another one than a prompt."""

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        return output * (1.0 if output.shape[1] == 1 else 0.2)


@pytest.mark.slow
def test_the_kit_finds_what_is_broken() -> None:
    with pytest.raises(AssertionError, match="with the cache it decodes other tokens than without"):
        check_intervention(CountsRows(0.2), families=["llava"])


def test_batches_and_beams_are_edited_as_samples_by_themselves() -> None:
    model: Any = tiny_model("qwen2_vl", dtype=F64)
    options = {"do_sample": False, "num_beams": 3, "max_new_tokens": 5, "suppress_tokens": [2]}
    batch = tiny_inputs("qwen2_vl", (0, 1), dtype=F64)
    with intervene(model, Bend(0.2, 0.5)):
        edited = model.generate(**batch, **options)
        uncached = model.generate(**batch, **options, use_cache=False)
    assert torch.equal(edited, uncached)
    assert not torch.equal(edited, model.generate(**batch, **options))
