"""SCR against attention that transformers returns and hidden states that the test moves itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.interventions.scr.intervention import SCR
from lvlmsal.registry import CATALOG, INTERVENTIONS
from lvlmsal.testing.tiny import IMAGE, VIDEO, TinySample, collate, tiny_model, tiny_samples
from tests.tiers import FAMILIES

EDITED, DIAGNOSED = (0, 1), (1, 2)
OPTIONS: dict[str, Any] = {"layers": "0:2", "diagnosis_layers": "1:3"}


def model_of(family: str) -> PreTrainedModel:
    return tiny_model(family, layers=4, dtype=torch.float64)


def samples_of(family: str, counts: Sequence[int]) -> list[TinySample]:
    """Samples whose first image has an inner patch, where the family has such images."""
    for seed in range(200):
        samples = tiny_samples(family, counts, seed=seed, dtype=torch.float64)
        rows, columns = samples[0].grids[0]
        if family == "internvl" or min(rows, columns) >= 3:
            return samples
    raise AssertionError("no seed draws a larger image")


# The rule once more, sample by sample and patch by patch.


def moves_by_hand(
    model: PreTrainedModel, family: str, sample: TinySample, k: int, exclude: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    """Positions of sources, and (neighbor, source), from an eager pass over a lone sample."""
    model.set_attn_implementation({"text_config": "eager"})
    with torch.no_grad():
        attentions = model(**sample.inputs, output_attentions=True).attentions
    model.set_attn_implementation({"text_config": "sdpa"})
    length = sample.inputs["input_ids"].shape[1]
    text = range(sample.images[-1][1], length)
    chosen, pairs = [], []
    for (start, end), (rows, columns) in zip(sample.images, sample.grids, strict=True):
        height = 2 if family == "internvl" else rows  # its tiles are 2 x 2

        def value(patch: int, start: int = start) -> float:
            seen = [
                float(attentions[layer][0, head, row, start + patch])
                for layer in DIAGNOSED
                for head in range(attentions[layer].shape[1])
                for row in text
            ]
            return sum(seen) / len(seen)

        def place(patch: int, columns: int = columns, height: int = height) -> tuple[int, ...]:
            return patch // columns // height, patch // columns % height, patch % columns

        values = {patch: value(patch) for patch in range(end - start)}
        inner = [
            patch
            for patch in values
            if 0 < place(patch)[1] < height - 1 and 0 < place(patch)[2] < columns - 1
        ]
        may = inner if exclude else list(values)
        mine = sorted(may, key=lambda patch: -values[patch])[:k]
        chosen += [start + patch for patch in mine]
        for patch in set(values) - set(mine):
            panel, row, column = place(patch)
            givers = [
                source
                for source in mine
                if place(source)[0] == panel
                and abs(place(source)[1] - row) <= 1
                and abs(place(source)[2] - column) <= 1
            ]
            if givers:
                best = max(givers, key=lambda source: values[source])
                pairs.append((start + patch, start + best))
    return chosen, pairs


@contextmanager
def moved_by_hand(
    model: PreTrainedModel,
    layers: Sequence[int],
    lam: float,
    moves: tuple[list[int], list[tuple[int, int]]],
) -> Iterator[None]:
    """Hooks on the layers of a model that is given whole, unpadded samples."""
    sources, pairs = moves

    def hook(_: nn.Module, args: object, output: Tensor) -> Tensor:
        after = output.clone()
        for neighbor, source in pairs:
            after[:, neighbor] += (lam - 1) * output[:, source]
        for source in sources:
            after[:, source] = output[:, source] / lam
        return after

    decoder: Any = model
    modules = decoder.get_decoder().layers
    handles = [modules[layer].register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def logits_of(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**inputs).logits
    return logits


@pytest.mark.parametrize("apply", ["every_layer", "once"])
@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_is_each_sample_edited_by_hand(
    family: str, exclude: bool, apply: str
) -> None:
    model, samples = model_of(family), samples_of(family, (1, 0, 2))
    edit = SCR(lam=2.0, k=2, apply=apply, exclude_border=exclude, **OPTIONS)  # type: ignore[arg-type]
    with intervene(model, edit):
        found = logits_of(model, collate(samples))
    layers = EDITED if apply == "every_layer" else EDITED[:1]
    changed = False
    # rotary angles are float32, so that padding moves what a plain forward gives a little
    close = 1e-4
    for row, sample in enumerate(samples):
        plain = logits_of(model, sample.inputs)
        wanted = plain
        if sample.images:
            moves = moves_by_hand(model, family, sample, 2, exclude)
            with moved_by_hand(model, layers, 2.0, moves):
                wanted = logits_of(model, sample.inputs)
            if moves[0]:
                assert not torch.allclose(wanted, plain, atol=1e-2)
                changed = True
        assert torch.allclose(found[row, -plain.shape[1] :], wanted[0], rtol=0, atol=close)
    # InternVL's tiny tiles have no inner patch, so there is nobody to give
    assert changed == (family != "internvl" or not exclude)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_goes_on_from_the_edited_image(family: str, use_cache: bool) -> None:
    model, sample = model_of(family), samples_of(family, (1,))[0]
    edit = SCR(lam=2.0, k=2, exclude_border=False, **OPTIONS)
    generative: Any = model
    with intervene(model, edit):
        ids = generative.generate(
            **sample.inputs,
            max_new_tokens=4,
            do_sample=False,
            use_cache=use_cache,
            suppress_tokens=[IMAGE, VIDEO, 2],
        )
    moves = moves_by_hand(model, family, sample, 2, False)
    adapter, inputs = adapter_for(model), sample.inputs
    with moved_by_hand(model, EDITED, 2.0, moves):
        for _ in range(4):
            scores = logits_of(model, inputs)[:, -1]
            scores[:, [IMAGE, VIDEO, 2]] = -torch.inf
            inputs = adapter.append(inputs, scores.argmax(-1)[:, None])
    assert torch.equal(ids, inputs["input_ids"])


# What repeating the update does to a patch.


def edited_alone(edit: SCR, depth: int, states: Tensor) -> Tensor:
    """States (n, D) of a 3 x 3 image and two tokens of text after every layer's edit."""
    bound = edit.bind(depth)
    giver = torch.full((9,), 4)
    moves = torch.stack([torch.zeros(9, dtype=torch.long), torch.arange(9), giver])
    columns = torch.arange(len(states))
    for layer in range(depth):
        if bound.applies_to(layer):
            context = AttentionContext(
                [TokenSpans(0, ((0, 9),), 11, 11)],
                columns,
                columns,
                layer,
                depth,
                first_query_column=0,
                states={id(bound): moves},
            )
            states = bound.layer_output(states[None], context)[0]
    return states


