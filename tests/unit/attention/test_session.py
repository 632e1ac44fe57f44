"""Sessions leave nothing behind, however they end, and keep to their model."""

from __future__ import annotations

import contextvars
import copy
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, LlavaForConditionalGeneration, PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans, find_spans
from lvlmsal.attention import AttentionContext, AttentionSession, intervene
from lvlmsal.attention.hooks import ATTENTION_NAME
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention, Intervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.testing.tiny import IMAGE, tiny_inputs, tiny_model
from lvlmsal.versions import CACHE
from tests.tiers import FAMILIES

STRONG = LocoRE(beta=2.0)


def logits_of(model: PreTrainedModel, inputs: dict[str, Tensor], **kwargs: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**inputs, **kwargs).logits
    return logits


def state(model: PreTrainedModel) -> dict[str, Any]:
    """Everything that a session may touch."""
    hooks = {
        name: (list(module._forward_pre_hooks), list(module._forward_hooks))
        for name, module in model.named_modules()
    }
    methods = {name for name, module in model.named_modules() if "forward" in vars(module)}
    return {"config": model.config.to_dict(), "kinds": kinds(model), "hooks": hooks, "own": methods}


def kinds(model: PreTrainedModel) -> dict[str, str]:
    return {
        name: module.config._attn_implementation
        for name, module in model.named_modules()
        if hasattr(module, "config")
    }


