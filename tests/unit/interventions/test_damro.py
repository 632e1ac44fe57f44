"""DAMRO against a hand case and against full runs on embeddings that are put together by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters.towers import TowerFeatures
from lvlmsal.attention import intervene
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.damro import DAMRO
from lvlmsal.testing.intervention import check_intervention
from lvlmsal.testing.tiny import IMAGE, collate, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.unit.interventions.siblings import check_contrast_of_two_runs

pytestmark = pytest.mark.slow

F64 = torch.float64


def test_one_wide_head_and_the_mean_of_heads_choose_differently() -> None:
    """Two heads of one dimension: products (4, 0, 3) and (0, 3, 0), so sums 4, 3 and 3."""
    queries = torch.zeros(1, 4, 2, 1)
    queries[:, 0] = 1.0
    keys = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0], [3.0, 0.0]])[None, :, :, None]
    features = torch.arange(3.0)[None, :, None]
    given = TowerFeatures(features, queries, keys, has_class_token=True)
    assert DAMRO(kept=1).outliers(given).flatten().tolist() == [0.0]
    # softmax: .69 of the first head for the first patch, .87 of the second one for the second
    assert DAMRO(kept=1, heads="mean").outliers(given).flatten().tolist() == [1.0]
    # in the order of the image, not of their shares
    assert DAMRO(kept=2, heads="mean").outliers(given).flatten().tolist() == [0.0, 1.0]
    assert DAMRO(kept=10).outliers(given).flatten().tolist() == [0.0, 1.0, 2.0]


def amateur(model: Any, inputs: Any, answer: list[int], edit: DAMRO) -> Tensor:
    """Logits (V,) of a run on the text and the chosen features alone."""
    core = model.model
    pixels = inputs["pixel_values"]
    tower = core.vision_tower
    with torch.no_grad():
        states = tower(pixels, output_hidden_states=True).hidden_states
        layer = getattr(tower, "vision_model", tower).encoder.layers[-2]
        normed = layer.layer_norm1(states[-3])
        query, key = layer.self_attn.q_proj(normed)[:, 0], layer.self_attn.k_proj(normed)[:, 1:]
        shares = (query[:, None] * key).sum(-1)
        features = core.multi_modal_projector(states[-2][:, 1:])
        embed = model.get_input_embeddings()
        parts, image, seen = [], 0, 0
        for token in [*inputs["input_ids"][0].tolist(), *answer]:
            if token != IMAGE:
                parts.append(embed(torch.tensor([[token]])))
                continue
            chosen = sorted(shares[image].argsort(descending=True)[: edit.kept].tolist())
            if seen in chosen:
                parts.append(features[image, seen][None, None])
            seen += 1
            if seen == features.shape[1]:
                image, seen = image + 1, 0
        logits: Tensor = model(inputs_embeds=torch.cat(parts, dim=1)).logits
    return logits[0, -1]


@pytest.mark.parametrize("use_cache", [True, False])
def test_every_step_is_the_contrast_of_two_runs(use_cache: bool) -> None:
    edit = DAMRO(alpha=1.5, beta=0.0, kept=3)
    check_contrast_of_two_runs("llava", edit, amateur, use_cache=use_cache)


def test_all_patches_kept_is_the_plain_model() -> None:
    model = tiny_model("llava", dtype=F64)
    batch = collate(tiny_samples("llava", (1, 2), dtype=F64))
    plain = streams.decode(model, batch)
    with intervene(model, DAMRO(beta=0.0, kept=10_000)):
        found = streams.decode(model, batch)
    assert torch.equal(found[0], plain[0])
    assert streams.close(found[1], plain[1])


def test_it_keeps_every_promise() -> None:
    off = DAMRO(**DAMRO.off)
    check_intervention(DAMRO(**DAMRO.strong), identity=off, families=["llava"])


def test_other_encoders_are_refused() -> None:
    model, batch = tiny_model("qwen2_vl"), collate(tiny_samples("qwen2_vl", (1,)))
    with (
        pytest.raises(UnsupportedError, match="no image encoder that can be looked into"),
        intervene(model, DAMRO()),
    ):
        streams.decode(model, batch)
    given = TowerFeatures(
        torch.zeros(1, 3, 2), torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1), False
    )
    with pytest.raises(UnsupportedError, match="class token of the image encoder"):
        DAMRO().outliers(given)
    with pytest.raises(ValueError, match="kept must be at least 1, got 0"):
        DAMRO(kept=0)


@pytest.mark.full
def test_an_image_of_several_pictures_is_refused() -> None:
    model, batch = tiny_model("llava_next"), collate(tiny_samples("llava_next", (1,)))
    with (
        pytest.raises(UnsupportedError, match="their number cannot be changed"),
        intervene(model, DAMRO(kept=2)),
    ):
        streams.decode(model, batch)
