"""Guided decoding against the same thing by hand, and what it keeps to whatever is judged."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.attention import intervene
from lvlmsal.decoders.guide import Guide
from lvlmsal.decoders.guided.decoder import Guided
from lvlmsal.decoders.search import Sample
from lvlmsal.detection.early_lens import EarlyLens
from lvlmsal.detection.judge import Judge
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.scaling import KNOTS, Scaling
from lvlmsal.detection.vocabulary import judged_vocabulary
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.eah import EAH
from lvlmsal.interventions.hgai import HGAI
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.only import ONLY
from lvlmsal.interventions.tame import TAME
from lvlmsal.model.loading import load
from lvlmsal.registry import DETECTORS
from lvlmsal.testing.decoder import check_decoder
from lvlmsal.testing.tiny import IMAGE, VIDEO, collate, tiny_lvlm, tiny_model, tiny_samples
from lvlmsal.tiny.processors import tiny_processor
from tests.tiers import FAMILIES, in_full
from tests.unit.decoders.guided.by_hand import Log, NumberedWords, ends_sentence, guided_by_hand

F64 = torch.float64
STEPS = 24
BANNED = [0, 1, 2, 3, IMAGE, VIDEO]
LAYERS = 4
SCALING = Scaling(
    detector="early-lens",
    options={"layers": "0.0:0.5"},
    features=("minus logit p", "mean log lens"),
    mean=(1.0, -3.0),
    deviation=(2.0, 1.5),
    scores=tuple(torch.linspace(-4, 4, KNOTS).tolist()),
    mentions=100,
    answers=20,
)


def risk(odds: float, lens: float) -> float:
    score = (-odds - 1.0) / 2.0 + (lens + 3.0) / 1.5
    return float(SCALING.risk(torch.tensor([score], dtype=F64)))


def loaded(family: str, seed: int = 0) -> ModelAdapter:
    model = tiny_model(family, layers=LAYERS, dtype=F64, seed=seed)
    return adapter_for(model, tiny_processor(family))


def bound(adapter: ModelAdapter, decoder: Guided) -> Guided:
    """One that judges numbered words, in sentences that end with numbers."""
    judge = Judge(EarlyLens(), SCALING, judged_vocabulary(["not", "used"]))
    words: Any = NumberedWords()
    guide = Numbered(adapter, judge, words, decoder.threshold or 0.0)
    copy = dataclasses.replace(decoder)
    object.__setattr__(copy, "_guide", guide)
    return copy


class Numbered(Guide):
    """A guide whose words and sentences are those of `by_hand`."""

    @property
    def _lens(self) -> Any:  # type: ignore[override]
        return Lens(self.adapter, self.words.tokens)

    def ends_sentence(self, token: int) -> bool:
        return ends_sentence(token)


def decoded(
    adapter: ModelAdapter, inputs: dict[str, Tensor], decoder: Guided, **options: Any
) -> Any:
    generative: Any = adapter.model
    how = {"max_new_tokens": STEPS, "suppress_tokens": BANNED, "return_dict_in_generate": True}
    own = bound(adapter, decoder).generate_kwargs()
    return generative.generate(**inputs, **{**how, **options}, **own)


CASES = [
    {"threshold": 0.5, "k": 5, "back_up": 3},
    {"threshold": 0.5, "k": 5, "back_up": 0},
    {"threshold": 0.6, "k": 8, "back_up": 5},
]


@pytest.mark.slow
@pytest.mark.parametrize("case", in_full(CASES, but=[CASES[0], CASES[2]]), ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_guided_as_each_sample_by_hand(family: str, case: dict[str, Any]) -> None:
    happened = []
    for seed in (0, 1):
        adapter = loaded(family, seed)
        samples = tiny_samples(family, (1, 2, 0), dtype=F64, seed=seed)
        output = decoded(adapter, collate(samples), Guided(**case))
        for sample, ids, records in zip(
            samples, output.sequences[:, -STEPS:].tolist(), output.records, strict=True
        ):
            wanted, log = guided_by_hand(
                adapter,
                sample.inputs,
                layers=[0, 1],
                risk=risk,
                steps=STEPS,
                banned=BANNED,
                **case,
            )
            assert ids == wanted == [record.id for record in records]
            assert sum(record.fallback for record in records) <= log.fallbacks
            assert sum(len(record.taken_back) for record in records) <= len(log.back)
            happened.append(log)
    check_it_shows_something(happened, case["back_up"])


def check_it_shows_something(logs: list[Log], back_up: int) -> None:
    """Else the test above compares plain answers."""
    assert sum(log.replaced for log in logs) > 2
    assert sum(log.whole for log in logs) > 0 or not back_up
    backs = [length for log in logs for length in log.back]
    assert (max(backs, default=-1) > 0) == (back_up > 0)
    assert sum(log.fallbacks for log in logs) > 2 or back_up > 3


EDITS: list[Intervention] = [
    LocoRE(beta=4.0),
    *(edit(**edit.strong) for edit in (HGAI, EAH, TAME)),
]


@pytest.mark.slow
@pytest.mark.parametrize("edit", in_full(EDITS, but=EDITS[0]), ids=lambda edit: edit.name)
def test_risks_are_those_of_the_edited_pass(edit: Intervention) -> None:
    adapter = loaded("llava")
    sample = tiny_samples("llava", (1,), dtype=F64)[0]
    plain, edited = (log_of(adapter, sample.inputs, *edits) for edits in ([], [edit]))
    assert plain != edited


@pytest.mark.full
def test_what_layers_leave_for_the_logits_is_that_of_each_sample() -> None:
    adapter, samples = loaded("llava"), tiny_samples("llava", (1, 0, 2), dtype=F64)
    found, guided = [], Guided(threshold=0.5, k=5, back_up=3)
    for edits in ([], [ONLY(**ONLY.strong)]):
        with intervene(adapter, *edits):
            together = decoded(adapter, collate(samples), guided)
            alone = [decoded(adapter, each.inputs, guided) for each in samples]
        tokens = [each.sequences[0, -STEPS:].tolist() for each in alone]
        assert together.sequences[:, -STEPS:].tolist() == tokens
        found.append(tokens)
    plain, edited = found
    assert plain[0] != edited[0]
    assert plain[1] == edited[1]


def log_of(adapter: ModelAdapter, inputs: dict[str, Tensor], *edits: Any) -> list[int]:
    """Tokens, which are those by hand, where the whole sequence is run under the edits."""
    case: dict[str, Any] = {"threshold": 0.5, "k": 5, "back_up": 3}
    spans = adapter.spans(inputs["input_ids"], output_start=inputs["input_ids"].shape[1])
    with intervene(adapter, *edits, spans=spans):
        wanted, _ = guided_by_hand(
            adapter, inputs, layers=[0, 1], risk=risk, steps=STEPS, banned=BANNED, **case
        )
    with intervene(adapter, *edits):
        output = decoded(adapter, inputs, Guided(**case))
    found: list[int] = output.sequences[0, -STEPS:].tolist()
    assert found == wanted
    return found


@pytest.mark.slow
def test_a_streamer_hears_a_sentence_when_it_stands() -> None:
    adapter = loaded("llava")
    inputs = tiny_samples("llava", (1,), dtype=F64)[0].inputs
    lengths: list[int] = []

    class Listener:
        def __init__(self) -> None:
            self.told: list[int] = []

        def put(self, value: Tensor) -> None:
            self.told += value.flatten().tolist()
            lengths.append(len(self.told))

        def end(self) -> None:
            lengths.append(-1)

    listener: Any = Listener()
    case = Guided(threshold=0.5)
    output = decoded(adapter, inputs, case, streamer=listener)
    assert listener.told == output.sequences[0].tolist()
    assert lengths[-1] == -1
    assert any(record.taken_back for record in output.records[0])


def test_nothing_is_judged_at_threshold_1() -> None:
    lvlm = load(tiny_lvlm("llava"))
    asked: Any = ([[], []], ["What is it?", "Where?"])
    options: dict[str, Any] = {"max_new_tokens": 8, "sample_ids": ["a", "b"]}
    for off, plain in [
        (Guided(threshold=1.0), "greedy"),
        (Guided(threshold=1.0, temperature=0.7), {"name": "sample", "temperature": 0.7}),
    ]:
        found = lvlm.generate(*asked, decoder=off, **options)
        wanted = lvlm.generate(*asked, decoder=plain, **options)
        assert [one.token_ids for one in found] == [one.token_ids for one in wanted]
        assert off.twin() == lvlm.build_decoder(plain)
        assert not off.mitigates


def test_where_nothing_is_risky_tokens_are_drawn_as_by_the_decoder_sample() -> None:
    lvlm = load(tiny_lvlm("llava"))
    asked: Any = ([[], []], ["What is it?", "Where?"])
    options: dict[str, Any] = {"max_new_tokens": 8, "sample_ids": ["a", "b"], "seed": 5}
    calm = Guided(**{**Guided.strong, "threshold": 0.9999999, "temperature": 0.8})
    found = lvlm.generate(*asked, decoder=calm, **options)
    wanted = lvlm.generate(*asked, decoder=Sample(temperature=0.8), **options)
    assert [one.token_ids for one in found] == [one.token_ids for one in wanted]
    assert any(token.risk is not None for one in found for token in one.tokens)  # type: ignore[attr-defined]


def test_records_say_what_was_rejected_and_taken_back() -> None:
    lvlm = load(tiny_lvlm("llava"))
    strong = Guided(**Guided.strong)
    answer = lvlm.generate([], "What is it?", decoder=strong, max_new_tokens=30)
    records: list[Any] = answer.tokens
    judged = [record for record in records if record.risk is not None]
    assert judged
    for record in records:
        assert all(one["risk"] >= 0.5 and one["text"] for one in record.rejected)
        assert record.tries == 1 + len(record.rejected)
        assert record.fallback or record.risk is None or record.risk < 0.5
    lost = [one for record in records for one in record.taken_back]
    assert 0 < len(lost) <= strong.back_up
    assert all(one["text"].endswith(one["word"]) and one["risk"] >= 0.5 for one in lost)
    assert answer.to_pandas().shape[0] == len(records)


def test_an_answer_is_streamed_as_it_stands() -> None:
    lvlm = load(tiny_lvlm("llava"))
    strong = Guided(**Guided.strong)
    stream = lvlm.stream([], "What is it?", decoder=strong, max_new_tokens=30)
    text = "".join(stream)
    assert text == stream.answer.text
    wanted = lvlm.generate([], "What is it?", decoder=strong, max_new_tokens=30)
    assert stream.answer.token_ids == wanted.token_ids


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": 1}, "k must be at least 2"),
        ({"back_up": -1}, "back_up must be at least 0"),
        ({"threshold": 0.5, "share": 0.1}, "give one"),
        ({"threshold": 1.2}, "threshold must be from 0 to 1"),
        ({"share": 0.0}, "share must be above 0"),
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"first": "stop"}, "first must be 'replace' or 'back-up', got 'stop'"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Guided(**options)


STREAMING = [name for name in DETECTORS.names() if DETECTORS.get(name).streams]


@pytest.mark.parametrize("name", STREAMING)
def test_every_streaming_detector_can_guide(name: str) -> None:
    """All that it reads is handed to it; one that adds up columns has to be fitted first."""
    lvlm = load(tiny_lvlm("llava"))
    guided = Guided(**{**Guided.strong, "detector": name, "threshold": 0.3})
    detector = DETECTORS.build(name)
    if detector.scaled or detector.supervised:
        with pytest.raises(UnsupportedError, match="lvlmsal fit"):
            guided.bind(lvlm.adapter)
        return
    answer = lvlm.generate([], "What is it?", decoder=guided, max_new_tokens=30)
    records: list[Any] = answer.tokens
    assert any(record.risk is not None for record in records)


def test_what_cannot_guide_this_model_is_refused() -> None:
    lvlm = load(tiny_lvlm("llava"))
    words = ["a"]
    with pytest.raises(UnsupportedError, match="has no scaling for this model"):
        Guided(detector="log-probability", words=words).bind(lvlm.adapter)
    with pytest.raises(UnsupportedError, match="cannot judge one before it is chosen"):
        Guided(detector="perplexity", threshold=0.5, words=words).bind(lvlm.adapter)
    with pytest.raises(ConfigError, match="no judged words"):
        Guided(detector="log-probability", threshold=0.5, words=[]).bind(lvlm.adapter)
    other: Any = tiny_model("llava")
    guided = Guided(**Guided.strong).bind(lvlm.adapter)
    inputs = tiny_samples("llava", (1,))[0].inputs
    with pytest.raises(UnsupportedError, match="bound to another model"):
        other.generate(**inputs, **guided.generate_kwargs(), max_new_tokens=2)
    with pytest.raises(UnsupportedError, match="processor"):
        other.generate(**inputs, custom_generate=Guided(**Guided.strong), max_new_tokens=2)
    generative: Any = lvlm.model
    with pytest.raises(UnsupportedError, match="one sequence a sample"):
        generative.generate(**inputs, custom_generate=guided, num_beams=2, max_new_tokens=2)


@pytest.mark.slow
def test_drawing_keeps_to_the_kit() -> None:
    check_decoder(Guided(**{**Guided.strong, "temperature": 1.0}), families=["qwen2_vl"])
