"""AvisC against a hand case and against two plain loops over models that no scope knows."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.attention import intervene
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.avisc import AvisC, OnlyBlind
from lvlmsal.testing.tiny import IMAGE, collate, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.tiers import FAMILIES
from tests.unit.interventions import by_hand

pytestmark = pytest.mark.slow

F64 = torch.float64


def test_tokens_below_a_deviation_above_the_mean_are_zero() -> None:
    """Mean .25, unbiased deviation .129: the threshold is .379."""
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    assert OnlyBlind(share=0.5, deviations=1.0).unseeing(weights).tolist() == [True] * 3 + [False]


def test_layers_that_attend_to_the_image_most_choose() -> None:
    """Sums 1, 6 and 3: the second has .6 of all, so .5 takes it alone, .7 the third one as well."""
    weights = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 6.0], [0.0, 0.0, 3.0, 0.0]])
    edit = OnlyBlind(share=0.5, deviations=1.0)
    assert edit.unseeing(weights).tolist() == [True, True, True, False]
    # (0, 0, 1.5, 3): mean 1.125, deviation 1.436
    assert OnlyBlind(0.7, 0.0).unseeing(weights).tolist() == [True, True, False, False]
    # (.7, .1, 3.1, 6.1) / 3 of all: mean .833
    assert OnlyBlind(1.0, 0.0).unseeing(weights).tolist() == [True, True, False, False]
    assert OnlyBlind(1.0, -10.0).unseeing(weights).tolist() == [False] * 4


def test_a_single_token_is_left() -> None:
    assert OnlyBlind(0.5, 1.0).unseeing(torch.tensor([[0.3], [0.2]])).tolist() == [False]


def zeroed(model: Any, inputs: Any, edit: AvisC) -> list[int]:
    """Positions of a prompt whose embeddings are zero, by loops over its weights."""
    kept: list[Tensor] = []

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
        kept.append(weights[0, :, -1].mean(0))
        return weights

    with by_hand.attention_by_hand(model, rule), torch.no_grad():
        model(**inputs)
    image = [i for i, t in enumerate(inputs["input_ids"][0].tolist()) if t == IMAGE]
    sums = {layer: sum(float(row[i]) for i in image) for layer, row in enumerate(kept)}
    chosen, reached = [], 0.0
    for layer in sorted(sums, key=lambda each: -sums[each]):
        if reached < edit.share * sum(sums.values()):
            chosen.append(layer)
            reached += sums[layer]
    mean = [sum(float(kept[layer][i]) for layer in chosen) / len(chosen) for i in image]
    center = sum(mean) / len(mean)
    deviation = (sum((value - center) ** 2 for value in mean) / (len(mean) - 1)) ** 0.5
    limit = center + edit.deviations * deviation
    return [i for i, value in zip(image, mean, strict=True) if value < limit]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_every_step_is_the_contrast_of_two_models(family: str, use_cache: bool) -> None:
    edit = AvisC(alpha=1.5, beta=0.0)
    model: Any = tiny_model(family, layers=3, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64)
    with intervene(model, edit):
        tokens, logits = streams.decode(model, collate(samples), use_cache=use_cache)
    for row, sample in enumerate(samples):
        columns = zeroed(model, sample.inputs, edit)
        assert columns
        changed = copy.deepcopy(model)

        def zero(_: object, args: Any, kwargs: Any, columns: list[int] = columns) -> Any:
            states = (kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]).clone()
            states[:, columns] = 0
            if "hidden_states" in kwargs:
                return args, {**kwargs, "hidden_states": states}
            return (states, *args[1:]), kwargs

        changed.get_decoder().layers[0].register_forward_pre_hook(zero, with_kwargs=True)
        for step in range(4):
            answer = tokens[row, :step].tolist()
            seen = streams.following(model, sample.inputs, answer)
            unseen = streams.following(changed, sample.inputs, answer)
            assert (seen - unseen).abs().max() > 1e-3, "the second stream is the first one"
            assert streams.close(logits[row, step], 2.5 * seen - 1.5 * unseen), (row, step)


def test_a_model_with_features_in_deeper_layers_is_refused() -> None:
    model, batch = tiny_model("qwen3_vl"), collate(tiny_samples("qwen3_vl", (1,)))
    with (
        pytest.raises(UnsupportedError, match="adds image features to several layers"),
        intervene(model, AvisC()),
    ):
        streams.decode(model, batch)


def test_options_that_mean_nothing() -> None:
    with pytest.raises(ValueError, match=r"share must be above 0 and at most 1, got 0"):
        AvisC(share=0.0)
    with pytest.raises(ValueError, match="deviations must be a number"):
        AvisC(deviations=float("inf"))