@pytest.mark.parametrize(
    ("apply", "retained", "given"), [("every_layer", 0.32, 0.75), ("once", 0.909, 0.1)]
)
def test_how_much_is_left_after_twelve_layers(apply: Any, retained: float, given: float) -> None:
    states = torch.zeros(11, 2, dtype=torch.float64)
    states[4, 0], states[0, 1], states[10] = 1.0, 1.0, 5.0
    after = edited_alone(SCR(layers="0:12", apply=apply), 32, states)
    assert float(after[4, 0]) == pytest.approx(retained, abs=2e-3)
    assert after[[0, 1, 2, 3, 5, 6, 7, 8], 0].tolist() == pytest.approx([given] * 8, abs=5e-3)
    assert float(after[0, 1]) == 1  # what a neighbor had, it keeps
    assert torch.equal(after[9:], states[9:])


def test_half_precision_rounds_once() -> None:
    states = torch.randn(11, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    after = edited_alone(SCR(layers="0:1"), 4, states)
    exact = states.double()
    exact[:9] += 0.1 * states[4].double()
    exact[4] = states[4].double() / 1.1
    assert torch.equal(after, exact.to(torch.bfloat16))


# Passes, and what is refused.


class Counter:
    """Batch size and number of decoder layers of each pass."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.passes: list[list[int]] = []
        decoder: Any = model
        layers = decoder.get_decoder().layers
        decoder.get_decoder().register_forward_pre_hook(self._begins)
        for layer in layers:
            layer.register_forward_pre_hook(self._layer, with_kwargs=True)

    def _begins(self, *_: object) -> None:
        self.passes.append([0, 0])

    def _layer(self, module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        self.passes[-1] = [states.shape[0], self.passes[-1][1] + 1]


@pytest.mark.parametrize("family", FAMILIES)
def test_beams_are_diagnosed_once_and_through_no_more_layers_than_needed(family: str) -> None:
    model, samples = model_of(family), samples_of(family, (1, 0, 2))
    counter, edit = Counter(model), SCR(lam=2.0, k=2, exclude_border=False, **OPTIONS)
    generative: Any = model
    with intervene(model, edit):
        generative.generate(
            **collate(samples), max_new_tokens=1, do_sample=False, num_beams=3, min_new_tokens=1
        )
    # the sample without an image is not diagnosed
    assert counter.passes == [[2, 3], [9, 4]]


def test_text_alone_is_not_diagnosed() -> None:
    model = model_of("llava")
    counter = Counter(model)
    inputs = collate(samples_of("llava", (1, 0))[1:])
    plain = logits_of(model, inputs)
    with intervene(model, SCR(**SCR.strong)):
        assert torch.equal(logits_of(model, inputs), plain)
    assert len(counter.passes) == 2


def test_frames_of_a_video_do_not_mix() -> None:
    model = model_of("qwen2_vl")
    ids = torch.tensor([[1, 9, *[VIDEO] * 18, 20, 21, 22]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": 2 * (ids == VIDEO).long(),
        "pixel_values_videos": torch.randn(72, 96, dtype=torch.float64),
        "video_grid_thw": torch.tensor([[2, 6, 6]]),
    }
    adapter = adapter_for(model)
    spans = adapter.spans(ids)
    assert adapter.image_grids(inputs, spans) == [(6, 3)]
    assert adapter.panels(inputs, spans) == [2]
    # one inner patch in each frame, all of whose neighbors are in that frame
    wanted = ([6, 15], [(2 + n, 6) for n in range(9) if n != 4])
    wanted[1].extend((11 + n, 15) for n in range(9) if n != 4)
    with intervene(model, SCR(lam=2.0, **OPTIONS)):
        found = logits_of(model, inputs)
    with moved_by_hand(model, EDITED, 2.0, wanted):
        assert torch.allclose(found, logits_of(model, inputs), atol=1e-9)


def test_a_prompt_that_ends_in_its_image_shows_no_patch_that_matters() -> None:
    model, sample = model_of("llava"), samples_of("llava", (1,))[0]
    end = sample.images[0][1]
    cut = {k: v[:, :end] if v.dim() == 2 else v for k, v in sample.inputs.items()}
    with intervene(model, SCR()), pytest.raises(UnsupportedError, match="ends in its image"):
        logits_of(model, cut)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 0.9}, "lam must be at least 1 .*, got 0.9"),
        ({"lam": float("inf")}, "lam must be at least 1 .*, got inf"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"layers": "early"}, "layers='early' is not understood"),
        ({"diagnosis_layers": "late"}, "layers='late' is not understood"),
        ({"apply": "twice"}, "apply"),
        ({"diagnosis": "answer"}, "diagnosis"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        INTERVENTIONS.build("scr", **options)


@pytest.mark.parametrize("name", ["apply", "diagnosis"])
def test_unknown_choices_are_refused_by_the_class_too(name: str) -> None:
    options: dict[str, Any] = {name: "other"}
    with pytest.raises(ValueError, match=f"{name}='other' is unknown: choose one of"):
        SCR(**options)


def test_layers_that_the_model_does_not_have_are_refused_when_the_scope_is_made() -> None:
    with pytest.raises(ConfigError, match="'scr': layers='8:17' reaches beyond a model of 4"):
        intervene(model_of("llava"), SCR(layers="0:2", diagnosis_layers="8:17"))


def test_layers_of_the_paper() -> None:
    def of(name: str) -> tuple[object, object]:
        options = INTERVENTIONS.defaults("scr", CATALOG.get(name))
        return options.get("layers"), options.get("diagnosis_layers")

    assert of("llava-1.5-13b") == of("llava-1.5-7b") == ("0:12", "8:17")
    assert of("qwen2-vl-7b") == ("0:16", "8:17")
    assert of("internvl2.5-8b-mpo") == (None, None)
    # unknown models: the paper's choice for 32 layers
    assert SCR().bind(32).applies_to(15)
    assert not SCR().bind(32).applies_to(16)
