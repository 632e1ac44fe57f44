"""SGRS: what is taken, what is recorded, and that it stays inside transformers' generate."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from lvlmsal.attention import intervene
from lvlmsal.decoders.one_sequence import RecordedOutput
from lvlmsal.decoders.sgrs.acceptance import Acceptance
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.saliency import SaliencyOptions
from lvlmsal.testing.tiny import VOCABULARY, TinySample, collate, tiny_model, tiny_samples
from tests import reference
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

ROWS = ("predicting", "candidate")
F64 = torch.float64
STEPS = 6
MARKS = [260, 261, 262, 263]
"""Ids that stand for pixels: the reference, which runs without a cache, cannot take them."""


def run(
    model: PreTrainedModel, batch: dict[str, Tensor], sgrs: SGRS, **kwargs: Any
) -> RecordedOutput:
    output = model.generate(
        **batch,
        custom_generate=sgrs,
        return_dict_in_generate=True,
        **{"max_new_tokens": STEPS, "suppress_tokens": MARKS, **kwargs},
    )
    assert isinstance(output, RecordedOutput)
    return output


def new_tokens(output: RecordedOutput, batch: dict[str, Tensor]) -> Tensor:
    return output.sequences[:, batch["input_ids"].shape[1] :]


def setting(
    family: str = "llava", images: tuple[int, ...] = (1, 2, 0), layers: int = 3
) -> tuple[PreTrainedModel, list[TinySample], dict[str, Tensor]]:
    model = tiny_model(family, layers=layers, dtype=F64)
    samples = tiny_samples(family, images, dtype=F64)
    return model, samples, collate(samples)


@pytest.mark.parametrize(
    "sgrs",
    [
        SGRS(k=1, rejection=False),
        SGRS(k=1),
        SGRS(k=1, row="candidate"),
        SGRS(k=4, temperature=0.0, rejection=False),
        SGRS(plausibility=1.0),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_candidate_is_greedy_search(family: str, sgrs: SGRS) -> None:
    model, _, batch = setting(family)
    greedy = model.generate(**batch, max_new_tokens=STEPS, suppress_tokens=MARKS, do_sample=False)
    assert torch.equal(run(model, batch, sgrs).sequences, greedy)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_alpha_zero_is_the_control(family: str, row: str) -> None:
    model, _, batch = setting(family)
    control = run(model, batch, SGRS(row=row, rejection=False), seed=4)
    zero = run(model, batch, SGRS(row=row, alpha=0.0), seed=4)
    assert torch.equal(control.sequences, zero.sequences)
    assert all(record.tries == 1 for sample in zero.records or [] for record in sample)
    assert not torch.equal(control.sequences, run(model, batch, SGRS(row=row, alpha=1.5)).sequences)


@pytest.mark.parametrize("kept", ["all", "accepted"])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_records_tell_what_the_rule_did(family: str, row: str, kept: str) -> None:
    """S by the reference, tau, acceptance, fallback and history, token by token."""
    model, samples, batch = setting(family)
    sgrs = SGRS(row=row, alpha=1.05, k=4, max_tries=2, window=2, layers=[1, 2], history=kept)
    output = run(model, batch, sgrs, seed=1)
    assert output.records is not None
    fallbacks = 0
    for sample, records, ids in zip(
        samples, output.records, new_tokens(output, batch).tolist(), strict=True
    ):
        chosen = [record.id for record in records]
        assert ids[: len(chosen)] == chosen
        judged = reference.judge(model, sample, chosen, layers=[1, 2], row=row)
        history: list[float] = []
        for place, (record, wanted) in enumerate(zip(records, judged.saliency, strict=True)):
            assert record.saliency == pytest.approx(wanted, rel=1e-9)
            for other in record.rejected:
                path = [*chosen[:place], other["id"]]
                again = reference.judge(model, sample, path, layers=[1, 2], row=row)
                assert other["saliency"] == pytest.approx(again.saliency[-1], rel=1e-9)
            others = [other["saliency"] for other in record.rejected]
            if not history:
                assert record.threshold is None
                assert (record.tries, record.fallback) == (1, False)
            else:
                recent = history[-2:]
                assert record.threshold == pytest.approx(1.05 * sum(recent) / len(recent))
                first_tries = others[:2] if record.fallback else others
                assert all(value < record.threshold for value in first_tries[: record.tries - 1])
                if record.fallback:
                    fallbacks += 1
                    assert record.tries == 4
                    assert len(others) == 3
                    assert record.saliency == max([record.saliency, *others])
                else:
                    assert record.saliency >= record.threshold
                    assert record.tries == len(others) + 1 <= 2
            if kept == "all" or not record.fallback:
                history.append(record.saliency)
    assert fallbacks  # or nothing would tell the two histories apart


@pytest.mark.parametrize("block_size", [1, 4])
def test_a_history_of_accepted_tokens_by_hand(block_size: int) -> None:
    """With a threshold that nothing reaches, every token but the first is a fallback.

    Then the mean is the first token's S for good where fallbacks are left out, and that of the
    last W tokens where they are not.
    """
    model, _, batch = setting(images=(1,))
    shared: dict[str, Any] = {"alpha": 1e6, "window": 2, "block_size": block_size}
    records = (run(model, batch, SGRS(history="accepted", **shared)).records or [])[0]
    assert [record.fallback for record in records] == [False] + [True] * (STEPS - 1)
    first = records[0].saliency
    assert first is not None
    assert [record.threshold for record in records[1:]] == pytest.approx(
        [1e6 * first] * (STEPS - 1)
    )
    everything = (run(model, batch, SGRS(history="all", **shared)).records or [])[0]
    values = [record.saliency or 0.0 for record in everything]
    wanted = [values[0], *((a + b) / 2 for a, b in pairwise(values[:-1]))]
    assert [record.threshold for record in everything[1:]] == pytest.approx(
        [1e6 * value for value in wanted]
    )


def test_a_uniform_order_has_the_same_candidates_and_its_control_draws_alike() -> None:
    model, _, batch = setting()
    sgrs = SGRS(order="uniform", alpha=0.0)
    twin = sgrs.twin()
    assert twin == SGRS(order="uniform", rejection=False)
    found = run(model, batch, sgrs, seed=4)
    assert torch.equal(found.sequences, run(model, batch, twin, seed=4).sequences)
    assert not torch.equal(found.sequences, run(model, batch, SGRS(alpha=0.0), seed=4).sequences)
    with pytest.raises(ValueError, match="temperature=0 rules out"):
        SGRS(order="uniform", temperature=0.0)


@pytest.mark.parametrize("row", ROWS)
def test_the_fallback_counts_against_all_candidates(row: str) -> None:
    """An unreachable threshold: the argmax of S over the whole of C, by the reference."""
    model, samples, batch = setting(images=(1,))
    sgrs = SGRS(row=row, alpha=1e6, k=3, max_tries=1, layers=[2])
    records = (run(model, batch, sgrs, max_new_tokens=3).records or [])[0]
    chosen = [record.id for record in records]
    for place, record in enumerate(records[1:], start=1):
        assert record.fallback
        candidates = [record.id, *(other["id"] for other in record.rejected)]
        assert len(set(candidates)) == 3
        values = {}
        for token in candidates:
            path = [*chosen[:place], token]
            judged = reference.judge(model, samples[0], path, layers=[2], row=row)
            values[token] = judged.saliency[-1] or 0.0
        assert max(values, key=values.__getitem__) == record.id


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_its_samples(family: str, row: str) -> None:
    model, samples, batch = setting(family, (1, 2, 0, 1))
    sgrs = SGRS(row=row, alpha=1.0)
    names = ["a", "b", "c", "d"]
    together = run(model, batch, sgrs, seed=2, sample_ids=names)
    for index, sample in enumerate(samples):
        alone = run(model, collate([sample]), sgrs, seed=2, sample_ids=[names[index]])
        mine, theirs = (together.records or [])[index], (alone.records or [])[0]
        assert [record.id for record in mine] == [record.id for record in theirs]
        for left, right in zip(mine, theirs, strict=True):
            assert left.saliency == pytest.approx(right.saliency, rel=1e-9)
            assert (left.tries, left.fallback) == (right.tries, right.fallback)
            assert [other["id"] for other in left.rejected] == [
                other["id"] for other in right.rejected
            ]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("mode", ["weights", "renormalized", "scores"])
def test_under_locore_saliency_is_that_of_the_modified_weights(row: str, mode: str) -> None:
    model, samples, batch = setting("qwen2_vl", (1, 2))
    locore = LocoRE(beta=0.9, window=3, mode=mode)
    sgrs = SGRS(row=row, alpha=1.0, layers=[0, 2])
    plain = run(model, batch, sgrs)
    with intervene(model, locore):
        output = run(model, batch, sgrs)
    assert not torch.equal(output.sequences, plain.sequences)
    for sample, records in zip(samples, output.records or [], strict=True):
        rule = reference.rule_for([sample], "after_image", beta=0.9, window=3, mode=mode)
        chosen = [record.id for record in records]
        judged = reference.judge(model, sample, chosen, layers=[0, 2], row=row, rule=rule)
        for record, wanted in zip(records, judged.saliency, strict=True):
            assert record.saliency == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("row", ROWS)
def test_without_a_context_the_first_candidate_is_taken(row: str) -> None:
    model, _, batch = setting()
    output = run(model, batch, SGRS(row=row, alpha=5.0, context="output"), seed=3)
    control = run(model, batch, SGRS(rejection=False), seed=3)
    for index, records in enumerate(output.records or []):
        first, second = records[0], records[1]
        assert first.saliency is None
        assert (first.threshold, first.tries, first.fallback) == (None, 1, False)
        assert first.id == int(new_tokens(control, batch)[index, 0])
        assert second.saliency is not None
        assert second.threshold is None  # what is undefined does not enter the history
        assert records[2].threshold == pytest.approx(5.0 * second.saliency)


@pytest.mark.parametrize("row", ROWS)
def test_a_sample_that_ends_leaves_the_others_alone(row: str) -> None:
    model, _, batch = setting(images=(1, 2, 0))
    sgrs = SGRS(row=row, alpha=0.9)
    names = ["a", "b", "c"]
    free = new_tokens(run(model, batch, sgrs, sample_ids=names), batch).tolist()
    end = free[0][1]
    stopped = run(model, batch, sgrs, sample_ids=names, eos_token_id=end, pad_token_id=0)
    rows = new_tokens(stopped, batch).tolist()
    for wanted, ids, records in zip(free, rows, stopped.records or [], strict=True):
        length = wanted.index(end) + 1 if end in wanted else len(wanted)
        assert ids[:length] == wanted[:length]
        assert set(ids[length:]) <= {0}
        assert [record.id for record in records] == wanted[:length]
    assert len((stopped.records or [])[0]) == 2


class Banned(LogitsProcessor):
    """Keeps the odd ids."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        scores[:, ::2] = -torch.inf
        return scores


