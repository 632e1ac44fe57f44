"""A second stream that waits where its logits do not matter says what one says that never waits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention import intervene, second_stream
from lvlmsal.attention.context import LogitsContext
from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.search import Beam, Greedy, Sample
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.interventions import LogitsIntervention
from lvlmsal.interventions.contrast import undecided
from lvlmsal.interventions.m3id import M3ID
from lvlmsal.interventions.pai import PAI
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.tiny import TINY, tiny_inputs, tiny_model
from tests.tiers import in_full

pytestmark = pytest.mark.slow


class Always:
    """Never lets the second stream wait."""

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        return True


@dataclass(frozen=True)
class EagerVCD(Always, VCD):
    pass


@dataclass(frozen=True)
class EagerPAI(Always, PAI):
    pass


@dataclass(frozen=True)
class EagerM3ID(Always, M3ID):
    pass


PAIRS: list[tuple[LogitsIntervention, LogitsIntervention]] = [
    (VCD(noise_step=999), EagerVCD(noise_step=999)),
    (PAI(gamma=1.5), EagerPAI(gamma=1.5)),
    (M3ID(rate=0.5, alpha=0.6), EagerM3ID(rate=0.5, alpha=0.6)),
    (
        M3ID(rate=0.5, gate="plausibility"),
        EagerM3ID(rate=0.5, gate="plausibility"),
    ),
]
DECODERS = [
    Greedy(),
    Sample(),
    Beam(num_beams=3),
    SGRS(alpha=1.2, row="predicting", block_size=4),
    SGRS(alpha=1.2, row="candidate", block_size=4),
    SGRS(alpha=1.2, row="predicting", block_size=1),
]


def sure_model(family: str) -> PreTrainedModel:
    """In float64, and sure of about every second token."""
    model = tiny_model(family, dtype=torch.float64)
    head: Any = model.get_output_embeddings()
    with torch.no_grad():
        head.weight *= 8
    return model


@cache
def family_of() -> dict[type[PreTrainedModel], str]:
    return {type(tiny_model(family)): family for family in TINY}


def decoded(
    model: PreTrainedModel, edit: LogitsIntervention, decoder: Decoder, **options: Any
) -> tuple[Tensor, int]:
    """Tokens of a left-padded batch, and the passes that they took."""
    inputs = tiny_inputs(family_of()[type(model)], (1, 1), dtype=torch.float64, seed=3)
    passes: list[object] = []
    counter = model.register_forward_hook(lambda *_: passes.append(None))
    generative: Any = model
    try:
        with intervene(model, edit):
            ids = generative.generate(
                **inputs,
                **decoder.generate_kwargs(seed=1, sample_ids=["a", "b"]),
                max_new_tokens=12,
                suppress_tokens=[2],
                **options,
            )
    finally:
        counter.remove()
    return ids[:, inputs["input_ids"].shape[1] :], len(passes)


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams never run in one pass, so that passes count what waits; see test_joined.py."""
    monkeypatch.setattr(second_stream, "PATIENCE", 10**9)


@pytest.mark.parametrize("family", in_full(["llava", "qwen2_vl"], but="qwen2_vl"))
@pytest.mark.parametrize("decoder", DECODERS, ids=str)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: repr(pair[0]))
def test_tokens_are_the_same_and_passes_fewer(
    family: str, decoder: Decoder, pair: tuple[LogitsIntervention, LogitsIntervention]
) -> None:
    model = sure_model(family)
    tokens, passes = decoded(model, pair[0], decoder)
    wanted, all_passes = decoded(model, pair[1], decoder)
    plain, _ = decoded(model, VCD(alpha=0.0, beta=0.0), decoder)
    assert torch.equal(tokens, wanted)
    assert passes <= all_passes
    if isinstance(decoder, Greedy):
        assert passes < all_passes, "it never waited, so this test shows nothing"
        assert not torch.equal(tokens, plain), "no contrast was wanted"


def test_without_a_cache() -> None:
    model = sure_model("llava")
    cached, _ = decoded(model, PAIRS[0][0], Greedy())
    for edit in PAIRS[0]:
        assert torch.equal(decoded(model, edit, Greedy(), use_cache=False)[0], cached)


def test_a_model_that_is_always_sure_runs_no_second_prompt() -> None:
    model = tiny_model("llava", dtype=torch.float64)
    head: Any = model.get_output_embeddings()
    with torch.no_grad():
        head.weight *= 1000
    tokens, passes = decoded(model, VCD(), Greedy())
    assert passes == 12
    assert torch.equal(tokens, decoded(model, VCD(alpha=0.0, beta=0.0), Greedy())[0])


@pytest.mark.parametrize(
    ("logits", "beta", "expected"),
    [
        ([[0.0, 2.0]], 0.1, True),  # ln 0.1 = -2.303: both stay
        ([[0.0, 2.4]], 0.1, False),
        ([[0.0, 2.4], [0.0, 2.0]], 0.1, True),  # one row is enough
        ([[-torch.inf, 0.0]], 0.0, False),  # what is banned already is not a choice
        ([[0.0, 99.0]], 0.0, True),
    ],
)
def test_when_a_cut_decides(logits: list[list[float]], beta: float, expected: bool) -> None:
    assert undecided(torch.tensor(logits), beta) is expected
