"""AGLA by hand, its mask against a plain restatement, and `Lvlm` against two plain models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import LogitsContext
from lvlmsal.errors import ConfigError
from lvlmsal.evidence import Relevance, StandIn
from lvlmsal.interventions.agla import AGLA, kept_places, relevant_part, scaled
from lvlmsal.model.loading import load
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import tiny_lvlm
from tests import second_streams as streams
from tests.tiers import FAMILIES
from tests.unit.model.test_lvlm import picture

WITH = TokenSpans(pad=0, images=((1, 3),), output_start=5, length=5)
WITHOUT = TokenSpans(pad=2, images=(), output_start=3, length=3)


def edited(edit: AGLA, second: list[list[float]] | None) -> Any:
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0]])[:, None]
    other = None if second is None else torch.tensor(second)[:, None]
    context = LogitsContext(None, [WITH, WITHOUT], 0, other, {})  # type: ignore[arg-type]
    return edit.logits(first, context)[:, 0].tolist()


def test_the_sum_by_hand() -> None:
    other = [[0.0, 1.0], [0.0, 1.0]]
    assert edited(AGLA(evidence="stand-in", beta=0), other) == [[1.0, 2.0], [1.0, 0.0]]
    # e^-1 is below a half
    assert edited(AGLA(evidence="stand-in"), other) == [[1.0, -math.inf], [1.0, 0.0]]
    assert edited(AGLA(control=True, beta=0), None) == [[3.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("similarity", "kept"), [(0.4, 5), (0.8, 4), (1.0, 3), (2.0, 1), (0.0, 5), (-1.0, 5)]
)
def test_how_much_is_kept(similarity: float, kept: int) -> None:
    values = np.array([1.0, 4, 3, 2, 5])
    found = kept_places(values, similarity)
    assert found.sum() == kept
    assert values[found].min() > values[~found].max(initial=0)


def test_a_map_is_scaled_over_the_image_and_the_rest_is_black() -> None:
    rising = Relevance(np.tile(np.arange(4, dtype=np.float32), (4, 1)) - 2, 1.0)
    values = scaled(rising, (80, 40))
    assert values.shape == (40, 80)
    assert (np.diff(values[20, 10:60]) > 0).all()
    assert values.min() >= 0
    assert values.max() <= 1

    class Rising(StandIn):
        def relevance(self, image: Image.Image, text: str) -> Relevance:
            assert text == "Where?"
            return rising

    image = Image.new("RGB", (80, 40), (9, 90, 200))
    found = np.asarray(relevant_part(image, evidence=Rising(), question="Where?"))
    ordered = sorted(values.flatten().tolist(), reverse=True)
    threshold = ordered[math.floor(80 * 40 * 0.5)]
    for row in range(0, 40, 7):
        for column in range(0, 80, 3):
            wanted = [9, 90, 200] if values[row, column] >= threshold else [0, 0, 0]
            assert found[row, column].tolist() == wanted
    share = (found.sum(-1) > 0).mean()
    assert 0.49 < share < 0.53


def test_what_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"evidence is missing, .* relevance of places.*file"):
        INTERVENTIONS.build("agla")
    with pytest.raises(ConfigError, match=r"'object-detection' tells objects.*blip-matching, file"):
        INTERVENTIONS.build("agla", evidence="object-detection")
    with pytest.raises(ConfigError, match=r"unknown evidence 'blip-matchin'. Did you mean"):
        INTERVENTIONS.build("agla", evidence="blip-matchin")
    with pytest.raises(ConfigError, match="evidence 'file': option 'path' is missing"):
        INTERVENTIONS.build("agla", evidence={"name": "file"})
    assert AGLA(alpha=0, beta=0).is_identity
    assert not AGLA(control=True).brings_second_stream
    assert AGLA(evidence="stand-in").recorded()["evidence"] == {"name": "stand-in", "version": ""}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_two_plain_models(family: str) -> None:
    lvlm = load(tiny_lvlm(family, dtype=torch.float64))
    edit = AGLA(evidence="stand-in", alpha=1.5, beta=0.01)
    entries = [[picture(60, 40, 1), picture(36, 52, 2)], [], [picture(48, 48, 3)]]
    questions = ["Is there a cat?", "Why?", "Is there a dog in it?"]
    found = lvlm.generate(entries, questions, interventions=[edit], max_new_tokens=4)
    plain = lvlm.generate(entries, questions, max_new_tokens=4)
    assert found[1].token_ids == plain[1].token_ids

    def combine(own: torch.Tensor, other: torch.Tensor, step: int) -> torch.Tensor:
        probs = own.softmax(-1)
        return torch.where(probs >= 0.01 * probs.max(), own + 1.5 * other, -torch.inf)

    for index in (0, 2):
        inputs = lvlm.adapter.encode([entries[index]], [questions[index]])
        copies = [
            relevant_part(image, evidence=StandIn(), question="?") for image in entries[index]
        ]
        assert copies != entries[index]
        second = lvlm.adapter.encode([copies], [questions[index]])
        ids = found[index].token_ids
        wanted = streams.combined(lvlm.model, inputs, second, combine, ids)
        assert wanted.argmax(-1).tolist() == ids
