"""An answer piece by piece: the same as in one piece, and no longer than somebody listens."""

from __future__ import annotations

import gc
from threading import Event
from typing import Any

import pytest
import torch
from transformers.generation.streamers import BaseStreamer

from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import ConfigError, DataError, UnsupportedError
from lvlmsal.model.answer import Answer
from lvlmsal.model.stream import AnswerStream
from tests.unit.model.test_lvlm import QUESTION, loaded, picture

pytestmark = pytest.mark.slow

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"decoder": {"name": "sample", "temperature": 2.0}, "seed": 3},
    "sgrs": {"decoder": SGRS(alpha=1.5)},
    "second stream": {"interventions": "vcd"},
}


@pytest.mark.parametrize("way", WAYS)
def test_pieces_are_the_answer(way: str) -> None:
    lvlm = loaded("llava")
    options = {"max_new_tokens": 6, **WAYS[way]}
    stream = lvlm.stream(picture(), QUESTION, **options)
    pieces = list(stream)
    wanted = lvlm.generate(picture(), QUESTION, **options)
    assert "".join(pieces) == wanted.text
    assert len(pieces) > 1
    assert stream.answer.token_ids == wanted.token_ids
    assert list(stream) == []


@pytest.mark.parametrize("decoder", ["beam", "opera"])
def test_what_may_be_left_again_is_not_streamed(decoder: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{decoder} cannot stream"):
        loaded("llava").stream(picture(), QUESTION, decoder=decoder)


def test_mistakes_are_told() -> None:
    lvlm = loaded("llava")
    with pytest.raises(ConfigError, match="gredy"):
        lvlm.stream(picture(), QUESTION, decoder="gredy")
    with pytest.raises(TypeError, match="one question"):
        lvlm.stream(picture(), [QUESTION, QUESTION])  # type: ignore[arg-type]
    stream = lvlm.stream("no-such.png", QUESTION)
    for _ in range(2):
        with pytest.raises(DataError, match="no such image file"):
            next(stream)


class Writer:
    """Tells a prompt and bytes of a text, a token each, and waits in their midst."""

    def __init__(self, text: str, pause: int) -> None:
        self.data, self.pause = text.encode(), pause
        self.go, self.ended = Event(), Event()

    def __call__(self, streamer: BaseStreamer) -> Answer:
        try:
            streamer.put(torch.tensor([[7, 7]]))  # type: ignore[no-untyped-call]
            for index, token in enumerate(self.data):
                if index == self.pause:
                    assert self.go.wait(20)
                streamer.put(torch.tensor([token]))  # type: ignore[no-untyped-call]
            streamer.end()  # type: ignore[no-untyped-call]
        finally:
            self.ended.set()
        return Answer("", "", [], [], None, 0.0, 0, None)  # type: ignore[arg-type]


def decode(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")


def test_a_character_comes_in_one_piece() -> None:
    writer = Writer("aé!", pause=9)
    assert list(AnswerStream(decode, writer)) == ["a", "é", "!"]


@pytest.mark.parametrize("closed", [True, False])
def test_the_model_stops_when_nobody_listens(closed: bool) -> None:
    writer = Writer("abc", pause=1)
    stream = AnswerStream(decode, writer)
    assert next(stream) == "a"
    if closed:
        stream._work.stop()  # what close does first; it then waits for the thread
    else:
        thread = stream._thread
        del stream
        gc.collect()
    writer.go.set()
    assert writer.ended.wait(20)
    if closed:
        stream.close()
        assert list(stream) == []
        with pytest.raises(UnsupportedError, match="closed before the end"):
            _ = stream.answer
    else:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("way", ["greedy", "sgrs", "second stream"])
def test_a_closed_stream_leaves_the_model_as_it_was(way: str) -> None:
    lvlm = loaded("llava")
    options = {"max_new_tokens": 6, **WAYS[way]}
    wanted = lvlm.generate(picture(), QUESTION, **options)
    stream = lvlm.stream(picture(), QUESTION, **{**options, "max_new_tokens": 400})
    next(stream)
    stream.close()
    assert not stream._thread.is_alive()
    with pytest.raises(UnsupportedError, match="closed before the end"):
        _ = stream.answer
    assert lvlm.generate(picture(), QUESTION, **options).token_ids == wanted.token_ids
