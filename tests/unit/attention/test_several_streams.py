"""Several second streams of one edit, by name, against plain models and a changed copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention import intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.stream import Stream
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import Intervention, LogitsIntervention
from lvlmsal.interventions.contrast import without_images
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.tiny import collate, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.tiers import FAMILIES
from tests.unit.attention.forgetting import Forgets, forgetting, joined_passes

pytestmark = pytest.mark.slow

F64 = torch.float64


class Three(LogitsIntervention):
    """The model, without its images, and where it forgets them."""

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        return {"blind": without_images(prompt), "forgets": prompt.again()}

    def second_edits(self, prompt: Prompt) -> Mapping[str, Sequence[Intervention]]:
        return {"forgets": [Forgets()]}

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        assert context.second is None
        assert list(context.seconds) == ["blind", "forgets"]
        return 3 * logits - context.seconds["blind"] - context.seconds["forgets"]


def model_of(family: str) -> PreTrainedModel:
    return tiny_model(family, layers=3, dtype=F64)


def wanted(model: PreTrainedModel, inputs: Mapping[str, Tensor], answer: Sequence[int]) -> Tensor:
    seen = streams.following(model, inputs, answer)
    blind = streams.following(model, streams.without_images(inputs), answer)
    return 3 * seen - blind - streams.following(forgetting(model, inputs), inputs, answer)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_decoding_is_three_plain_loops(family: str, use_cache: bool) -> None:
    model, samples = model_of(family), tiny_samples(family, (1, 2), dtype=F64)
    with joined_passes() as passes, intervene(model, Three()):
        tokens, logits = streams.decode(model, collate(samples), steps=5, use_cache=use_cache)
    assert passes == []
    for row, sample in enumerate(samples):
        for step in range(5):
            found = wanted(model, sample.inputs, tokens[row, :step].tolist())
            assert streams.close(logits[row, step], found), (row, step)


def test_all_follow_blocks_beams_and_roll_backs() -> None:
    model, sample = model_of("llava"), tiny_samples("llava", (1,), dtype=F64)[0]
    with intervene(model, Three()):
        stream = Stream.of(model, collate([sample, sample]))
        stream.prefill()
        stream.commit(torch.tensor([[5, 6, 7], [8, 9, 10]]))
        stream.select(torch.tensor([1, 1]))
        stream.drop(1)
        found = stream.commit(torch.tensor([[11], [12]]))[:, -1]
    for row, answer in enumerate(([8, 9, 11], [8, 9, 12])):
        assert torch.allclose(found[row], wanted(model, sample.inputs, answer)), row


def test_they_count_as_one_second_stream() -> None:
    model, inputs = model_of("llava"), collate(tiny_samples("llava", (1,), dtype=F64))
    for edits in ((Three(), VCD()), (VCD(), Three())):
        with (
            pytest.raises(UnsupportedError, match="two interventions bring a second stream"),
            intervene(model, *edits),
        ):
            streams.decode(model, inputs)
