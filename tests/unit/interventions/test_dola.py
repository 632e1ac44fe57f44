"""DoLa against distributions worked out token by token from transformers' own hidden states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.layers import LayerSpec
from lvlmsal.interventions.dola import DoLa
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import IMAGE, VIDEO, collate, tiny_inputs, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES
from tests.unit.interventions.dola_by_hand import contrast, log_probabilities

pytestmark = pytest.mark.slow

F64 = torch.float64
# Without a cache transformers would look for the pixels of a generated image token.
PLAIN: dict[str, Any] = {"do_sample": False, "suppress_tokens": [2, IMAGE, VIDEO]}


def brute_row(
    model: PreTrainedModel, inputs: dict[str, Tensor], dola: DoLa, layers: list[int]
) -> tuple[list[float], int]:
    """What the last row of a plain pass over a whole sequence becomes."""
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
        exits = []
        for layer in layers:
            states = output.hidden_states[layer][0, -1]
            if dola.apply_final_norm:
                states = adapter_for(model).decoder.norm(states)
            exits.append(adapter_for(model).lm_head(states).tolist())
    mature = output.logits[0, -1].tolist()
    return contrast(mature, exits, dola.divergence, dola.relative_top, dola.alpha)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(
    ("dola", "layers"),
    [
        (DoLa(), [0, 2]),
        (DoLa(candidates="high", divergence="jsd"), [4, 6]),
        (DoLa(candidates=[7, 1, 4], apply_final_norm=True, relative_top=0.0), [1, 4, 7]),
        (DoLa(candidates=None, alpha=0.4, relative_top=0.01), list(range(8))),
        (DoLa(candidates="0.75:1.0", divergence="jsd", relative_top=0.001), [6, 7]),
        (DoLa(candidates=[3]), [3]),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_the_brute_force_model(
    family: str, dola: DoLa, layers: list[int], use_cache: bool
) -> None:
    model = tiny_model(family, layers=8, dtype=F64)
    samples = tiny_samples(family, (1, 2, 0), dtype=F64)
    batch = collate(samples)
    with intervene(model, dola):
        output = model.generate(
            **batch,
            **PLAIN,
            max_new_tokens=4,
            use_cache=use_cache,
            output_logits=True,
            return_dict_in_generate=True,
        )
    tokens = output.sequences[:, batch["input_ids"].shape[1] :].tolist()
    for index, sample in enumerate(samples):
        for step in range(4):
            inputs = reference.longer(sample.inputs, tokens[index][:step])
            wanted, _ = brute_row(model, inputs, dola, layers)
            found = output.logits[step][index]
            assert torch.allclose(found, torch.tensor(wanted), rtol=1e-5, atol=1e-5), (index, step)


def test_the_layers_chosen_differ_along_an_answer() -> None:
    """Else the test above would not show that the choice is right."""
    model = tiny_model("llava", layers=8, dtype=F64)
    sample = tiny_samples("llava", dtype=F64)[0]
    chosen = {
        brute_row(model, reference.longer(sample.inputs, [5, 9, 30, 77][:step]), dola, layers)[1]
        for dola, layers in [(DoLa(), [0, 2]), (DoLa(candidates=None), list(range(8)))]
        for step in range(5)
    }
    assert len(chosen) > 1


def test_a_pass_over_prompt_and_answer_edits_the_rows_that_predict_the_answer() -> None:
    model = tiny_model("qwen2_vl", layers=8, dtype=F64)
    sample = tiny_samples("qwen2_vl", dtype=F64)[0]
    answer, dola = [9, 30, 41], DoLa(candidates=[0, 3, 5])
    inputs = reference.longer(sample.inputs, answer)
    start = sample.inputs["input_ids"].shape[1]
    spans = adapter_for(model).spans(inputs["input_ids"], output_start=start)
    with torch.no_grad():
        plain = model(**inputs).logits[0]
        with intervene(model, dola, spans=spans):
            found = model(**inputs).logits[0]
    assert torch.equal(found[: start - 1], plain[: start - 1])
    for step in range(len(answer) + 1):
        shorter = reference.longer(sample.inputs, answer[:step])
        wanted, _ = brute_row(model, shorter, dola, [0, 3, 5])
        assert torch.allclose(found[start - 1 + step], torch.tensor(wanted, dtype=F64), rtol=1e-9)


class Contrasted(LogitsProcessor):
    """Scores of each beam from a pass of its own over the whole sequence."""

    def __init__(self, model: PreTrainedModel, dola: DoLa, layers: list[int]) -> None:
        self.model, self.dola, self.layers = model, dola, layers

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = [
            log_probabilities(
                brute_row(self.model, {"input_ids": ids[None]}, self.dola, self.layers)[0]
            )
            for ids in input_ids
        ]
        return torch.tensor(rows).to(scores)


def test_beams_are_ranked_by_the_normalized_contrast() -> None:
    model = tiny_model("llava", layers=4, dtype=F64)
    inputs = {"input_ids": tiny_inputs("llava", (0,))["input_ids"]}
    dola = DoLa(candidates=[0, 1, 3], relative_top=0.001)
    search: dict[str, Any] = {
        "num_beams": 3,
        "max_new_tokens": 4,
        "output_scores": True,
        "return_dict_in_generate": True,
        "suppress_tokens": None,
    }
    wanted = model.generate(
        **inputs,
        **{**PLAIN, **search},
        logits_processor=LogitsProcessorList([Contrasted(model, dola, [0, 1, 3])]),
    )
    with intervene(model, dola):
        found = model.generate(**inputs, **{**PLAIN, **search})
    assert torch.equal(found.sequences, wanted.sequences)
    assert torch.allclose(found.sequences_scores, wanted.sequences_scores, rtol=1e-5)
    assert not torch.equal(
        found.sequences, model.generate(**inputs, **{**PLAIN, **search}).sequences
    )


def test_tied_embeddings_are_found_on_the_model() -> None:
    model: Any = tiny_model("llava", layers=8, dtype=F64)
    inputs = tiny_inputs("llava", (0,) * 6)
    found: dict[str, Tensor] = {}
    choices: dict[str, LayerSpec] = {"low": "low", "2": [2], "0, 2": [0, 2]}
    for tied in (False, True):
        if tied:
            model.lm_head.weight = model.get_input_embeddings().weight
        for name, candidates in choices.items():
            # normed, so that layer 0 is among those that are chosen
            dola = DoLa(candidates=candidates, apply_final_norm=True)
            with torch.no_grad(), intervene(model, dola):
                found[name] = model(**inputs).logits[:, -1]
        assert torch.equal(found["low"], found["2" if tied else "0, 2"])
        assert not torch.equal(found["2"], found["0, 2"])


def test_the_projection_sees_one_row_a_candidate() -> None:
    model = tiny_model("llava", layers=8)
    batch = collate(tiny_samples("llava", (1, 0)))
    shapes: list[tuple[int, ...]] = []
    hook = model.lm_head.register_forward_hook(
        lambda *call: shapes.append(tuple(call[2].shape[:2]))
    )
    with torch.no_grad(), intervene(model, DoLa(candidates=[0, 1, 5])):
        model(**batch)
    hook.remove()
    assert shapes == [tuple(batch["input_ids"].shape), (2, 1), (2, 1), (2, 1)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_give_float32(dtype: torch.dtype) -> None:
    model = tiny_model("internvl", layers=8, dtype=dtype)
    with torch.no_grad(), intervene(model, DoLa()):
        logits = model(**tiny_inputs("internvl", (1, 0), dtype=dtype)).logits
    assert logits.dtype == torch.float32
    assert not logits.isnan().any()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_norm_is_the_one_in_front_of_the_projection(family: str) -> None:
    """What leaves the last layer, seen through it, is the model's own output: a contrast of 0."""
    model = tiny_model(family, dtype=F64)
    adapter, kept = adapter_for(model), []
    hook = adapter.layers[-1].register_forward_hook(lambda *call: kept.append(call[2]))
    with torch.no_grad():
        logits = model(**tiny_inputs(family, (1,), dtype=F64)).logits
        hook.remove()
        context = LogitsContext(adapter, (), 0, None, {1: kept[0]})
        dola = DoLa(candidates=[1], apply_final_norm=True, relative_top=0.0)
        found = dola.logits(logits, context)
    assert torch.allclose(found, torch.zeros_like(found), atol=1e-9)


