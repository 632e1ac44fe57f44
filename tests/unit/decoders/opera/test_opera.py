"""OPERA: where it must be plain beam search, in batches, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import find_spans
from lvlmsal.attention import intervene
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import Stream
from lvlmsal.decoders.opera.decoder import OPERA, PAPER, OPERAOutput
from lvlmsal.decoders.opera.over_trust import LayerWatcher
from lvlmsal.decoders.search import Beam
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import (
    VOCABULARY,
    collate,
    tiny_inputs,
    tiny_lvlm,
    tiny_model,
    tiny_samples,
)
from lvlmsal.versions import CACHE
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

F64 = torch.float64
STEPS = 10
MARKS = [260, 261, 262, 263]
"""Ids that stand for pixels: a search by hand, which runs without a cache, cannot take them."""
PLAIN: dict[str, Any] = {"alpha": 0.0, "threshold": None, "normalize": "vocabulary"}
EAGER: dict[str, Any] = {"num_beams": 3, "num_candidates": 3, "threshold": 1, "earliest_summary": 0}


def run(
    model: PreTrainedModel, batch: dict[str, Tensor], opera: OPERA, **kwargs: Any
) -> OPERAOutput:
    options = {"max_new_tokens": STEPS, "suppress_tokens": MARKS, "eos_token_id": None}
    output = model.generate(
        **batch,
        **{**options, "pad_token_id": 3, **kwargs},
        **opera.generate_kwargs(),
        return_dict_in_generate=True,
    )
    assert isinstance(output, OPERAOutput)
    return output


def answers(output: OPERAOutput, batch: dict[str, Tensor]) -> list[list[int]]:
    found: list[list[int]] = output.sequences[:, batch["input_ids"].shape[1] :].tolist()
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [2, 4])
def test_nothing_switched_on_is_beam_search(family: str, beams: int) -> None:
    model = tiny_model(family, dtype=F64)
    batch = tiny_inputs(family, (1, 2, 0), dtype=F64)
    options: dict[str, Any] = {"max_new_tokens": 8, "pad_token_id": 3}
    wanted = model.generate(**batch, **options, **Beam(num_beams=beams).generate_kwargs())
    # looking without acting (a threshold that is never reached), and not looking at all
    for looking in ({}, {"threshold": 10**6}):
        opera = OPERA(num_beams=beams, num_candidates=3 * beams, **{**PLAIN, **looking})
        assert torch.equal(model.generate(**batch, **options, **opera.generate_kwargs()), wanted)


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("returned", [1, 3])
def test_ends_are_those_of_beam_search(
    early_stopping: bool | str, length_penalty: float, returned: int
) -> None:
    """Where hypotheses end early, by two ends of sequence, at different lengths."""
    model = tiny_model("llava", dtype=F64)
    batch = tiny_inputs("llava", (1, 2, 0), dtype=F64)
    plain = model.generate(**batch, max_new_tokens=3, num_beams=3, do_sample=False)
    kwargs: dict[str, Any] = {
        "max_new_tokens": 12,
        "pad_token_id": 3,
        "eos_token_id": [int(plain[0, -2]), *range(40, 56)],
        "early_stopping": early_stopping,
        "num_return_sequences": returned,
        "output_scores": True,
        "return_dict_in_generate": True,
    }
    beam = Beam(num_beams=3, length_penalty=length_penalty)
    opera = OPERA(num_beams=3, length_penalty=length_penalty, num_candidates=VOCABULARY, **PLAIN)
    wanted = model.generate(**batch, **kwargs, **beam.generate_kwargs())
    found = model.generate(**batch, **kwargs, **opera.generate_kwargs())
    assert torch.equal(found.sequences, wanted.sequences)
    torch.testing.assert_close(found.sequences_scores, wanted.sequences_scores)


@pytest.mark.parametrize("candidates", [1, 3])
def test_candidates_alone_are_a_beam_search_over_the_best_tokens(candidates: int) -> None:
    """No penalty, no way back: transformers' beam search behind a cut that renormalises."""

    class Best(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            best = scores.topk(candidates)
            kept = torch.full_like(scores, -1e7).scatter(1, best.indices, best.values)
            return kept.log_softmax(-1)

    model = tiny_model("llava", dtype=F64)
    batch = tiny_inputs("llava", (1, 2, 0), dtype=F64)
    options: dict[str, Any] = {"max_new_tokens": 6, "pad_token_id": 3, "eos_token_id": None}
    wanted = model.generate(
        **batch,
        **options,
        **Beam(num_beams=3).generate_kwargs(),
        logits_processor=LogitsProcessorList([Best()]),
    )
    opera = OPERA(num_beams=3, num_candidates=candidates, alpha=0.0, threshold=None)
    found = model.generate(**batch, **options, **opera.generate_kwargs())
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("edit", [None, LocoRE(beta=0.5), VCD(noise_step=999)])
def test_a_batch_is_its_samples(family: str, edit: Intervention | None) -> None:
    """Some go back, others do not, and a second stream goes along."""
    model = tiny_model(family, dtype=F64)
    samples = tiny_samples(family, (1, 2), dtype=F64, seed=2)
    opera = OPERA(**EAGER, max_rollbacks=1)
    with intervene(model, *([] if edit is None else [edit])):
        together = run(model, collate(samples), opera, max_new_tokens=7)
        alone = [run(model, sample.inputs, opera, max_new_tokens=7) for sample in samples]
    assert answers(together, collate(samples)) == [
        answers(output, sample.inputs)[0] for output, sample in zip(alone, samples, strict=True)
    ]
    assert together.rollbacks == [output.rollbacks[0] for output in alone if output.rollbacks]
    assert sum(together.rollbacks or []) > 0


def test_an_intervention_reaches_the_attention_that_is_judged() -> None:
    model = tiny_model("llava", dtype=F64)
    sample = tiny_samples("llava", (1,), dtype=F64)[0].inputs
    longer = {**sample, "input_ids": torch.cat([sample["input_ids"], torch.tensor([[9]])], dim=1)}
    length = sample["input_ids"].shape[1]
    spans = find_spans(sample["input_ids"], None, [MARKS[0]])
    longer["attention_mask"] = torch.ones_like(longer["input_ids"])

    def rows(*edits: Intervention) -> Tensor:
        watcher = LayerWatcher()
        every = intervene(model, *edits, spans=spans)
        with torch.no_grad(), every, AttentionSession(model, [watcher], records=False):
            model(**longer, **{CACHE: None}, use_cache=False)
        return watcher.seen.local(0)[:, -1]

    # the last layer only, so that what is attended with is the same; the last 3 keys but the own
    plain, edited = rows(), rows(LocoRE(beta=1.0, window=3, layers=[-1]))
    wanted = plain.clone()
    wanted[:, length - 3 : length] *= 2
    torch.testing.assert_close(edited, wanted / wanted.sum())


def test_one_goes_back_and_the_other_does_not() -> None:
    model = tiny_model("llava", dtype=F64)
    samples = tiny_samples("llava", (1, 0), dtype=F64)
    late = {"earliest_summary": 2, "threshold": 2, "scale": 8.0, "score_factor": 1.0}
    opera = OPERA(**{**EAGER, **late})
    together = run(model, collate(samples), opera)
    assert together.rollbacks == [0, 1]
    for sample, wanted in zip(samples, answers(together, collate(samples)), strict=True):
        assert answers(run(model, sample.inputs, opera), sample.inputs) == [wanted]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    model = tiny_model("llava", dtype=dtype)
    batch = tiny_inputs("llava", (1, 0), dtype=dtype)
    found = run(model, batch, OPERA(**EAGER, max_rollbacks=1), output_scores=True)
    assert found.sequences_scores is not None
    assert bool(found.sequences_scores.isfinite().all())
    assert len(answers(found, batch)[0]) == STEPS


@pytest.mark.parametrize("reading", [{}, {**PAPER, "scale": 4.0}])
def test_roll_backs_are_bounded(reading: dict[str, Any]) -> None:
    """A sample that would always go back ends all the same, its answer as long as it should be."""
    model = tiny_model("llava", dtype=F64)
    batch = tiny_inputs("llava", (1, 0), dtype=F64)
    limit = 2
    opera = OPERA(**{**reading, **EAGER, "max_rollbacks": limit})
    found = run(model, batch, opera, max_new_tokens=8)
    assert found.rollbacks is not None
    assert 0 < max(found.rollbacks) <= limit * 8
    assert [len(row) for row in answers(found, batch)] == [8, 8]
    never = run(model, batch, OPERA(**{**EAGER, "max_rollbacks": 0}), max_new_tokens=6)
    assert never.rollbacks == [0, 0]
    assert never.forwards == 1 + 6  # the prompt, and the candidates of each token


@pytest.mark.parametrize("reading", [{}, {**PAPER, "scale": 4.0}], ids=["code", "paper"])
@pytest.mark.parametrize("family", FAMILIES)
def test_candidates_side_by_side_are_those_of_passes_of_their_own(
    family: str, reading: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With roll-backs, behind which tokens are chosen that were no candidates."""
    model, batch = tiny_model(family, dtype=F64), tiny_inputs(family, (1, 2, 0), dtype=F64)
    opera = OPERA(**{**reading, **EAGER, "image_bonus_tokens": 3})
    rows = [0]

    def count(module: object, args: Any, output: Any) -> None:
        rows[0] += args[0].shape[0] * args[0].shape[1]

    handle = adapter_for(model).layers[0].register_forward_hook(count)
    together, counted, rows[0] = run(model, batch, opera, output_scores=True), rows[0], 0
    monkeypatch.setattr(Stream, "fits_side_by_side", lambda *_: False)
    alone = run(model, batch, opera, output_scores=True)
    handle.remove()
    assert alone.rollbacks == together.rollbacks != [0, 0, 0]
    assert torch.equal(alone.sequences, together.sequences)
    assert alone.sequences_scores is not None
    assert torch.allclose(alone.sequences_scores, together.sequences_scores, rtol=1e-9, atol=1e-9)
    assert counted < rows[0]


def test_a_token_costs_the_rows_of_its_candidates_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = tiny_model("llava", dtype=F64), tiny_inputs("llava", (1,), dtype=F64)
    opera = OPERA(num_beams=3, num_candidates=4, threshold=None)
    rows: list[int] = []

    def count(module: object, args: Any, output: Any) -> None:
        rows.append(args[0].shape[0] * args[0].shape[1])

    handle = adapter_for(model).layers[0].register_forward_hook(count)
    run(model, batch, opera, max_new_tokens=5)
    assert rows[1:] == 5 * [3 * 4]
    rows.clear()
    monkeypatch.setattr(Stream, "fits_side_by_side", lambda *_: False)
    run(model, batch, opera, max_new_tokens=5)
    handle.remove()
    # but for the last token, what was chosen is run once more
    assert rows[1:] == (5 * 4 + 4) * [3]


def test_a_sample_that_has_ended_costs_the_others_no_further_pass() -> None:
    model, batch = tiny_model("llava", dtype=F64), tiny_inputs("llava", (1, 2), dtype=F64)
    opera = OPERA(num_beams=2, num_candidates=4, threshold=None)
    options = {"max_new_tokens": 8, "early_stopping": True, "eos_token_id": [214, 57, 181]}
    output = run(model, batch, opera, **options)
    ended, longer = answers(output, batch)
    assert ended[1:] == [3] * (len(longer) - 1)  # padding behind its first token
    assert 3 not in longer
    assert output.forwards == 1 + len(longer)


def test_tokens_that_are_left_when_all_were_rejected() -> None:
    """One candidate a beam: what was taken back is taken once more rather than nothing."""
    model = tiny_model("llava", dtype=F64)
    batch = tiny_inputs("llava", (1,), dtype=F64)
    options = {**EAGER, "after_rollback": "candidates", "num_candidates": 1}
    found = run(model, batch, OPERA(**options, length_penalty=0.0), max_new_tokens=6)
    assert sum(found.rollbacks or []) > 0
    assert len(answers(found, batch)[0]) == 6


def test_bans_leave_other_candidates() -> None:
    model = tiny_model("llava", dtype=F64)
    batch = tiny_inputs("llava", (1, 0), dtype=F64)
    allowed = [7, 8, 9]
    banned = [token for token in range(VOCABULARY) if token not in allowed]
    found = run(model, batch, OPERA(**EAGER, max_rollbacks=1), suppress_tokens=banned)
    assert {token for row in answers(found, batch) for token in row} <= set(allowed)
    with pytest.raises(UnsupportedError, match="no token is left"):
        run(model, batch, OPERA(), suppress_tokens=list(range(VOCABULARY)))


def test_what_it_refuses() -> None:
    model = tiny_model("llava")
    batch = tiny_inputs("llava", (1,))
    kwargs = OPERA(num_beams=3).generate_kwargs()
    for other in ({"num_beams": 4}, {"num_beams": 1}, {"do_sample": True}):
        with pytest.raises(UnsupportedError, match="num_beams=3"):
            model.generate(**batch, max_new_tokens=2, **{**kwargs, **other})
    with pytest.raises(UnsupportedError, match="use_cache"):
        model.generate(**batch, max_new_tokens=2, use_cache=False, **kwargs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 1}, "num_beams must be at least 2, got 1"),
        ({"alpha": -0.5}, "no penalty"),
        ({"scale": 0.0}, "scale must be above 0, got 0.0"),
        ({"score_factor": -1.0}, "score_factor must be above 0, got -1.0"),
        ({"num_candidates": 0}, "num_candidates must be at least 1, got 0"),
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"image_bonus_tokens": -1}, "must be at least 0, got -1"),
        ({"max_rollbacks": -1}, "must be at least 0, got -1"),
        ({"earliest_summary": -1}, "must be at least 0, got -1"),
        ({"threshold": 0}, "never go back"),
        ({"normalize": "beams"}, "candidates, vocabulary"),
        ({"overlap": "both"}, "code, paper"),
        ({"after_rollback": "nothing"}, "vocabulary, candidates"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPERA(**options)


def test_what_it_is_compared_with() -> None:
    assert OPERA(num_beams=4, length_penalty=0.5).twin() == Beam(4, 0.5)
    assert OPERA().mitigates
    assert not OPERA(alpha=0.0, threshold=None).mitigates
    assert not OPERA().is_random


def test_by_name_on_a_loaded_model() -> None:
    lvlm = load(tiny_lvlm("llava", dtype=F64))
    asked: dict[str, Any] = {"decoder": {"name": "opera", "num_beams": 3}, "max_new_tokens": 4}
    answer = lvlm.generate(None, "Is there a cat?", **asked)
    assert 1 <= len(answer.token_ids) <= 4
    assert answer.forwards == 1 + 4
