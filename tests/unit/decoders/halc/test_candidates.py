"""What HALC asks of others about a judged word, and which tokens it does not take."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from lvlmsal.adapters import adapter_for
from lvlmsal.attention.asked import Asked
from lvlmsal.decoders.halc import HALC
from lvlmsal.decoders.halc.candidates import Candidates
from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.decoders.halc.rows import Row
from lvlmsal.decoders.halc.views import Views
from lvlmsal.detection.vocabulary import judged_vocabulary, words_for
from lvlmsal.evidence.base import Box
from lvlmsal.testing.tiny import tiny_lvlm
from tests.unit.model.test_lvlm import picture


class Listening:
    """A detector that finds every word too often, and remembers which they were."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        self.heard.append(word)
        return [Box(0.1, 0.1, 0.9, 0.9)] * 9


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (" dogs", "dog"),
        (" Dog", "dog"),
        (" bus", "bus"),
        (" benches", "benches"),
        (" scissors", "scissors"),
        (" buses", "buses"),
        (" traffic lights", "traffic light"),
    ],
)
def test_a_last_s_goes_where_a_word_is_left(said: str, asked: str) -> None:
    adapter = adapter_for(*tiny_lvlm("llava"))
    words, detector = words_for(adapter, judged_vocabulary("coco")), Listening()
    ids = adapter.tokenizer(said, add_special_tokens=False)["input_ids"]
    found = words.read(ids)[-1]
    assert found.name
    halc = HALC(evidence="stand-in", scorer="stand-in")
    views = Views(adapter, Asked({}, [[picture()]], ["What?"]), ["a"])
    none: Any = None  # nothing is scored
    candidates = Candidates(halc, adapter, words, detector, none, views, none)
    row = Row(0, tuple(map(HalcRecord, ids)), found=found)
    assert candidates.of(0, row, none) == []
    assert detector.heard == [asked]
