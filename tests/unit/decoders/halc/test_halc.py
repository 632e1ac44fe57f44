"""HALC against the same thing by hand, and what it keeps, asks for and refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.videos import Clip
from lvlmsal.attention import intervene
from lvlmsal.attention.asked import Asked
from lvlmsal.decoders.halc import HALC, HALCBeam, decoder
from lvlmsal.decoders.halc.views import Views
from lvlmsal.decoders.search import Greedy
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.evaluation.config.controls import Way, find_twin
from lvlmsal.interventions.base import HiddenStateIntervention, LogitsIntervention
from lvlmsal.model.loading import load
from lvlmsal.registry import DECODERS
from lvlmsal.testing.tiny import IMAGE, TINY, VIDEO, tiny_inputs, tiny_lvlm
from tests.tiers import FAMILIES, in_full
from tests.unit.decoders.halc.by_hand import Ear, Eye, Hand, Log, Words
from tests.unit.model.test_lvlm import picture

BANNED = [0, 1, 2, 3, IMAGE, VIDEO]
STEPS = 16
STAND_INS: dict[str, Any] = {"evidence": "stand-in", "scorer": "stand-in"}
ENTRIES = [[picture(60, 40, 1)], [picture(36, 52, 2), picture(48, 48, 3)], [], [picture(40, 44, 4)]]
QUESTIONS = ["What is it?", "Why are there two of them?", "Where?", "Is there a dog in it?"]
CASES: list[dict[str, Any]] = [
    {},
    {"divergence": "js", "pairs": 1, "weight": 0.5, "max_boxes": 8, "ask_for": "object"},
    {"plausibility": 0.3, "pairs": 6, "weight": 0.9, "expand": 0.25},
]


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, a detector and a scorer that give a random model's answers something to do."""
    monkeypatch.setattr(decoder, "words_for", lambda adapter, vocabulary: Words())
    found = {"Detector": Eye(), "TextScorer": Ear()}
    monkeypatch.setattr(decoder, "open_evidence", lambda spec, kind: found[kind.__name__])


def loaded(family: str, seed: int = 0) -> ModelAdapter:
    model, processor = tiny_lvlm(family, dtype=torch.float64, seed=seed)
    return adapter_for(model, processor)


def decoded(
    adapter: ModelAdapter,
    halc: HALC,
    entries: Sequence[Sequence[Image.Image]] = ENTRIES,
    questions: Sequence[str] = QUESTIONS,
    **options: Any,
) -> Any:
    inputs = adapter.encode(entries, questions)
    how = {"max_new_tokens": STEPS, "suppress_tokens": BANNED, "return_dict_in_generate": True}
    how |= options
    own = halc.bind(adapter).generate_kwargs()
    generative: Any = adapter.model
    return generative.generate(**inputs, **how, asked=Asked(inputs, entries, questions), **own)


