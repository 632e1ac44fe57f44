"""Whose sinks they are: of a prompt, of a model, and found only where there are any."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import find_spans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.interventions.base import HiddenStateIntervention
from lvlmsal.interventions.vissink import sinks as module
from lvlmsal.interventions.vissink.intervention import VisSink
from lvlmsal.interventions.vissink.sinks import Sinks, find_sink_dims
from lvlmsal.registry import CATALOG, INTERVENTIONS
from lvlmsal.testing.tiny import IMAGE, collate, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES

F64 = torch.float64
BEGIN, LOUD = 1, 77
STRONG = INTERVENTIONS.build("vissink", **VisSink.strong)


class Watched(VisSink):
    """Keeps what each prompt's sinks are kept in."""

    seen: list[Sinks] = []  # noqa: RUF012  # shared by the bound copies on purpose

    def prepare(self, prompt: Prompt) -> Sinks:
        self.seen.append(super().prepare(prompt))
        return self.seen[-1]

    def columns(self, prompt: int, layer: int) -> list[list[int]]:
        """Columns of the sinks, of each sample."""
        masks = self.seen[prompt].of_layer[layer].sinks[:, 0, 0]
        return [mask.nonzero().flatten().tolist() for mask in masks]


@pytest.fixture
def watched() -> Watched:
    Watched.seen = []
    return Watched(**VisSink.strong)


def massive(family: str, *, layers: int = 4, tokens: tuple[int, ...] = (BEGIN,)) -> PreTrainedModel:
    """A tiny model in which some tokens are massive in dimensions 5 and 9, from the start on."""
    model = tiny_model(family, layers=layers, dtype=F64)
    table: Any = model.get_input_embeddings()
    with torch.no_grad():
        for token in tokens:
            table.weight[token, 5], table.weight[token, 9] = 500.0, -400.0
    return model