def through_exit(model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    with intervene(model, STRONG):
        model.generate(**inputs, max_new_tokens=2, do_sample=False)


def through_exception(model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    def fails() -> None:
        with intervene(model, STRONG):
            logits_of(model, inputs)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fails()


def through_failing_forward(model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    class Failing(AttentionIntervention):
        def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
            raise RuntimeError("in the middle of a layer")

    with pytest.raises(RuntimeError, match="middle"), intervene(model, Failing()):
        logits_of(model, inputs)


def steps(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Iterator[Tensor]:
    with intervene(model, STRONG):
        while True:
            yield logits_of(model, inputs)


def through_dropped_generator(model: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    generator = steps(model, inputs)
    next(generator)
    del generator
    gc.collect()


def through_generator_closed_in_another_thread(
    model: PreTrainedModel, inputs: dict[str, Tensor]
) -> None:
    generator = steps(model, inputs)
    next(generator)
    thread = threading.Thread(target=generator.close)  # type: ignore[attr-defined]
    thread.start()
    thread.join()


def through_generator_closed_in_another_context(
    model: PreTrainedModel, inputs: dict[str, Tensor]
) -> None:
    generator = steps(model, inputs)
    contextvars.copy_context().run(next, generator)
    generator.close()  # type: ignore[attr-defined]


ENDINGS = [
    through_exit,
    through_exception,
    through_failing_forward,
    through_dropped_generator,
    through_generator_closed_in_another_thread,
    through_generator_closed_in_another_context,
]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left(
    family: str,
    ending: Callable[[PreTrainedModel, dict[str, Tensor]], None],
    implementation: str,
) -> None:
    model, inputs = tiny_model(family), tiny_inputs(family, (1, 0))
    model.set_attn_implementation({"text_config": implementation})
    # The plain pass goes first: transformers itself leaves hooks on the vision tower at its first.
    plain, before = logits_of(model, inputs), state(model)
    ending(model, inputs)
    assert state(model) == before
    assert torch.equal(logits_of(model, inputs), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_text_decoder_is_switched(family: str) -> None:
    model, inputs = tiny_model(family), tiny_inputs(family, (0,))
    before = kinds(model)
    with intervene(model, STRONG):
        logits_of(model, inputs)
        changed = {name for name, kind in kinds(model).items() if kind != before[name]}
        assert changed
        assert {kinds(model)[name] for name in changed} == {ATTENTION_NAME}
        assert not [name for name in changed if "vision" in name or "visual" in name]


def test_identities_do_not_even_switch() -> None:
    model = tiny_model("llava")
    before = kinds(model)
    with intervene(model, LocoRE(beta=0.0)):
        assert kinds(model) == before
    with AttentionSession(model, [LocoRE(beta=0.0)]):
        assert kinds(model) != before  # it may be asked to record
    assert kinds(model) == before


def test_sessions_may_end_out_of_order() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava")
    plain, before = logits_of(model, inputs), state(model)
    alone = {}
    for beta in (0.5, 2.0):
        with intervene(model, LocoRE(beta=beta)):
            alone[beta] = logits_of(model, inputs)
    first, second = intervene(model, LocoRE(beta=0.5)), intervene(model, LocoRE(beta=2.0))
    first.__enter__()
    second.__enter__()
    assert not torch.equal(logits_of(model, inputs), alone[2.0])
    first.__exit__(None, None, None)
    assert torch.equal(logits_of(model, inputs), alone[2.0])
    second.__exit__(None, None, None)
    assert torch.equal(logits_of(model, inputs), plain)
    assert state(model) == before


def test_a_session_opens_once_at_a_time_and_again_after_its_end() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava")
    session = intervene(model, STRONG)
    with session:
        once = logits_of(model, inputs)
        with pytest.raises(RuntimeError, match="open already"):
            session.__enter__()
    with session:
        assert torch.equal(logits_of(model, inputs), once)
    session.__exit__(None, None, None)  # a second end changes nothing
    assert kinds(model)["model.language_model"] == "sdpa"


@pytest.mark.parametrize("recorded", [False, True])
def test_models_that_share_a_configuration_do_not_share_an_intervention(recorded: bool) -> None:
    one = tiny_model("llava")
    other = LlavaForConditionalGeneration(one.config).eval()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    inputs = tiny_inputs("llava", (1, 0))
    plain = logits_of(other, inputs)
    edits = () if recorded else (STRONG,)
    with AttentionSession(one, edits) as session:
        if recorded:
            with session.record([0], full=True) as recording:
                assert torch.equal(logits_of(other, inputs), plain)
                assert not recording.weights
        else:
            assert not torch.equal(logits_of(one, inputs), plain)
        assert torch.equal(logits_of(other, inputs), plain)
    assert torch.equal(logits_of(other, inputs), plain)


def test_a_pass_without_ids_is_refused_and_never_takes_the_last_prompts_spans() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava", (0,))
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    with intervene(model, STRONG):
        wanted = logits_of(model, inputs)
        with pytest.raises(UnsupportedError, match="spans="):
            model(inputs_embeds=embeds)
    length = embeds.shape[1]
    with intervene(model, STRONG, spans=[TokenSpans(0, (), length, length)]), torch.no_grad():
        assert torch.equal(model(inputs_embeds=embeds).logits, wanted)


def test_spans_of_another_batch_are_refused() -> None:
    model = tiny_model("llava")
    with (
        intervene(model, STRONG, spans=[TokenSpans(0, (), 9, 9)]),
        pytest.raises(UnsupportedError, match="1 samples were given for a batch of 2"),
    ):
        model(**tiny_inputs("llava", (1, 1)))


def test_what_does_not_edit_attention_is_refused_by_name() -> None:
    class Idle(Intervention):
        pass

    with pytest.raises(UnsupportedError, match="Idle"):
        intervene(tiny_model("llava"), Idle())


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("locore", r"write lvlmsal\.interventions\.LocoRE\(\)"),
        ({"name": "vcd", "alpha": 1.0}, r"write lvlmsal\.interventions\.VCD\(\)"),
        (LocoRE, r"got a class: write LocoRE\(\)"),
        ([LocoRE()], "one after the other, such as"),
    ],
)
def test_what_is_no_intervention_is_answered_with_what_to_write(given: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        intervene(tiny_model("llava"), given)


def test_a_ready_mask_finds_its_columns_in_the_cache() -> None:
    """Masks of four dimensions never reach the mask function, which tells the columns otherwise."""
    model, inputs = tiny_model("llava", dtype=torch.float64), tiny_inputs("llava", (0,))
    ids = inputs["input_ids"]
    length = ids.shape[1]
    square = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    spans = [TokenSpans(0, (), length, length)]
    edit = LocoRE(beta=2.0, window=2)
    with torch.no_grad(), intervene(model, edit, spans=spans):
        wanted = model(input_ids=ids).logits
        model(input_ids=ids[:, :3])  # leaves other columns behind
        assert torch.allclose(model(input_ids=ids, attention_mask=square).logits, wanted)
        cache = DynamicCache()
        model(input_ids=ids[:, :-1], **{CACHE: cache}, attention_mask=square[..., :-1, :-1])
        last = model(input_ids=ids[:, -1:], **{CACHE: cache}, attention_mask=square[..., -1:, :])
    assert torch.allclose(last.logits[:, 0], wanted[:, -1])


def test_a_new_prompt_in_the_same_session_is_read_anew() -> None:
    model = tiny_model("llava", dtype=torch.float64)
    first, second = (
        tiny_inputs("llava", (1,), dtype=torch.float64),
        tiny_inputs("llava", (0, 2), seed=3, dtype=torch.float64),
    )
    edit = LocoRE(beta=2.0, context="output")
    search: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "suppress_tokens": [260]}
    for use_cache in (True, False):
        with intervene(model, edit):
            alone = model.generate(**second, **search, use_cache=use_cache)
        with intervene(model, edit):
            model.generate(**first, **search, use_cache=use_cache)
            assert torch.equal(model.generate(**second, **search, use_cache=use_cache), alone)


def test_spans_that_were_given_win_over_those_of_an_inner_session() -> None:
    """SGRS opens a session of its own inside of the user's."""
    model, inputs = tiny_model("llava", dtype=torch.float64), tiny_inputs("llava")
    inputs = {**inputs, "pixel_values": inputs["pixel_values"].double()}
    start = inputs["input_ids"].shape[1] - 4
    spans = find_spans(inputs["input_ids"], None, [IMAGE], output_start=start)
    locore = LocoRE(beta=2.0, window=3, context="output")
    with intervene(model, locore, spans=spans):
        wanted = logits_of(model, inputs)
        with AttentionSession(model):
            assert torch.equal(logits_of(model, inputs), wanted)
    with intervene(model, locore):
        assert not torch.equal(logits_of(model, inputs), wanted)


def test_two_streams_keep_their_own_spans() -> None:
    """Guidance and contrast run a second sequence in between, on a cache of its own."""
    model, inputs = tiny_model("llava"), tiny_inputs("llava")
    token = torch.tensor([[7]])

    def decode(disturbed: bool) -> Tensor:
        cache, other = DynamicCache(), DynamicCache()
        with torch.no_grad(), intervene(model, STRONG):
            model(**inputs, **{CACHE: cache})
            if disturbed:
                model(input_ids=torch.tensor([[5, 6]]), **{CACHE: other})
            return model(input_ids=token, **{CACHE: cache}).logits

    assert torch.equal(decode(disturbed=True), decode(disturbed=False))
