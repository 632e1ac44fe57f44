"""Detectors that ask the model more, on replies that are written out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.adapters import adapter_for
from lvlmsal.detection.answers import detect_answer
from lvlmsal.detection.asking import Asking, AskingDetector, Respondent
from lvlmsal.detection.columns import Columns
from lvlmsal.detection.confidence import Entropy
from lvlmsal.detection.fitting import scale
from lvlmsal.detection.judge import make_judge
from lvlmsal.detection.sampled_consistency import SampledConsistency
from lvlmsal.detection.self_question import SelfQuestion
from lvlmsal.detection.semantic_entropy import SemanticEntropy
from lvlmsal.detection.words import Aggregate
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.testing.tiny import tiny_lvlm

COCO = Vocabulary.coco()


class Scripted(Respondent):
    """Says what it was told to, and notes what it was asked."""

    def __init__(
        self, odds: Sequence[float] = (), answers: Sequence[str] = (), *, images: bool = True
    ) -> None:
        self.odds, self.answers, self.images = list(odds), list(answers), images
        self.asked: list[list[str]] = []
        self.sampled: list[tuple[int, float]] = []

    @property
    def has_images(self) -> bool:
        return self.images

    def yes_odds(self, questions: Sequence[str]) -> list[float]:
        self.asked.append(list(questions))
        return self.odds[: len(questions)]

    def samples(self, count: int, temperature: float) -> list[str]:
        self.sampled.append((count, temperature))
        return self.answers[:count]


def test_self_questions_by_hand() -> None:
    # P(yes) : P(no) = 3 : 1 and 1 : 4
    model = Scripted([math.log(3), math.log(0.25)])
    found = SelfQuestion().ask(model, ["dog", "umbrella", "dog"], COCO)
    assert found == pytest.approx([0.25, 0.8, 0.25])
    # each object once, as POPE asks
    assert model.asked == [["Is there a dog in the image?", "Is there an umbrella in the image?"]]


def test_self_questions_at_the_ends() -> None:
    assert SelfQuestion().ask(Scripted([900.0, -900.0]), ["dog", "cat"], COCO) == [0.0, 1.0]
    blind = Scripted([1.0], images=False)
    assert math.isnan(SelfQuestion().ask(blind, ["dog"], COCO)[0])
    assert not blind.asked
    other = Scripted([0.0])
    SelfQuestion(question="Do you see {object}?").ask(other, ["dog"], COCO)
    assert other.asked == [["Do you see a dog?"]]
    with pytest.raises(ValueError, match=r"must contain \{object\}"):
        SelfQuestion(question="Is it there?")


ANSWERS = ["A dog and a cat.", "Two puppies.", "A cat by a car.", "Nothing at all."]


def test_consistency_by_hand() -> None:
    model = Scripted(answers=ANSWERS)
    # dogs are named in two of four answers, as puppies in one of these; cars in one, trains in none
    found = SampledConsistency(samples=4).ask(model, ["dog", "car", "train", "dog"], COCO)
    assert found == [0.5, 0.75, 1.0, 0.5]
    assert model.sampled == [(4, 1.0)]


def test_entropy_by_hand() -> None:
    # {dog, cat} twice whatever the words and their order, {car} and nothing: 1.5 bits of 2
    answers = ["A dog and a cat.", "A cat, two puppies.", "A car.", "Nothing at all."]
    found = SemanticEntropy(samples=4).ask(Scripted(answers=answers), ["dog", "car"], COCO)
    assert found == pytest.approx([0.75, 0.75])
    same = Scripted(answers=["A dog."] * 4)
    assert SemanticEntropy(samples=4).ask(same, ["dog"], COCO) == [0.0]
    apart = Scripted(answers=["A dog.", "A cat.", "A car.", "A bus."])
    assert SemanticEntropy(samples=4).ask(apart, ["dog"], COCO) == pytest.approx([1.0])


# What the answers above name; "Two puppies" names dogs.
NAMED = [{"dog", "cat"}, {"dog"}, {"cat", "car"}, set()]


@given(st.data())
def test_risks_of_samples_against_what_the_answers_name(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.sampled_from(range(4)), min_size=2, max_size=12))
    turned = data.draw(st.permutations(drawn))
    count = len(drawn)
    for places in (drawn, turned):  # the order of the answers does not matter
        model = Scripted(answers=[ANSWERS[place] for place in places])
        consistency = SampledConsistency(samples=count).ask(model, ["dog", "car"], COCO)
        wanted = [sum(word not in NAMED[at] for at in drawn) / count for word in ("dog", "car")]
        assert consistency == pytest.approx(wanted)
        shares = torch.tensor([drawn.count(at) / count for at in set(drawn)], dtype=torch.float64)
        entropy = torch.distributions.Categorical(shares).entropy() / math.log(count)
        found = SemanticEntropy(samples=count).ask(model, ["dog", "car"], COCO)
        assert found == pytest.approx([float(entropy)] * 2, abs=1e-12)


@pytest.mark.parametrize("count", range(2, 13))
def test_one_meaning_has_no_entropy_and_as_many_as_answers_all_of_it(count: int) -> None:
    same = Scripted(answers=["A dog.", *["Two puppies."] * (count - 1)])
    assert SemanticEntropy(samples=count).ask(same, ["dog"], COCO) == [0.0]
    words = ["dog", "cat", "car", "bus", "train", "boat", "bird", "horse", "cow", "bear", "zebra"]
    apart = Scripted(answers=["Nothing.", *(f"A {word}." for word in words)])
    assert SemanticEntropy(samples=count).ask(apart, ["dog"], COCO) == [1.0]


@pytest.mark.parametrize("kind", [SampledConsistency, SemanticEntropy])
def test_misstated_samples(kind: type[SampledConsistency]) -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        kind(samples=1)
    with pytest.raises(ValueError, match="above 0, got 0"):
        kind(temperature=0.0)


def test_risks_stand_at_the_first_tokens_of_their_words() -> None:
    model = Scripted([0.0, math.log(3)], answers=ANSWERS)
    detectors = [SelfQuestion(), Entropy(), SampledConsistency(samples=4)]
    asking = Asking(model, ["cat", "dog"], [(1, 2), (3, 5)], COCO)
    found = asking.risks(detectors, 6)
    assert set(found) == {detectors[0], detectors[2]}
    nan = math.nan
    # that of a word of two tokens once
    wanted = torch.tensor([nan, 0.5, nan, 0.25, nan, nan], dtype=torch.float64)
    torch.testing.assert_close(found[detectors[0]], wanted, equal_nan=True)
    columns = Columns({}, {}, 4)
    columns.asked.update(found)
    torch.testing.assert_close(detectors[0].features(columns), wanted[:, None], equal_nan=True)
    # the same with other options is another detector
    assert SampledConsistency(samples=3) not in columns.asked


@pytest.mark.parametrize("aggregate", ["first", "mean", "max", "noisy-or"])
def test_tokens_of_a_word_add_nothing_to_what_was_asked(aggregate: Aggregate) -> None:
    adapter = adapter_for(*tiny_lvlm("llava"))
    inputs = adapter.encode([[]], ["What is it?"])
    ids = adapter.tokenizer("a cat, a dog", add_special_tokens=False)["input_ids"]
    found = detect_answer(
        adapter,
        inputs,
        ids,
        make_judge("self-question", adapter),
        own=False,
        aggregate=aggregate,
        respondent=Scripted([0.0, math.log(3)]),
    )
    # three tokens each: a tokenizer of bytes
    assert [word.tokens[1] - word.tokens[0] for word in found.words] == [3, 3]
    assert [word.risk for word in found.words] == pytest.approx([0.5, 0.25])
    assert [word.reasons for word in found.words] == [
        {"self-question": pytest.approx(0.5)},
        {"self-question": pytest.approx(0.25)},
    ]
    # views color all tokens of a word
    told = [risk for risk in found.risks if risk is not None]
    assert told == pytest.approx([0.5] * 3 + [0.25] * 3)


def test_yes_and_no_are_no_objects() -> None:
    words = Vocabulary(("yes", "no"), {"yes": "yes", "no": "no"}, "none", "yes and no")
    model = Scripted(answers=["Yes.", "No.", "yes, it is", "Perhaps"])
    asking = Asking(model, ["yes"], [(0, 1)], words, are_objects=False)
    consistency, entropy = SampledConsistency(samples=4), SemanticEntropy(samples=4)
    found = asking.risks([SelfQuestion(), consistency, entropy], 1)
    assert {detector: float(values) for detector, values in found.items()} == {
        consistency: 0.5,
        entropy: pytest.approx(0.75),
    }
    assert not model.asked


def test_nobody_is_asked_about_nothing() -> None:
    model = Scripted()
    found = Asking(model, [], [], COCO).risks([SelfQuestion(), SemanticEntropy()], 2)
    assert all(values.isnan().all() for values in found.values())
    assert model.asked == model.sampled == []


def test_without_a_model_to_ask_they_are_refused() -> None:
    adapter = adapter_for(*tiny_lvlm("llava"))
    inputs, ids = adapter.encode([[]], ["What is it?"]), adapter.tokenizer("a dog")["input_ids"]
    judge = make_judge("self-question", adapter)
    with pytest.raises(UnsupportedError, match="self-question asks the model more"):
        detect_answer(adapter, inputs, ids, judge, own=True)
    detectors = [SampledConsistency(), SemanticEntropy()]
    with pytest.raises(UnsupportedError, match=r"semantic-entropy ask the model .* leave them"):
        scale(adapter, [(inputs, ids)] * 60, detectors, name="tiny", source="made up")


def test_none_of_them_streams() -> None:
    for kind in (SelfQuestion, SampledConsistency, SemanticEntropy):
        assert issubclass(kind, AskingDetector)
        assert (kind.asks_more, kind.streams, kind.row) == (True, False, "asked")
