"""MARINE by hand, its prompts, and through `Lvlm` with objects from a file against two models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import LogitsContext
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evidence.stand_in import StandIn
from lvlmsal.interventions.marine import MARINE
from lvlmsal.model.loading import load
from lvlmsal.pictures import digest_of
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import tiny_lvlm
from tests import second_streams as streams
from tests.tiers import FAMILIES
from tests.unit.model.test_lvlm import picture

SPANS = [TokenSpans(pad=0, images=((1, 3),), output_start=5, length=5)]


def test_the_mixture_by_hand_and_a_sample_without_objects() -> None:
    p, q = [0.8, 0.2], [0.5, 0.5]
    edit = MARINE(evidence="stand-in")
    logits, other = (torch.tensor([x, x, x, x]).log()[:, None] for x in (p, q))
    # two samples of two beams each, and a constant on top of one row changes nothing
    logits[1] += 3
    context = LogitsContext(
        None,  # type: ignore[arg-type]
        SPANS * 4,
        0,
        other,
        {},
        {id(edit): [["cat"], []]},
    )
    found = edit.logits(logits, context)[:, 0]
    wanted = [0.3 * math.log(a) + 0.7 * math.log(b) for a, b in zip(p, q, strict=True)]
    assert found[0].tolist() == pytest.approx(wanted)
    assert found[1].tolist() == pytest.approx(wanted)
    assert torch.equal(found[2:], logits[2:, 0])
    # of the other prompt alone nothing is left of the first, but for what another method bans
    alone = MARINE(evidence="stand-in", gamma=1.0)
    logits[0, 0, 1] = -math.inf
    context = LogitsContext(None, SPANS, 0, other[:1], {}, {id(alone): [["cat"]]})  # type: ignore[arg-type]
    found = alone.logits(logits[:1], context)[0, 0]
    assert found[0].item() == pytest.approx(math.log(0.5))
    assert found[1] == -math.inf


def test_how_a_question_is_asked() -> None:
    edit = MARINE(evidence="stand-in", wording="I see {objects}. {question} Be brief.")
    assert edit.asked("Why?", ["cat", "red ball"]) == "I see cat, red ball. Why? Be brief."
    assert edit.asked("Why?", []) == "Why?"
    first = {"role": "user", "content": "Hello"}
    reply = {"role": "assistant", "content": "Hi"}
    parts = [{"type": "image"}, {"type": "text", "text": "Why?"}]
    found: Any = edit.asked([first, reply, {"role": "user", "content": parts}], ["cat"])
    assert found[0]["content"] == [{"type": "text", "text": "Hello"}]
    assert found[2]["content"][1]["text"] == "I see cat. Why? Be brief."
    assert parts[1]["text"] == "Why?", "the question itself is not changed"


def test_what_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"evidence is missing, which tells objects"):
        INTERVENTIONS.build("marine")
    with pytest.raises(ConfigError, match=r"'blip-matching' tells relevance of places.* objects"):
        INTERVENTIONS.build("marine", evidence="blip-matching")
    with pytest.raises(ConfigError, match="gamma must be from 0"):
        INTERVENTIONS.build("marine", evidence="stand-in", gamma=1.5)
    with pytest.raises(ConfigError, match=r"wording must hold \{objects\} and \{question\}"):
        INTERVENTIONS.build("marine", evidence="stand-in", wording="It shows {objects}.")
    assert MARINE(gamma=0).is_identity


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_two_plain_models(family: str, tmp_path: Path) -> None:
    lvlm = load(tiny_lvlm(family, dtype=torch.float64))
    images = [picture(60, 40, 1), picture(36, 52, 2), picture(48, 48, 3), picture(40, 40, 4)]
    listed = [[["cat", 0.9], ["ball", 0.3]], [["cat", 0.8], ["dog", 0.7]], [["cow", 1.0]], []]
    file = tmp_path / "objects.jsonl"
    lines = [
        json.dumps({"digest": digest_of(image), "objects": objects})
        for image, objects in zip(images, listed, strict=True)
    ]
    file.write_text("\n".join(lines))
    edit = MARINE(evidence={"name": "file", "path": str(file)}, gamma=0.6, least=0.5)
    entries = [images[:2], [], [images[2]], [images[3]]]
    questions = ["Is there a cat?", "Why?", "Is there a dog in it?", "What is it?"]
    found = lvlm.generate(entries, questions, interventions=[edit], max_new_tokens=4)
    plain = lvlm.generate(entries, questions, max_new_tokens=4)
    assert [found[i].token_ids for i in (1, 3)] == [plain[i].token_ids for i in (1, 3)]

    def combine(own: torch.Tensor, other: torch.Tensor, step: int) -> torch.Tensor:
        return 0.4 * own.log_softmax(-1) + 0.6 * other.log_softmax(-1)

    told = {0: "cat, dog", 2: "cow"}
    for index, words in told.items():
        inputs = lvlm.adapter.encode([entries[index]], [questions[index]])
        words = f"This image contains {words}. Based on this, {questions[index]}"
        second = lvlm.adapter.encode([entries[index]], [words])
        assert second["input_ids"].shape[1] > inputs["input_ids"].shape[1]
        ids = found[index].token_ids
        wanted = streams.combined(lvlm.model, inputs, second, combine, ids)
        assert wanted.argmax(-1).tolist() == ids

    with pytest.raises(DataError, match=r'add the line {"digest": ".*", "objects": \['):
        lvlm.generate(picture(9, 9, 9), "Why?", interventions=[edit], max_new_tokens=1)


def test_questions_about_one_image_ask_for_its_objects_once_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for the prompts' common beginning, and once for that of all second prompts."""
    asked: list[object] = []
    of_stand_in = StandIn.objects

    def counted(self: StandIn, image: Any) -> Any:
        asked.append(image)
        return of_stand_in(self, image)

    monkeypatch.setattr(StandIn, "objects", counted)
    lvlm = load(tiny_lvlm("llava"))
    questions = ["Is there a cat?", "Is there a dog?", "Is there a cow?", "Is there a bus?"]
    edit = MARINE(evidence="stand-in", gamma=1.0)
    lvlm.ask(picture(), questions, interventions=[edit], max_new_tokens=1)
    assert len(asked) == 2