def check_by_hand(
    output: Any, adapter: ModelAdapter, log: Log, beams: int = 1, **case: Any
) -> None:
    found = output.sequences[:, -STEPS:].tolist()
    for entry, question, ids in zip(ENTRIES, QUESTIONS, found, strict=True):
        hand = Hand(adapter, entry, question, BANNED, log, **case)
        assert ids == hand.written(STEPS, beams)


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("case", in_full(CASES, but=CASES[:2]), ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_decided_as_each_sample_by_hand(family: str, case: dict[str, Any]) -> None:
    log = Log()
    for seed in (0, 1):
        adapter = loaded(family, seed)
        check_by_hand(decoded(adapter, HALC(**STAND_INS, **case)), adapter, log, **case)
    assert log.seen["replaced"] > 0, log.seen


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("family", in_full(sorted(TINY), but="llava"))
def test_beams_are_those_that_fit_best_by_hand(family: str) -> None:
    log = Log()
    adapter = loaded(family)
    found = decoded(adapter, HALCBeam(**STAND_INS, num_beams=3))
    assert found.sequences.shape[0] == len(found.records) == len(ENTRIES)
    check_by_hand(found, adapter, log, 3)
    assert log.seen["replaced"] > 0, log.seen


@dataclass(frozen=True)
class Shifted(HiddenStateIntervention):
    """Moves the states of every row."""

    name: ClassVar[str] = "shifted"

    def layer_output(self, states: Tensor, context: Any) -> Tensor:
        wave = torch.arange(states.shape[-1], dtype=states.dtype).sin()
        return states + 0.2 * wave


BIAS = torch.linspace(-1, 1, 3000, dtype=torch.float64).mul(40).sin()


@dataclass(frozen=True)
class Biased(LogitsIntervention):
    """Adds to the logits."""

    name: ClassVar[str] = "biased"

    def logits(self, logits: Tensor, context: Any) -> Tensor:
        return logits + BIAS[: logits.shape[-1]].to(logits)


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
def test_edits_of_states_act_under_crops_and_edits_of_logits_do_not() -> None:
    log = Log()
    adapter = loaded("llava")
    plain = decoded(adapter, HALC(**STAND_INS)).sequences
    with intervene(adapter, Shifted(), Biased()):
        found = decoded(adapter, HALC(**STAND_INS))
    assert not torch.equal(found.sequences, plain)
    vocabulary = adapter.text_config.vocab_size
    with intervene(adapter, Shifted()):
        check_by_hand(found, adapter, log, edit=BIAS[:vocabulary])
    assert log.seen["replaced"] > 0, log.seen


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
def test_records_tell_what_was_tried() -> None:
    adapter = loaded("llava")
    output = decoded(adapter, HALC(**STAND_INS))
    replaced = 0
    for entry, ids, records in zip(
        ENTRIES, output.sequences[:, -STEPS:].tolist(), output.records, strict=True
    ):
        assert [record.id for record in records] == ids
        for place, record in enumerate(records):
            if record.box is None:
                assert (record.tries, record.rejected, record.replaced) == (1, [], None)
                continue
            replaced += record.replaced is not None
            assert record.tries == 1 + len(record.rejected)
            for token, score in [(record.id, record.score)] + [
                (other["id"], other["score"]) for other in record.rejected
            ]:
                text = adapter.decode([*ids[:place], token])
                wanted = sum(Ear().scores(image, [text])[0] for image in entry) / len(entry)
                assert score is None if record.tries == 1 else score == pytest.approx(wanted)
                assert record.tries == 1 or score <= record.score
    assert replaced > 0
    # every pass counts: those over crops, too
    assert output.forwards > STEPS + replaced


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("halc", [HALC, HALCBeam])
def test_processors_that_go_by_the_number_of_a_sample(halc: type[HALC]) -> None:
    """Each sample may say every fourth token, others than the one before it."""
    adapter = loaded("llava")
    tokens = [token for token in range(adapter.text_config.vocab_size) if token not in BANNED]

    def allowed(sample: int, _: Tensor) -> list[int]:
        return tokens[sample::4]

    output = decoded(adapter, halc(**STAND_INS), prefix_allowed_tokens_fn=allowed)
    for sample, records in enumerate(output.records):
        said = {record.id for record in records}
        said |= {other["id"] for record in records for other in record.rejected}
        assert said <= set(tokens[sample::4])
    assert sum(record.box is not None for record in output.records[1]) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
def test_equal_beams_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    logits = Views.logits

    def counted(views: Views, sample: int, image: int, boxes: Any, answer: Any) -> Tensor:
        looked.append((sample, *answer))
        return logits(views, sample, image, boxes, answer)

    monkeypatch.setattr(Views, "logits", counted)
    decoded(loaded("llava"), HALCBeam(**STAND_INS, num_beams=3))
    assert looked
    assert len(looked) == len(set(looked))


@pytest.mark.usefixtures("doubles")
def test_logits_under_crops_that_are_not_finite_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(views: Views, sample: int, image: int, boxes: Any, answer: Any) -> Tensor:
        return torch.full((len(boxes), 300), torch.nan)

    monkeypatch.setattr(Views, "logits", broken)
    with pytest.raises(UnsupportedError, match="no token is left for sample '0'"):
        decoded(loaded("llava"), HALC(**STAND_INS), suppress_tokens=None)


def test_answers_of_a_model_that_says_no_judged_word_are_those_of_greedy_search() -> None:
    lvlm = load(tiny_lvlm("llava", dtype=torch.float64))
    greedy = lvlm.generate(ENTRIES, QUESTIONS, max_new_tokens=8)
    for halc in (HALC(**STAND_INS, words=["giraffe"]), HALC(pairs=0)):
        found = lvlm.generate(ENTRIES, QUESTIONS, decoder=halc, max_new_tokens=8)
        assert [answer.token_ids for answer in found] == [a.token_ids for a in greedy]
        assert [answer.forwards for answer in found] == [a.forwards for a in greedy]


@pytest.mark.slow
def test_it_is_asked_by_name_and_streams() -> None:
    lvlm = load(tiny_lvlm("llava"))
    spec = {"name": "halc", **HALC.strong}
    answer = lvlm.generate(picture(), "What is it?", decoder=spec, max_new_tokens=12)
    tried: list[Any] = [token for token in answer.tokens if token.box]
    assert tried
    assert all(token.box == [0.25, 0.25, 0.75, 0.75] for token in tried)
    assert all("text" in other for token in tried for other in token.rejected)
    stream = lvlm.stream(picture(), "What is it?", decoder=spec, max_new_tokens=12)
    assert "".join(stream) == answer.text
    with pytest.raises(UnsupportedError, match="halc-beam cannot stream"):
        lvlm.stream(picture(), "What is it?", decoder={"name": "halc-beam", **HALC.strong})


def test_what_is_refused() -> None:
    lvlm = load(tiny_lvlm("llava"))
    bound = HALC(**HALC.strong).bind(lvlm.adapter)
    inputs = tiny_inputs("llava")
    with pytest.raises(UnsupportedError, match=r"HALC crops images.*ask by lvlmsal\.load"):
        lvlm.model.generate(**inputs, max_new_tokens=2, **bound.generate_kwargs())
    other: Any = load(tiny_lvlm("llava")).model
    with pytest.raises(UnsupportedError, match="bound to another model"):
        other.generate(**inputs, max_new_tokens=2, **bound.generate_kwargs())
    beams = {**bound.generate_kwargs(), "num_beams": 2}
    with pytest.raises(UnsupportedError, match=r"follows one sequence a sample .* num_beams=1"):
        lvlm.model.generate(**inputs, max_new_tokens=2, **beams)
    three = HALCBeam(**HALC.strong).generate_kwargs()
    with pytest.raises(UnsupportedError, match=r"follows 3 sequences a sample .* num_beams=3"):
        lvlm.model.generate(**inputs, max_new_tokens=2, **{**three, "num_beams": 4})
    film = Clip([picture(40, 40, number) for number in range(2)], [0, 1], 2)
    with pytest.raises(UnsupportedError, match="sample 'b' has a video: give its frames"):
        Views(lvlm.adapter, Asked({}, [[picture()], [film]], ["Why?", "Why?"]), ["a", "b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evidence": "stand-in"}, "scorer is missing, which tells scores of texts"),
        ({"scorer": "stand-in"}, "evidence is missing, which tells boxes of words"),
        (
            {**STAND_INS, "evidence": "object-detection"},
            "evidence: 'object-detection' tells objects, and",
        ),
        (
            {**STAND_INS, "scorer": "zero-shot-detection"},
            "scorer: 'zero-shot-detection' tells boxes of words, and this method asks for scores",
        ),
        ({**STAND_INS, "scorer": {"path": "x"}}, "scorer has no name: write  scorer: {name"),
        ({**STAND_INS, "scorer": {"name": "file", "at": "x"}}, "scorer: .*evidence 'file': "),
        ({**STAND_INS, "pairs": 7}, r"pairs must be from 0 \(greedy search\) to 6, all pairs of 4"),
        ({**STAND_INS, "views": 1}, "views must be at least 2, got 1"),
        ({**STAND_INS, "weight": 1.0}, "weight must be at least 0 and below 1"),
        ({**STAND_INS, "expand": 0.0}, "expand must be above 0"),
        ({**STAND_INS, "max_boxes": -1}, "max_boxes must be at least 0"),
        ({**STAND_INS, "plausibility": 2.0}, "plausibility must be from 0 to 1"),
        ({**STAND_INS, "divergence": "jsd"}, "divergence"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DECODERS.build("halc", **options)


def test_what_it_is_compared_with_and_what_a_run_records() -> None:
    halc = HALC(**STAND_INS)
    ways = [Way("greedy", Greedy(), False), Way("halc", halc, False)]
    twin = find_twin(ways[1], ways)
    assert twin is not None
    assert twin.method == "greedy"
    assert HALC(pairs=0).mitigates is False
    told = {"name": "stand-in", "version": ""}
    assert halc.outside() == {"evidence": told, "scorer": told}
    assert HALC(pairs=0).outside() == Greedy().outside() == {}
    with pytest.raises(ConfigError, match="num_beams must be at least 2, got 1"):
        DECODERS.build("halc-beam", **STAND_INS, num_beams=1)
