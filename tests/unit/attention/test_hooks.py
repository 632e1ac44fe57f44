"""What edits of hidden states and of logits are promised, whichever way a model is run."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.layers import LayerSpec
from lvlmsal.attention.unedited import unedited
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention, HiddenStateIntervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.tiny import IMAGE, tiny_inputs, tiny_model
from lvlmsal.versions import CACHE
from tests.tiers import FAMILIES
from tests.unit.attention.hooks_by_hand import Scale, Shift, by_hand, hooks_of, run, text

F64 = torch.float64
TOKEN = torch.tensor([[7]])


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("spec", "layers"), [(None, [0, 1, 2]), ([1], [1]), ("0.5:1.0", [2])])
@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_edited_where_they_are_named(
    family: str, spec: LayerSpec, layers: list[int], before: bool
) -> None:
    model, inputs = tiny_model(family, layers=3, dtype=F64), tiny_inputs(family, (1, 0), dtype=F64)
    with intervene(model, Shift(1.5, 0.25, before=before, layers=spec)):
        found = run(model, inputs)
    wanted = by_hand(model, inputs, lambda x: x * 1.5 + 0.25, layers, before=before)
    assert torch.equal(found, wanted)
    assert not torch.equal(found, run(model, inputs))


class Named(nn.Module):
    """A decoder layer that is called by keyword, or gives a tuple, as other releases have it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.self_attn, self.layer = layer.self_attn, layer

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        return self.layer(hidden_states, *args, **kwargs), "weights"


