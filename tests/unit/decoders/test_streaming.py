"""Tokens are streamed as they become final, or refused at once; no stream stays open."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TextIteratorStreamer
from transformers.generation.streamers import BaseStreamer

import lvlmsal
from lvlmsal.decoders.opera.decoder import OPERA
from lvlmsal.decoders.search import Beam
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.testing.tiny import tiny_lvlm

pytestmark = pytest.mark.slow

STEPS = 6


class Told(BaseStreamer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.parts: list[list[int]] = []
        self.ended = 0

    def put(self, value: Tensor) -> None:
        self.parts.append(value.flatten().tolist())

    def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize(
    "names", [["streamer"], ["token_streamer"], ["streamer", "token_streamer"]]
)
@pytest.mark.parametrize("block_size", [1, 16])
def test_sgrs_streams_prompt_and_tokens(
    model: Any, inputs: dict[str, Tensor], block_size: int, names: set[str]
) -> None:
    sgrs = SGRS(alpha=0.9, block_size=block_size)
    told = {name: Told() for name in names}
    ids = model.generate(**inputs, max_new_tokens=STEPS, custom_generate=sgrs, **told)
    prompt = inputs["input_ids"][0].tolist()
    answer = ids[0, len(prompt) :].tolist()
    for streamer in told.values():
        assert streamer.parts == [prompt, *([token] for token in answer)]
        assert streamer.ended == 1


def test_one_streamer_under_both_names_is_told_once(model: Any, inputs: dict[str, Tensor]) -> None:
    told = Told()
    how: dict[str, Any] = {"max_new_tokens": STEPS, "custom_generate": SGRS()}
    ids = model.generate(**inputs, **how, streamer=told, token_streamer=told)
    assert [token for part in told.parts for token in part] == ids[0].tolist()
    assert told.ended == 1


def test_the_stream_of_a_generate_around_it_is_not_taken(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    """The stream belongs to the innermost generate, that which runs the loop."""
    inner, outer = Told(), Told()

    class Asks(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            how: dict[str, Any] = {"max_new_tokens": 2, "custom_generate": SGRS()}
            model.generate(**inputs, **how, streamer=inner)
            model.generate(**inputs, **how)
            return scores

    processors = LogitsProcessorList([Asks()])
    model.generate(
        **inputs, max_new_tokens=1, do_sample=False, logits_processor=processors, streamer=outer
    )
    assert (inner.ended, len(inner.parts)) == (1, 3)
    assert (outer.ended, len(outer.parts)) == (1, 2)


class Fails(LogitsProcessor):
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        raise ZeroDivisionError


def test_a_stream_ends_where_decoding_fails(model: Any, inputs: dict[str, Tensor]) -> None:
    told = Told()
    how: dict[str, Any] = {"custom_generate": SGRS(), "streamer": told, "max_new_tokens": STEPS}
    with pytest.raises(ZeroDivisionError):
        model.generate(**inputs, **how, logits_processor=LogitsProcessorList([Fails()]))
    assert told.ended == 1
    with pytest.raises(UnsupportedError, match="num_beams=1"):
        model.generate(**inputs, **how, num_return_sequences=2, do_sample=True)
    assert told.ended == 2


def test_an_iterator_ends_by_itself(inputs: dict[str, Tensor]) -> None:
    model, processor = tiny_lvlm("llava", dtype=torch.float64)
    generative: Any = model
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=60)
    ids = generative.generate(
        **inputs, max_new_tokens=STEPS, custom_generate=SGRS(), streamer=streamer
    )
    # all of it is in its queue by now
    text = processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :])
    assert "".join(streamer) == text


@pytest.mark.parametrize("decoder", [Beam(num_beams=2), OPERA(num_beams=2)])
def test_beams_refuse_to_stream_and_end_the_stream(
    model: Any, inputs: dict[str, Tensor], decoder: Beam
) -> None:
    told = Told()
    name = type(decoder).__name__
    with pytest.raises(UnsupportedError, match=f"{name} cannot stream"):
        decoder.generate_kwargs(streamer=told)
    assert told.ended == 1
    if isinstance(decoder, OPERA):
        with pytest.raises(UnsupportedError, match="OPERA cannot stream"):
            model.generate(**inputs, **decoder.generate_kwargs(), streamer=told)
        assert told.ended == 2


def test_the_library_streams_sgrs() -> None:
    told = Told()
    lvlm = lvlmsal.load(tiny_lvlm("llava"))
    answer = lvlm.generate(
        Image.new("RGB", (28, 28)), "Is it so?", decoder="sgrs", streamer=told, max_new_tokens=4
    )
    assert [token for part in told.parts[1:] for token in part] == answer.token_ids


@pytest.mark.parametrize(
    ("decoder", "name"),
    [
        (SGRS(), "output_scores"),
        (SGRS(), "output_logits"),
        (SGRS(), "output_attentions"),
        (SGRS(), "output_hidden_states"),
        (OPERA(num_beams=2), "output_logits"),
        (OPERA(num_beams=2), "output_hidden_states"),
    ],
)
def test_what_a_loop_does_not_keep_is_refused(
    model: Any, inputs: dict[str, Tensor], decoder: Any, name: str
) -> None:
    model.set_attn_implementation("eager")
    how: dict[str, Any] = {**decoder.generate_kwargs(), "max_new_tokens": 2, name: True}
    with pytest.raises(UnsupportedError, match=name):
        model.generate(**inputs, **how, return_dict_in_generate=True)


def test_opera_returns_the_scores_of_its_sequences(model: Any, inputs: dict[str, Tensor]) -> None:
    how: dict[str, Any] = {**OPERA(num_beams=2).generate_kwargs(), "max_new_tokens": 2}
    found = model.generate(**inputs, **how, output_scores=True, return_dict_in_generate=True)
    assert found.sequences_scores.shape == (1,)