@pytest.mark.parametrize("row", ROWS)
def test_logits_processors_choose_who_is_a_candidate(row: str) -> None:
    model, _, batch = setting()
    output = run(
        model, batch, SGRS(row=row, alpha=1.2), logits_processor=LogitsProcessorList([Banned()])
    )
    seen = [
        token
        for records in output.records or []
        for record in records
        for token in (record.id, *(other["id"] for other in record.rejected))
    ]
    assert seen
    assert all(token % 2 for token in seen)


def test_banning_everything_is_said() -> None:
    model, _, batch = setting()
    with pytest.raises(UnsupportedError, match="ban the whole vocabulary"):
        run(model, batch, SGRS(), suppress_tokens=list(range(VOCABULARY)))


class Listener(BaseStreamer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[list[int]] = []
        self.ended = 0

    def put(self, value: Tensor) -> None:
        self.told.append(value.flatten().tolist())

    def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("row", ROWS)
def test_a_streamer_hears_what_it_hears_from_greedy_search(row: str) -> None:
    model, _, batch = setting(images=(1,))
    ours, theirs = Listener(), Listener()
    run(model, batch, SGRS(k=1, row=row), token_streamer=ours)
    model.generate(
        **batch,
        max_new_tokens=STEPS,
        suppress_tokens=MARKS,
        do_sample=False,
        streamer=theirs,
    )
    assert ours.told == theirs.told
    assert (ours.ended, theirs.ended) == (1, 1)


def test_forms_of_the_result_and_the_limit_of_length() -> None:
    model, _, batch = setting()
    plain = model.generate(**batch, custom_generate=SGRS(), max_new_tokens=3)
    full = run(model, batch, SGRS(), max_new_tokens=3, suppress_tokens=None)
    assert isinstance(plain, Tensor)
    assert torch.equal(plain, full.sequences)
    assert plain.shape[1] == batch["input_ids"].shape[1] + 3
    assert [len(records) for records in full.records or []] == [3, 3, 3]


def test_cost_is_what_the_docstring_says() -> None:
    """The first row records its prefill's last row again; otherwise one forward a token."""
    model, _, batch = setting(images=(1,))
    # One forward for the prompt; a step for each token but the last.
    assert run(model, batch, SGRS(rejection=False)).forwards == STEPS
    assert run(model, batch, SGRS(row="predicting", alpha=2.0, block_size=1)).forwards == STEPS + 1
    accepted = run(model, batch, SGRS(row="candidate", alpha=0.0))
    assert accepted.forwards == STEPS + 1


@pytest.mark.parametrize("kwargs", [{"num_beams": 2}, {"num_return_sequences": 2}])
def test_several_sequences_a_sample_are_refused(kwargs: dict[str, Any]) -> None:
    model, _, batch = setting(images=(1,))
    with pytest.raises(UnsupportedError, match="one sequence a sample"):
        run(model, batch, SGRS(), do_sample="num_return_sequences" in kwargs, **kwargs)


def test_decoding_without_a_cache_is_refused() -> None:
    model, _, batch = setting(images=(1,))
    with pytest.raises(UnsupportedError, match="use_cache"):
        run(model, batch, SGRS(), use_cache=False)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": -0.1},
        {"k": 0},
        {"max_tries": 0},
        {"window": 0},
        {"temperature": -1.0},
        {"plausibility": 1.5},
        {"norm": "matrix"},
        {"loss": "sum"},
        {"row": "next"},
        {"fusion": "mean"},
        {"heads": "abs"},
        {"context": "image"},
        {"layers": "deep"},
        {"history": "some"},
        {"order": "random"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SGRS(**options)


def test_the_options_of_saliency_reach_it() -> None:
    """Each reading of the options gives S of its own, that of the reference."""
    model, samples, batch = setting("internvl", (1,))
    for options in (
        {"heads": "sum_then_abs"},
        {"fusion": "attention"},
        {"fusion": "max"},
        {"layers": "0.3:0.7"},
    ):
        layers = [1] if "layers" in options else [1, 2]
        spec: dict[str, Any] = {"layers": [1, 2], **options}
        SaliencyOptions(**spec)
        records = (run(model, batch, SGRS(row="predicting", alpha=0.5, **spec)).records or [])[0]
        plain = {key: value for key, value in options.items() if key != "layers"}
        judged = reference.judge(
            model, samples[0], [record.id for record in records], layers=layers, **plain
        )
        assert [record.saliency for record in records] == pytest.approx(judged.saliency, rel=1e-9)


def test_a_candidate_that_just_reaches_the_threshold_is_taken() -> None:
    acceptance = Acceptance({7: 0.6, 8: 0.4}, 0.5, 2, True)
    acceptance.judged(0.5)
    assert acceptance.decided
    assert (acceptance.record.id, acceptance.record.fallback) == (7, False)
    assert acceptance.record.probability == 0.6