class Calls(nn.Module):
    """Calls a layer by keyword, and takes the first of what it returns."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.inside = Named(layer)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        states, weights = self.inside(*args, hidden_states=hidden_states, **kwargs)
        assert weights == "weights"
        return states


@pytest.mark.parametrize("before", [True, False])
def test_states_by_keyword_and_in_tuples_are_edited_likewise(before: bool) -> None:
    model, inputs = tiny_model("llava", dtype=F64), text()
    edit = Shift(1.5, 0.25, before=before)
    with intervene(model, edit):
        wanted = run(model, inputs)
    decoder: Any = adapter_for(model).decoder
    outer = nn.ModuleList([Calls(layer) for layer in decoder.layers])

    class Other(type(adapter_for(model))):  # type: ignore[misc]  # the class of this model's adapter
        @property
        def layers(self) -> list[nn.Module]:
            return [layer.inside if isinstance(layer, Calls) else layer for layer in decoder.layers]

    decoder.layers = outer
    with intervene(Other(model), edit):
        assert torch.equal(run(model, inputs), wanted)


def test_edits_act_in_their_order_and_outer_scopes_first() -> None:
    model, inputs = tiny_model("llava", dtype=F64), text()
    first, second = Shift(2.0), Shift(term=0.5)
    with intervene(model, first, second):
        together = run(model, inputs)
    wanted = by_hand(model, inputs, lambda x: x * 2 + 0.5, [0, 1], before=False)
    turned = by_hand(model, inputs, lambda x: (x + 0.5) * 2, [0, 1], before=False)
    assert torch.equal(together, wanted)
    with intervene(model, first), intervene(model, second):
        assert torch.equal(run(model, inputs), together)
    with intervene(model, second), intervene(model, first):
        assert torch.equal(run(model, inputs), turned)
    plain = run(model, inputs)[:, -1]
    with intervene(model, Scale(2.0)), intervene(model, Scale(term=3.0)):
        assert torch.equal(run(model, inputs)[:, -1], plain * 2 + 3)
    with intervene(model, Scale(term=3.0), Scale(2.0)):
        assert torch.equal(run(model, inputs)[:, -1], (plain + 3) * 2)


def test_identities_hook_no_layer_and_read_none() -> None:
    model = tiny_model("llava")
    before = hooks_of(model)
    with intervene(model, Shift(), Scale(read=(0, 1))):
        assert hooks_of(model) == before + 1  # the one that finds the prompt
    with intervene(model, Shift(2.0, layers=[1])):
        run(model, text())
        inside = [len(layer._forward_hooks) for layer in adapter_for(model).layers]
    assert inside == [0, 1]
    assert hooks_of(model) == before


def test_nothing_is_left_where_a_scope_fails_to_open() -> None:
    class Undecided(Shift):
        def applies_to(self, layer: int) -> bool:
            raise RuntimeError("which layer?")

    model = tiny_model("llava")
    before = hooks_of(model)
    scope = intervene(model, LocoRE(beta=1.0), Undecided(2.0))
    with pytest.raises(RuntimeError, match="which layer"):
        scope.__enter__()
    assert hooks_of(model) == before
    assert model.config.get_text_config()._attn_implementation == "sdpa"


def test_a_pass_that_fails_holds_nothing_and_the_next_one_is_right() -> None:
    model, inputs = tiny_model("llava", dtype=F64), text()

    class Fails(Shift):
        calls = 0

        def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
            Fails.calls += 1
            if Fails.calls == 2:
                raise RuntimeError("in layer 1")
            return states * 2

    with intervene(model, Fails(2.0), Scale(2.0, read=(0,))) as session:
        with pytest.raises(RuntimeError, match="in layer 1"):
            run(model, inputs)
        assert not session.passes.place.hidden
        found = run(model, inputs)
    wanted = by_hand(model, inputs, lambda x: x * 2, [0, 1], before=False)
    wanted[:, -1] *= 2
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("edit", [Shift(2.0), Scale(2.0), LocoRE(beta=2.0)])
def test_passes_of_other_threads_disturb_nothing(edit: Any) -> None:
    """As hooks stand on the model itself, they are called in every thread."""
    model, inputs = tiny_model("llava", dtype=F64), text()
    plain, found = run(model, inputs), {}
    longer = {name: torch.cat([value, value], dim=1) for name, value in inputs.items()}

    def other() -> None:
        with unedited():
            found["outside"] = run(model, inputs)
        run(model, longer)  # edited, with a warning

    def decode(disturbed: bool) -> Tensor:
        cache = DynamicCache()
        with torch.no_grad(), intervene(model, edit):
            model(**inputs, **{CACHE: cache})
            if disturbed:
                thread = threading.Thread(target=other)
                thread.start()
                thread.join()
            logits: Tensor = model(input_ids=TOKEN, **{CACHE: cache}).logits
        return logits

    with pytest.warns(UserWarning, match="a thread that knows of no scope"):
        disturbed = decode(disturbed=True)
    assert torch.equal(disturbed, decode(disturbed=False))
    assert torch.equal(found["outside"], plain)


def test_the_cache_is_let_go_after_a_pass_and_after_the_scope() -> None:
    model, inputs = tiny_model("llava"), text()
    cache = DynamicCache()
    gone = weakref.ref(cache)
    with intervene(model, Scale(2.0, read=(0, 1)), LocoRE(beta=1.0)) as session:
        run(model, inputs, **{CACHE: cache})
        assert not session.passes.place.hidden
        del cache
        gc.collect()
        assert gone() is None
        uncached = run(model, inputs, use_cache=False)
        assert uncached.shape[0] == 1


def test_a_cache_that_the_model_made_itself_can_be_gone_on_from() -> None:
    model, inputs = tiny_model("llava", dtype=F64), text()
    edits = Shift(1.5, layers=[1]), Scale(2.0), LocoRE(beta=1.0, window=3)
    whole = torch.cat([inputs["input_ids"], TOKEN], dim=1)
    with torch.no_grad(), intervene(model, *edits):
        made = model(**inputs)[CACHE]
        found = model(input_ids=TOKEN, **{CACHE: made}).logits
        wanted = model(input_ids=whole).logits
    assert torch.allclose(found[:, -1], wanted[:, -1])


@pytest.mark.parametrize("edit", [Shift(2.0), Scale(2.0)])
def test_a_prompt_that_was_not_seen_is_refused(edit: Any) -> None:
    model, inputs = tiny_model("llava"), text()
    cache = DynamicCache()
    run(model, inputs, **{CACHE: cache})
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    with torch.no_grad(), intervene(model, edit):
        with pytest.raises(UnsupportedError, match="inside of the same"):
            model(input_ids=TOKEN, **{CACHE: cache})
        run(model, inputs)
        with pytest.raises(UnsupportedError, match="hand input_ids"):
            model(inputs_embeds=embedded)


def test_the_inner_model_by_itself_does_not_take_the_last_prompts_place() -> None:
    model: Any = tiny_model("llava")
    with torch.no_grad(), intervene(model, Shift(2.0)):
        run(model, text())
        with pytest.raises(UnsupportedError, match="not seen"):
            model.model(input_ids=TOKEN)


@pytest.mark.parametrize("edit", [Shift(2.0), Scale(2.0)])
def test_spans_of_another_batch_are_refused(edit: Any) -> None:
    model, inputs = tiny_model("llava"), text()
    length = inputs["input_ids"].shape[1]
    spans = [TokenSpans(0, (), length, length)] * 2
    with (
        intervene(model, edit, spans=spans),
        pytest.raises(UnsupportedError, match="2 samples were given for a batch of 1"),
    ):
        run(model, inputs)


class Everywhere(HiddenStateIntervention, AttentionIntervention):
    """Looks at the columns from both places."""

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        assert context.query_positions.shape[1] == states.shape[1]
        last = context.query_positions[:, -1:]
        assert torch.equal(context.key_positions[:, -1:], last)
        return states * (1 + 0.01 * context.query_positions[..., None])

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        assert scores.shape[2:] == (len(context.query_columns), len(context.key_columns))
        return scores * 0.5


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_layers_and_attention_may_count_different_keys(kind: str) -> None:
    """A static cache hands its empty columns to attention."""
    model = tiny_model("llava", dtype=F64)
    plain: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [2, IMAGE]}
    inputs = tiny_inputs("llava", (1, 0), dtype=F64)
    with intervene(model, Everywhere()):
        wanted = model.generate(**inputs, **plain)
        found = model.generate(**inputs, **plain, cache_implementation=kind, disable_compile=True)
    assert torch.equal(found, wanted)


class ByPosition(HiddenStateIntervention):
    """Scales each row by its position in the sample."""

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        return states * (1 + 0.01 * context.query_positions[..., None])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_padding_is_read_off_a_ready_mask(implementation: str) -> None:
    """With a static cache generate makes the mask of the attention itself."""
    model = tiny_model("llava", dtype=F64)
    model.set_attn_implementation({"text_config": implementation})
    plain: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [2, IMAGE]}
    inputs = tiny_inputs("llava", (1, 0), dtype=F64)
    assert not inputs["attention_mask"].all()
    with intervene(model, ByPosition()):
        wanted = model.generate(**inputs, **plain)
        static = {"cache_implementation": "static", "disable_compile": True}
        assert torch.equal(model.generate(**inputs, **plain, **static), wanted)
    assert not torch.equal(model.generate(**inputs, **plain), wanted)
