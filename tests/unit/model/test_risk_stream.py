"""Tokens with risks while an answer is written: those that the finished answer has."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from PIL import Image
from transformers.generation.streamers import BaseStreamer

from lvlmsal import UnsupportedError, load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.risk_stream import RiskyToken, TokenRiskStreamer
from lvlmsal.pocket.scenes.draw import draw
from lvlmsal.pocket.scenes.scene import sample_scene
from lvlmsal.testing.tiny import tiny_lvlm

PROMPT = "Please describe this image in detail."


@pytest.fixture(scope="module")
def lvlm() -> Lvlm:
    return load("pocket-llava")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return draw(sample_scene(random.Random(5), shifted=True))


@pytest.mark.parametrize(
    ("detector", "options"),
    [
        ("early-lens", {}),
        ("entropy", {}),
        ("log-probability", {"interventions": ["vcd"]}),
        ("early-lens", {"interventions": ["locore"]}),
    ],
)
def test_risks_are_those_of_the_finished_answer(
    lvlm: Lvlm, image: Image.Image, detector: str, options: dict[str, Any]
) -> None:
    told: list[RiskyToken] = []
    streamer = TokenRiskStreamer(lvlm, told.append, detector=detector)
    answer = lvlm.generate(image, PROMPT, streamer=streamer, max_new_tokens=48, **options)
    assert told == streamer.tokens
    assert [token.id for token in told] == answer.token_ids
    assert "".join(token.text for token in told) == answer.text
    edits = options.get("interventions", ())
    found = lvlm.detect(image, PROMPT, answer.token_ids, detector=detector, interventions=edits)
    judged = {word.tokens[0]: word for word in found.words}
    assert judged
    for at, token in enumerate(told):
        assert (token.risk is None) == (at not in judged)
        if token.risk is not None:
            assert token.risk == pytest.approx(judged[at].risk, abs=1e-4)
            assert token.flagged == judged[at].flagged
    # who listens changes nothing
    assert lvlm.generate(image, PROMPT, max_new_tokens=48, **options).token_ids == answer.token_ids


@pytest.mark.parametrize("decoder", ["guided", {"name": "sgrs", "plausibility": 0.001}])
def test_decoders_that_look_ahead_are_refused(
    lvlm: Lvlm, image: Image.Image, decoder: object
) -> None:
    streamer = TokenRiskStreamer(lvlm)
    with pytest.raises(UnsupportedError, match="chooses one token a pass"):
        lvlm.generate(image, PROMPT, decoder=decoder, streamer=streamer, max_new_tokens=24)


def test_one_streamer_hears_one_answer_of_one_model(lvlm: Lvlm, image: Image.Image) -> None:
    streamer = TokenRiskStreamer(lvlm)
    with pytest.raises(UnsupportedError, match="another model"):
        load(tiny_lvlm("llava")).generate(image, "?", streamer=streamer)
    lvlm.generate(image, PROMPT, streamer=streamer, max_new_tokens=4)
    with pytest.raises(UnsupportedError, match="has heard an answer"):
        lvlm.generate(image, PROMPT, streamer=streamer, max_new_tokens=4)


def test_what_reads_more_than_the_predicting_row_is_refused(lvlm: Lvlm) -> None:
    with pytest.raises(UnsupportedError, match="reads more than the row"):
        TokenRiskStreamer(lvlm, detector="svar")


def test_without_the_passes_there_are_no_risks(lvlm: Lvlm) -> None:
    streamer = TokenRiskStreamer(lvlm)
    streamer.put(torch.tensor([[1, 2, 3]]))
    with pytest.raises(UnsupportedError, match="1 tokens came after 0 passes"):
        streamer.put(torch.tensor([4]))


def test_it_is_a_streamer_of_transformers() -> None:
    assert issubclass(TokenRiskStreamer, BaseStreamer)
