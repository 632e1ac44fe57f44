"""A scope acts on the model that runs, or says that it does not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.distributed
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from PIL import Image
from torch import Tensor, nn
from transformers import GenerationMixin, LlavaForConditionalGeneration

import lvlmsal
from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.unwrapping import unwrapped
from lvlmsal.attention import intervene
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.dola import DoLa
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.testing.tiny import tiny_inputs, tiny_lvlm, tiny_model
from tests.tiers import FAMILIES
from tests.unit.attention.hooks_by_hand import Shift, run, text

pytestmark = pytest.mark.slow

EDITS = [LocoRE(beta=2.0), VCD(beta=0.0), DoLa(relative_top=0.0), Shift(2.0)]
HOW: dict[str, Any] = {"do_sample": False, "max_new_tokens": 3, "suppress_tokens": [2]}


def lora(model: Any) -> PeftModel:
    """With adapters that change the model."""
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return get_peft_model(model, config).eval()


def data_parallel(model: Any) -> nn.Module:
    return nn.DataParallel(model)


def compiled(model: Any) -> nn.Module:
    made: nn.Module = torch.compile(model, backend="eager")
    return made


def nested(model: Any) -> nn.Module:
    return compiled(data_parallel(lora(model)))


def generates(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    wanted = {"output_logits": True, "return_dict_in_generate": True}
    return torch.stack(model.generate(**inputs, **HOW, **wanted).logits)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("wrap", [lora, compiled, data_parallel, nested])
def test_a_wrapper_is_the_model_inside(wrap: Any, edit: Any) -> None:
    model, inputs = tiny_model("llava", dtype=torch.float64), tiny_inputs("llava")
    inputs["pixel_values"] = inputs["pixel_values"].double()
    outer = wrap(model)
    inner: Any = unwrapped(outer)
    assert isinstance(inner, LlavaForConditionalGeneration)
    plain = generates(inner, inputs)
    with intervene(inner, edit):
        wanted = generates(inner, inputs)
    assert not torch.allclose(plain, wanted)
    # DataParallel has no generate: whoever wraps in it calls the module's
    called = outer if hasattr(outer, "generate") else inner
    with intervene(outer, edit):
        assert torch.equal(generates(called, inputs), wanted)
        forwarded = run(outer, inputs)
    with intervene(inner, edit):
        assert torch.equal(forwarded, run(inner, inputs))
    assert torch.equal(generates(called, inputs), plain)


def test_ddp_is_the_model_inside() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava")
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        outer = nn.parallel.DistributedDataParallel(model)
        with intervene(outer, EDITS[0]):
            found = run(outer, inputs)
    finally:
        torch.distributed.destroy_process_group()
    with intervene(model, EDITS[0]):
        assert torch.equal(found, run(model, inputs))


@pytest.mark.parametrize("wrap", [lora, compiled])
def test_loading_diagnosing_and_sgrs_go_by_the_model_inside(wrap: Any) -> None:
    model, processor = tiny_lvlm("llava", dtype=torch.float64)
    outer = wrap(model)
    inner = unwrapped(outer)
    loaded = lvlmsal.load((outer, processor))
    assert loaded.model is inner
    assert loaded.processor is processor
    inputs = tiny_inputs("llava")
    inputs["pixel_values"] = inputs["pixel_values"].double()
    answer = torch.tensor([[5, 6, 7]])
    options = SaliencyOptions(row="candidate")
    found = [block_saliency(which, inputs, answer, options) for which in (outer, inner)]
    assert torch.equal(found[0].attention, found[1].attention)
    answers = [which.generate(**inputs, **HOW, custom_generate=SGRS()) for which in (outer, inner)]
    assert torch.equal(*answers)


class Delegates(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.core = nn.ModuleDict({"model": inner})

    def forward(self, **inputs: Any) -> Any:
        return self.core["model"](**inputs)


def test_an_unknown_wrapper_is_refused_by_the_name_of_what_to_hand_over() -> None:
    with pytest.raises(UnsupportedError, match=r"Delegates.*`\.core\.model`"):
        intervene(Delegates(tiny_model("llava")), EDITS[0])
    with pytest.raises(UnsupportedError, match="got a Linear"):
        intervene(nn.Linear(2, 2), EDITS[0])


def test_adapters_outside_of_the_layers_are_refused() -> None:
    virtual = PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    with pytest.raises(UnsupportedError, match="virtual tokens"):
        intervene(get_peft_model(tiny_model("llava"), virtual), EDITS[0])


class RunsAnother(LlavaForConditionalGeneration):
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.model.language_model(*args, **kwargs)


class PassesOn(LlavaForConditionalGeneration):
    @torch.no_grad()
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return super().generate(*args, **kwargs)


class PassesOnByName(LlavaForConditionalGeneration):
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return GenerationMixin.generate(self, *args, **kwargs)


def test_a_generate_of_its_own_is_refused_unless_it_passes_on() -> None:
    config = tiny_model("llava").config
    assert adapter_for(PassesOn(config)).num_layers
    assert adapter_for(PassesOnByName(config)).num_layers
    with pytest.raises(UnsupportedError, match="RunsAnother has a generate of its own"):
        intervene(RunsAnother(config), EDITS[0])


@pytest.mark.parametrize("decoder", ["greedy", "sgrs"])
@pytest.mark.parametrize("edit", [LocoRE(beta=2.0), VCD(beta=0.0)])
def test_a_generate_on_the_instance_is_not_used(decoder: str, edit: Any) -> None:
    model, processor = tiny_lvlm("llava")
    picture, question = Image.new("RGB", (28, 28)), "Is it so?"
    lvlm = lvlmsal.load((model, processor))

    def ask() -> list[int]:
        answer = lvlm.generate(
            picture, question, decoder=decoder, interventions=[edit], max_new_tokens=4
        )
        assert answer.diagnose().attention.isfinite().all()
        return answer.token_ids

    wanted = ask()
    replaced: Any = model

    def another(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    replaced.generate = another
    assert ask() == wanted


@pytest.mark.parametrize("edit", EDITS)
def test_a_scope_without_a_pass_says_so(edit: Any) -> None:
    model = tiny_model("llava")
    elsewhere = copy.deepcopy(model)
    scope = intervene(model, edit)
    name = type(edit).__name__
    with pytest.raises(UnsupportedError, match=f"{name} has ended without one pass"), scope:
        run(elsewhere, text())
    assert not model._forward_pre_hooks
    assert model.config.get_text_config()._attn_implementation == "sdpa"


def test_a_scope_without_a_pass_hides_no_error_and_minds_no_identity() -> None:
    model = tiny_model("llava")
    with pytest.raises(ZeroDivisionError), intervene(model, EDITS[0]):
        raise ZeroDivisionError
    with intervene(model, LocoRE(beta=0.0)):
        pass


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_copy_made_inside_of_a_scope_is_a_plain_model(family: str, implementation: str) -> None:
    model, inputs = tiny_model(family, dtype=torch.float64), text()
    model.set_attn_implementation({"text_config": implementation})
    plain = run(model, inputs)
    with intervene(model, LocoRE(beta=2.0), Shift(2.0)):
        edited = run(model, inputs)
        copied = copy.deepcopy(model)
        config = copied.config.get_text_config()
        assert config is not model.config.get_text_config()
        assert config._attn_implementation == implementation
        assert copied.get_decoder().config is config
        assert torch.equal(run(copied, inputs), plain)
        assert torch.equal(run(model, inputs), edited)
    assert torch.equal(run(copied, inputs), plain)
    with intervene(copied, LocoRE(beta=2.0), Shift(2.0)):
        assert torch.equal(run(copied, inputs), edited)


def test_a_model_inside_of_a_scope_is_not_pickled() -> None:
    model = tiny_model("llava")
    with intervene(model, EDITS[0]):
        run(model, text())
        with pytest.raises(UnsupportedError, match="cannot be pickled"):
            pickle.dumps(model)
    assert pickle.loads(pickle.dumps(model)).config.to_dict() == model.config.to_dict()


@pytest.mark.parametrize("edit", [LocoRE(beta=2.0), Shift(2.0)])
def test_what_was_compiled_before_does_not_go_past_a_scope(edit: Any) -> None:
    """torch does not look for new hooks before it runs what is compiled."""
    model, inputs = tiny_model("llava", dtype=torch.float64), text()
    with intervene(model, edit):
        wanted = run(model, inputs)
    plain = run(model, inputs)
    model.compile(backend="eager")
    for _ in range(2):
        assert torch.allclose(run(model, inputs), plain)
        with intervene(model, edit):
            assert torch.equal(run(model, inputs), wanted)
    assert not torch.allclose(plain, wanted)


def test_what_is_compiled_inside_of_a_scope_keeps_nothing_of_it() -> None:
    model, inputs = tiny_model("llava", dtype=torch.float64), text()
    plain = run(model, inputs)
    with intervene(model, EDITS[0]):
        made = compiled(model)
        edited = run(made, inputs)
    assert not torch.allclose(edited, plain)
    assert torch.allclose(run(made, inputs), plain)


@pytest.mark.parametrize("first", ["scope", "plain"])
def test_hidden_states_are_those_after_the_edits(first: str) -> None:
    """transformers leaves hooks that collect them on the layers when they are first asked for."""
    model, inputs = tiny_model("llava", dtype=torch.float64), text()

    def states() -> tuple[Tensor, ...]:
        with torch.no_grad():
            found: tuple[Tensor, ...] = model(**inputs, output_hidden_states=True).hidden_states
        return found

    if first == "plain":
        states()
    with intervene(model, Shift(2.0, layers=[0])):
        edited = states()
    plain = states()
    assert torch.equal(edited[0], plain[0])
    assert torch.equal(edited[1], 2 * plain[1])


@pytest.mark.parametrize("edit", [LocoRE(beta=2.0), Shift(2.0), VCD(beta=0.0)])
def test_attention_weights_are_those_of_the_pass_or_refused(edit: Any) -> None:
    model, inputs = tiny_model("llava", dtype=torch.float64), text()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        plain = model(**inputs, output_attentions=True).attentions
    with intervene(model, edit), torch.no_grad():
        if isinstance(edit, LocoRE):
            with pytest.raises(UnsupportedError, match="output_attentions"):
                model(**inputs, output_attentions=True)
        else:
            found = model(**inputs, output_attentions=True).attentions
            assert [each.shape for each in found] == [each.shape for each in plain]
            assert torch.equal(found[0], plain[0])  # of the first layer: nothing precedes it


class OtherAttention(nn.Module):
    """As code from a hub folder may have it: attention without transformers' interface."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.layer_idx = inner.layer_idx

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        return hidden_states.cumsum(1), None


def test_attention_that_does_not_ask_is_refused() -> None:
    model = tiny_model("llava")
    for layer in adapter_for(model).layers:
        holder: Any = layer
        holder.self_attn = OtherAttention(holder.self_attn)
    with intervene(model, LocoRE(beta=2.0)), pytest.raises(UnsupportedError, match="Interface"):
        run(model, text())


def test_mixins_are_where_they_were() -> None:
    """What tells a generate of a model's own from transformers'."""
    model: Any = tiny_model("llava")
    assert type(model).generate is GenerationMixin.generate
