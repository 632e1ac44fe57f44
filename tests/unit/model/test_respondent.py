"""What a model says to further questions, against passes of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.detection.asking import Asking
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.pai import PAI
from lvlmsal.interventions.vcd import VCD
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.respondent import yes_no_tokens
from lvlmsal.testing.tiny import tiny_lvlm
from lvlmsal.tiny.parts import byte_tokenizer
from tests.tiers import FAMILIES
from tests.unit.model.test_lvlm import picture

QUESTIONS = ["Is there a dog?", "Is there an umbrella in it?", "Is there a cat?"]


def loaded(family: str = "llava") -> Lvlm:
    return load(tiny_lvlm(family, dtype=torch.float64))


class Passes:
    """Counts forward passes, and the tokens that they read."""

    def __init__(self, lvlm: Lvlm) -> None:
        self.tokens: list[int] = []
        lvlm.adapter.decoder.register_forward_hook(self._count, with_kwargs=True)

    def _count(self, _: Any, args: Any, kwargs: Any, output: Any) -> None:
        self.tokens.append(output[0].shape[0] * output[0].shape[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_odds_are_those_of_a_pass_for_each_question(family: str) -> None:
    lvlm, image = loaded(family), picture()
    found = lvlm.respondent([image], "What is it?").yes_odds(QUESTIONS)
    # a tokenizer of bytes: the first letter, small or large
    yes, no = ([lvlm.adapter.tokenizer(x)["input_ids"][-1] for x in word] for word in ("yY", "nN"))
    for question, odds in zip(QUESTIONS, found, strict=True):
        with torch.no_grad():
            chances = lvlm.model(**lvlm.adapter.encode([[image]], [question])).logits[0, -1]
        chances = chances.double().softmax(-1)
        assert odds == pytest.approx(
            float((chances[yes].sum() / chances[no].sum()).log()), rel=1e-6
        )


def test_questions_share_their_image_and_are_asked_once() -> None:
    lvlm, image = loaded(), picture()
    whole = lvlm.adapter.encode([[image]], QUESTIONS[:1])["input_ids"].shape[1]
    passes = Passes(lvlm)
    respondent = lvlm.respondent([image], "What is it?")
    first = respondent.yes_odds(QUESTIONS)
    # the image is read once, in the first pass; what follows are the ends of the questions
    assert passes.tokens[0] < whole
    assert max(passes.tokens[1:]) < whole
    before = len(passes.tokens)
    assert respondent.yes_odds(QUESTIONS[::-1]) == first[::-1]
    assert len(passes.tokens) == before


def test_samples_are_answers_to_the_question() -> None:
    lvlm, image = loaded(), picture()
    respondent = lvlm.respondent([image], "What is it?", max_new_tokens=6, sample_id="a")
    found = respondent.samples(3, 0.7)
    for number, text in enumerate(found):
        alone = lvlm.generate(
            [image],
            "What is it?",
            decoder={"name": "sample", "temperature": 0.7},
            sample_ids=[f"a#{number}"],
            max_new_tokens=6,
        )
        assert text == alone.text
    assert len(set(found)) > 1
    passes = Passes(lvlm)
    assert respondent.samples(2, 0.7) == found[:2]
    assert not passes.tokens
    assert respondent.samples(4, 0.7)[:3] == found
    assert respondent.samples(3, 1.5) != found
    # the noise of one question is not that of another
    assert lvlm.respondent([image], "What is it?", max_new_tokens=6).samples(3, 0.7) != found


def test_everything_is_asked_under_the_interventions() -> None:
    lvlm, image = loaded(), picture()
    plain, edited = (
        lvlm.respondent([image], "What is it?", edits, max_new_tokens=8)
        for edits in ((), [PAI(gamma=1.0, alpha=0.9)])
    )
    assert plain.yes_odds(QUESTIONS) != pytest.approx(edited.yes_odds(QUESTIONS), rel=1e-3)
    assert plain.samples(4, 1.0) != edited.samples(4, 1.0)


@pytest.mark.parametrize("edit", [VCD(beta=0.1), VCD(beta=1.0), VCD(alpha=0.0, beta=1.0)])
def test_odds_are_those_before_logits_are_edited(edit: VCD) -> None:
    lvlm, image = loaded(), picture()
    plain, edited = (
        lvlm.respondent([image], "What is it?", edits, max_new_tokens=8) for edits in ((), [edit])
    )
    wanted = plain.yes_odds(QUESTIONS)
    assert edited.yes_odds(QUESTIONS) == pytest.approx(wanted, rel=1e-6)
    # one question shares nothing
    alone = lvlm.respondent([image], "What is it?", [edit]).yes_odds(QUESTIONS[:1])
    assert alone == pytest.approx(wanted[:1], rel=1e-6)
    assert plain.samples(4, 1.0) != edited.samples(4, 1.0)


def test_attention_is_edited_where_logits_are_not() -> None:
    lvlm, image = loaded(), picture()
    # PAI with and without its contrast: the same edit of attention
    with_contrast, without = (
        lvlm.respondent([image], "", [PAI(gamma=gamma, alpha=0.9)]) for gamma in (1.5, 1.0)
    )
    assert with_contrast.yes_odds(QUESTIONS) == pytest.approx(without.yes_odds(QUESTIONS), rel=1e-6)


def test_words_are_judged_by_what_the_model_says() -> None:
    lvlm, image = loaded(), picture()
    found = lvlm.detect(
        [image], "What is it?", "a dog and a cat", detector="self-question", words=["dog", "cat"]
    )
    odds = lvlm.respondent([image], "").yes_odds(
        ["Is there a dog in the image?", "Is there a cat in the image?"]
    )
    wanted = [1 / (1 + torch.tensor(value).exp()) for value in odds]
    assert [word.risk for word in found.words] == pytest.approx([float(one) for one in wanted])
    assert (found.scaled, found.calibrated) == (False, False)


def test_the_one_pass_is_shared_next_to_those_that_ask() -> None:
    lvlm, image = loaded(), picture()
    words = Vocabulary(("dog",), {"dog": "dog"}, "none", "dogs")
    inputs = lvlm.adapter.encode([[image]], ["What is it?"])
    ids = lvlm.adapter.tokenizer("a dog", add_special_tokens=False)["input_ids"]
    passes, counts = Passes(lvlm), {}
    one_pass = ["entropy", "margin", "svar", "row-lens", "glsim"]
    for names in (["entropy"], one_pass, ["self-question"], [*one_pass, "self-question"]):
        ready = ReadyDetectors.of(names, lvlm, words=words)
        respondent = lvlm.respondent([image], "What is it?")
        passes.tokens.clear()
        asking = Asking(respondent, ["dog"], [(2, 5)], words)
        scores, _ = ready.of_tokens(inputs, ids, (), asking)
        assert set(scores) == set(names)
        counts[tuple(names)] = len(passes.tokens)
    single, several, asked, both = counts.values()
    assert several == single
    assert both == several + asked


def test_tokens_of_yes_and_no() -> None:
    tokenizer = byte_tokenizer("<image>")
    ids = {letter: tokenizer(letter)["input_ids"][0] for letter in "yYnN"}
    assert yes_no_tokens(tokenizer) == (
        sorted([ids["y"], ids["Y"]]),
        sorted([ids["n"], ids["N"]]),
    )

    class Unknowing:
        """Knows no word, so that all of them are one token."""

        def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
            return {"input_ids": [[3] for _ in texts]}

        def decode(self, ids: list[int]) -> str:
            return "<unk>"

    with pytest.raises(UnsupportedError, match="cannot begin an answer with yes or no"):
        yes_no_tokens(Unknowing())
