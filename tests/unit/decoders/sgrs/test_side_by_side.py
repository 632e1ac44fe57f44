"""Candidates that are judged side by side in one pass, against one pass for each of them."""

from __future__ import annotations

from contextlib import nullcontext
from unittest.mock import PropertyMock, patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlmsal.attention import intervene
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.one_sequence import RecordedOutput
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vaf import VAF
from lvlmsal.testing.tiny import TINY, VOCABULARY, collate, tiny_model, tiny_samples
from tests.tiers import FAMILIES
from tests.unit.decoders.sgrs.test_blocks import F64, assert_same, run, sliding_model

ONE_BY_ONE = patch.object(RecordingStream, "takes_candidates", PropertyMock(return_value=False))


def both(
    family: str,
    images: tuple[int, ...],
    sgrs: SGRS,
    edit: LocoRE | VAF | None = None,
    seed: int = 0,
    ends: int = 1000,
) -> tuple[RecordedOutput, RecordedOutput]:
    """One by one, and as it is."""
    model = tiny_model(family, layers=3, dtype=F64)
    batch = collate(tiny_samples(family, images, dtype=F64))
    found = []
    for way in (ONE_BY_ONE, nullcontext()):
        with way, nullcontext() if edit is None else intervene(model, edit):
            ids = list(range(2, VOCABULARY, ends))
            found.append(run(model, batch, sgrs, seed=seed, pad_token_id=0, eos_token_id=ids))
    return found[0], found[1]


@pytest.mark.slow
@settings(max_examples=25)
@given(
    family=st.sampled_from(sorted(TINY)),
    images=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    sgrs=st.builds(
        SGRS,
        row=st.sampled_from(["candidate", "predicting"]),
        alpha=st.sampled_from([0.6, 0.9, 1.0, 1.1, 1e6]),
        k=st.integers(2, 5),
        max_tries=st.integers(1, 4),
        window=st.integers(1, 6),
        temperature=st.sampled_from([0.0, 1.0, 2.0]),
        plausibility=st.sampled_from([0.0, 0.1]),
        fusion=st.sampled_from(["product", "max"]),
        context=st.sampled_from(["after_image", "output"]),
        layers=st.sampled_from(["0.5:1.0", [0, 2], [1]]),
        block_size=st.sampled_from([1, 2, 5]),
    ),
    locore=st.none() | st.builds(LocoRE, beta=st.floats(-0.9, 2.0), window=st.integers(1, 8)),
    ends=st.sampled_from([1000, 20]),
    seed=st.integers(0, 1000),
)
def test_they_are_judged_as_one_by_one(
    family: str,
    images: tuple[int, ...],
    sgrs: SGRS,
    locore: LocoRE | None,
    ends: int,
    seed: int,
) -> None:
    assert_same(*both(family, images, sgrs, locore, seed, ends))


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_of_the_predicting_row_judge_all_candidates(family: str) -> None:
    sgrs = SGRS(row="predicting", alpha=1e6, k=5, max_tries=3, block_size=1)
    loop, together = both(family, (1, 0), sgrs)
    assert_same(loop, together)
    assert all(len(record.rejected) == 4 for record in together.records[0][1:])
    assert together.forwards == loop.forwards


@pytest.mark.parametrize("family", FAMILIES)
def test_a_position_takes_two_passes_at_most(family: str) -> None:
    sgrs = SGRS(alpha=1e6, k=5, max_tries=3, block_size=1)
    loop, together = both(family, (1, 0), sgrs)
    assert_same(loop, together)
    tokens = len(together.records[0])
    # nothing has a history at first, so the first token is accepted; all others are rejected
    assert all(len(record.rejected) == 4 for record in together.records[0][1:])
    assert loop.forwards >= 1 + 1 + 5 * (tokens - 1)
    assert together.forwards <= 1 + 1 + 2 + (tokens - 2)


def test_edits_that_go_by_more_than_positions_are_judged_one_by_one() -> None:
    loop, found = both("llava", (1,), SGRS(alpha=1e6, block_size=1), VAF(layers=[0]))
    assert_same(loop, found)
    assert loop.forwards == found.forwards
    loop, found = both("llava", (1,), SGRS(alpha=1e6, block_size=1), LocoRE())
    assert_same(loop, found)
    assert found.forwards < loop.forwards


def test_layers_with_a_window_are_judged_one_by_one() -> None:
    model = sliding_model(4)
    batch = collate(tiny_samples("llava", (1,), dtype=F64))
    kwargs = {"pad_token_id": 0, "eos_token_id": [2]}
    sgrs = SGRS(alpha=1e6, block_size=1)
    found = run(model, batch, sgrs, **kwargs)
    with ONE_BY_ONE:
        loop = run(model, batch, sgrs, **kwargs)
    assert torch.equal(found.sequences, loop.sequences)
    assert found.forwards == loop.forwards