def logits(model: PreTrainedModel, inputs: dict[str, Tensor], *edits: Any) -> Tensor:
    with torch.no_grad(), intervene(model, *edits):
        found: Tensor = model(**inputs).logits
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_the_second_prompt_of_a_scope_has_sinks_of_its_own(
    family: str, use_cache: bool, watched: Watched
) -> None:
    model = tiny_model(family, dtype=F64)
    samples = tiny_samples(family, (1, 1), seed=3, dtype=F64)
    options: dict[str, Any] = {
        "max_new_tokens": 4,
        "do_sample": False,
        "use_cache": use_cache,
        "suppress_tokens": [2, IMAGE, 261],
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    alone, generative = [], cast(Any, model)
    for sample in samples:
        with intervene(model, watched):
            alone.append(generative.generate(**sample.inputs, **options).logits)
    with intervene(model, watched):
        together = [generative.generate(**sample.inputs, **options).logits for sample in samples]
    for left, right in zip(alone, together, strict=True):
        assert torch.equal(torch.stack(left), torch.stack(right))
    assert watched.columns(2, 1) == watched.columns(0, 1)
    assert watched.columns(3, 1) == watched.columns(1, 1) != watched.columns(0, 1)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_a_generated_token_is_no_sink(family: str, watched: Watched) -> None:
    model = massive(family, layers=2, tokens=(BEGIN, LOUD))
    vissink = Watched(**{**vars(watched), "tau": 3.0, "dims": [5, 9]})
    sample = tiny_samples(family, (1,), dtype=F64)[0]
    length = sample.inputs["input_ids"].shape[1]
    longer = reference.longer(sample.inputs, [LOUD, 5, LOUD, 6])
    ids = longer["input_ids"]
    spans = find_spans(ids, torch.ones_like(ids), [IMAGE], output_start=length)
    with torch.no_grad(), intervene(model, vissink, spans=spans):
        model(**longer)
    with torch.no_grad(), intervene(model, vissink):
        model(**longer)  # the same tokens as part of the prompt
    answered, asked = vissink.columns(0, 0)[0], vissink.columns(1, 0)[0]
    assert max(answered) < length
    assert asked == [*answered, length, length + 2]


@pytest.mark.parametrize("family", FAMILIES)
def test_dimensions_are_found_in_the_first_token(family: str) -> None:
    model = massive(family)
    # phi is at most sqrt(32) = 5.66, shared by two dimensions here
    assert find_sink_dims(model, BEGIN, tau=3.0) == (5, 9)
    assert find_sink_dims(model, tau=3.0) == (5, 9)  # the configuration names the token
    assert find_sink_dims(model, tau=4.2) == (5,)
    assert find_sink_dims(model, LOUD, tau=3.0) == ()
    adapter_for(model).text_config.bos_token_id = None
    with pytest.raises(UnsupportedError, match="names no token"):
        find_sink_dims(model)


def test_most_layers_decide() -> None:
    model = massive("llava", layers=4)
    layers = adapter_for(model).layers
    for enough, layer in ((True, 2), (False, 1)):
        # from what this layer adds on, another dimension is the massive one
        bias = torch.zeros(32, dtype=F64)
        bias[20] = 1e5
        hook = layers[layer].register_forward_hook(lambda *call, bias=bias: call[2] + bias)
        found = find_sink_dims(model, tau=3.0)
        hook.remove()
        assert found == ((5, 9) if enough else ())


class Scrambled(HiddenStateIntervention):
    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        return states.flip(-1)


def test_found_dimensions_depend_on_the_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = massive("qwen2_5_vl")
    options = {**VisSink.strong, "tau": 3.0, "dims": None}
    found, given = VisSink(**options), VisSink(**{**options, "dims": [5, 9]})
    samples = tiny_samples("qwen2_5_vl", (1, 2), dtype=F64)
    for sample in samples:
        sample.inputs["input_ids"][:, 0] = BEGIN
        sample.inputs["input_ids"][:, sample.images[0][0] - 1] = LOUD
    calls = []
    original = module.find_sink_dims

    def counted(*args: Any, **kwargs: Any) -> tuple[int, ...]:
        calls.append(args[1:])
        return original(*args, **kwargs)

    monkeypatch.setattr("lvlmsal.interventions.vissink.intervention.find_sink_dims", counted)
    # what else acts, and on which samples, leaves no trace in what is found
    logits(model, collate(samples), Scrambled(), found)
    for inputs in (samples[0].inputs, samples[1].inputs, collate(samples)):
        assert torch.equal(logits(model, inputs, found), logits(model, inputs, given))
    assert calls == [(BEGIN,)]


def test_first_tokens_of_their_own_have_dimensions_of_their_own(watched: Watched) -> None:
    model = massive("llava", layers=2)
    table: Any = model.get_input_embeddings()
    with torch.no_grad():
        table.weight[LOUD, 20] = 500.0
    samples = tiny_samples("llava", (1, 1), dtype=F64)
    for sample, first in zip(samples, (BEGIN, LOUD), strict=True):
        sample.inputs["input_ids"][:, 0] = first
    logits(model, collate(samples), Watched(**{**vars(watched), "tau": 3.0, "dims": None}))
    assert list(watched.seen[0].dims) == [(5, 9), (20,)]
    pads = collate(samples)["attention_mask"].argmax(-1).tolist()
    assert watched.columns(0, 0) == [[pads[0]], [pads[1]]]


def test_a_model_without_massive_activations_is_refused() -> None:
    model = tiny_model("llava")
    pictured, plain = tiny_samples("llava", (1, 0))
    options = {**VisSink.strong, "dims": None, "tau": 20.0}
    with pytest.raises(UnsupportedError, match=r"no massive activations .* allow for 5\.7 at most"):
        logits(model, pictured.inputs, VisSink(**options))
    # without an image there is nothing to do, and nothing to look for
    assert torch.equal(logits(model, plain.inputs, VisSink(**options)), logits(model, plain.inputs))


def test_dimensions_of_another_model_are_refused() -> None:
    model = tiny_model("llava")
    sample = tiny_samples("llava", (1,))[0]
    with pytest.raises(UnsupportedError, match="has 32 dimensions"):
        logits(model, sample.inputs, VisSink(dims=[31, 32], layers=None))


def test_published_dimensions_stand_at_their_checkpoints() -> None:
    found = {
        name: INTERVENTIONS.defaults("vissink", CATALOG.get(name)).get("dims") for name in CATALOG
    }
    assert {name: dims for name, dims in found.items() if dims} == {
        "llava-1.5-7b": [1415, 2533],
        "llava-1.5-13b": [2100, 4743],
        "qwen2-vl-7b": [458, 2570],
    }


def test_layers_by_default_are_the_papers() -> None:
    acting = [layer for layer in range(6) if VisSink().bind(6).applies_to(layer)]
    assert acting == [2, 3, 4]
    with pytest.raises(ConfigError, match="selects none"):
        VisSink().bind(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "tau must be above 0"),
        ({"tau": float("nan")}, "tau must be above 0"),
        ({"keep": 1.5}, "keep must be from 0 to 1, got 1.5"),
        ({"image_mass": -0.1}, "image_mass must be from 0 to 1, got -0.1"),
        ({"sink_share": 2}, "sink_share must be from 0 to 1, got 2.0"),
        ({"dims": []}, "indices into the residual stream"),
        ({"dims": [3, -1]}, "indices into the residual stream"),
        ({"dims": 3}, "must be"),
        ({"layers": "deep"}, "is not understood"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        INTERVENTIONS.build("vissink", **options)