def test_the_authors_repetition_penalty_acts_on_the_contrast() -> None:
    model, inputs = tiny_model("llava", layers=8), tiny_inputs("llava", (0,))
    model.generation_config.repetition_penalty = 1.2
    with intervene(model, DoLa()):
        output = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=1,
            output_logits=True,
            output_scores=True,
            return_dict_in_generate=True,
        )
    contrasted, scores = output.logits[0][0], output.scores[0][0]
    seen = torch.zeros(len(scores), dtype=torch.bool)
    seen[inputs["input_ids"][0]] = True
    penalized = torch.where(contrasted < 0, contrasted * 1.2, contrasted / 1.2)
    assert torch.allclose(scores, torch.where(seen, penalized, contrasted))


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [
        {"candidates": "high", "divergence": "jsd", "apply_final_norm": True},
        {"candidates": [1], "relative_top": 0.0},
    ],
)
def test_other_readings_pass_the_kit(options: dict[str, Any]) -> None:
    check_intervention(INTERVENTIONS.build("dola", **options), families=["qwen2_5_vl"])


@pytest.mark.parametrize("candidates", [[0, 8], [-9], [], "4:4", "0:9"])
def test_layers_that_the_model_lacks_are_named_and_nothing_is_left(candidates: Any) -> None:
    """Layer 8 of 8 is the model's own output."""
    model, inputs = tiny_model("llava", layers=8), tiny_inputs("llava", (0,))
    with pytest.raises(ValueError, match="Layer 8, the model's own output"):
        intervene(model, DoLa(candidates=candidates))
    assert model.config.get_text_config()._attn_implementation == "sdpa"
    assert not any(module._forward_pre_hooks for module in model.modules())
    with torch.no_grad(), intervene(model, DoLa(candidates=[7])):
        model(**inputs)
