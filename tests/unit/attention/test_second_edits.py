"""Edits that act in the second stream alone, against a plain model and a changed copy of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.stream import Stream
from lvlmsal.decoders.search import Greedy
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import (
    AttentionIntervention,
    Intervention,
    LogitsIntervention,
)
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.model.shared_prefix import can_share
from lvlmsal.testing.sharing import check_sharing
from lvlmsal.testing.tiny import collate, tiny_model, tiny_samples
from lvlmsal.versions import CACHE
from tests import second_streams as streams
from tests.tiers import FAMILIES
from tests.unit.attention.forgetting import Forgets, forgetting, joined_passes

pytestmark = pytest.mark.slow

F64 = torch.float64


class Same(AttentionIntervention):
    """Edits nothing, in all rows and layers, and does not say so."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return weights.clone()


class Contrast(LogitsIntervention):
    """With the same prompt, under edits of its own."""

    shares_prefix = shares_second = has_second_stream = True

    def __init__(self, *edits: Intervention) -> None:
        self.edits = edits

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Tensor] | None:
        return prompt.again()

    def second_edits(self, prompt: Prompt) -> Sequence[Intervention]:
        return self.edits

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        assert context.second is not None
        return 2 * logits - context.second


def model_of(family: str) -> PreTrainedModel:
    return tiny_model(family, layers=3, dtype=F64)


def samples_of(family: str, counts: Sequence[int] = (1, 2)) -> list[Any]:
    return tiny_samples(family, counts, dtype=F64)


def wanted(model: PreTrainedModel, inputs: Mapping[str, Tensor], answer: Sequence[int]) -> Tensor:
    seen = streams.following(model, inputs, answer)
    return 2 * seen - streams.following(forgetting(model, inputs), inputs, answer)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_decoding_is_two_plain_loops(family: str, use_cache: bool) -> None:
    """Every step, the second and later ones among them, where a lost cache would show."""
    model, samples = model_of(family), samples_of(family)
    with joined_passes() as passes, intervene(model, Contrast(Forgets())):
        tokens, logits = streams.decode(model, collate(samples), steps=5, use_cache=use_cache)
    assert passes == []
    for row, sample in enumerate(samples):
        for step in range(5):
            answer = tokens[row, :step].tolist()
            found = wanted(model, sample.inputs, answer)
            plain = streams.following(model, sample.inputs, answer)
            assert streams.close(logits[row, step], found), (row, step)
            assert (found - plain).abs().max() > 1e-2, "the second stream is the first one"


def test_beam_search_is_a_plain_search() -> None:
    model, samples = model_of("llava"), samples_of("llava")
    with intervene(model, Contrast(Forgets())):
        tokens, _ = streams.decode(model, collate(samples), steps=4, num_beams=3)
    for row, sample in enumerate(samples):
        alive: list[tuple[float, list[int]]] = [(0.0, [])]
        for _ in range(4):
            longer = []
            for score, answer in alive:
                log_probs = wanted(model, sample.inputs, answer).log_softmax(-1)
                log_probs[streams.BANNED] = -torch.inf
                best, chosen = log_probs.topk(3)
                pairs = zip(best.tolist(), chosen.tolist(), strict=True)
                longer += [(score + gain, [*answer, token]) for gain, token in pairs]
            alive = sorted(longer, key=lambda beam: -beam[0])[:3]
        assert tokens[row].tolist() == alive[0][1]


def steps_of(model: PreTrainedModel, inputs: Any, *edits: Any) -> list[Tensor]:
    """Logits of a prompt, of blocks, behind a rollback and of the prompt's last token again."""
    with intervene(model, *edits):
        stream = Stream.of(model, inputs)
        found = [stream.prefill()[:, None], stream.commit(torch.tensor([[5, 6], [7, 8]]))]
        stream.drop(1)
        found.append(stream.commit(torch.tensor([[9], [10]])))
        stream.select(torch.tensor([0, 1]))
        found.append(stream.commit(torch.tensor([[11, 12, 13], [14, 15, 16]])))
        stream.drop(6)
        last = inputs["input_ids"][:, -1:]
        found += [stream.commit(last), stream.commit(torch.tensor([[17], [18]]))]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rollback_takes_its_tokens_back(family: str) -> None:
    model, samples = model_of(family), samples_of(family)
    found = steps_of(model, collate(samples), Contrast(Forgets()))
    answers = ([], [(5, 6), (7, 8)], [(5, 9), (7, 10)])
    for logits, each in zip(found[1:3], answers[1:], strict=True):
        for row, sample in enumerate(samples):
            assert torch.allclose(logits[row, -1], wanted(model, sample.inputs, each[row]))
    for row, sample in enumerate(samples):
        assert torch.allclose(found[4][row, -1], wanted(model, sample.inputs, []))
        assert torch.allclose(found[5][row, -1], wanted(model, sample.inputs, [17 + row]))


def test_an_edit_that_edits_nothing_leaves_every_step_as_it_was() -> None:
    """2 l - l' is l where l' is l: under greedy search, beams and after a rollback."""
    model, samples = model_of("llava"), samples_of("llava")
    inputs = collate(samples)
    for options in ({}, {"num_beams": 3}):
        plain, wanted_logits = streams.decode(model, inputs, steps=5, **options)
        with intervene(model, Contrast(Same())):
            found, logits = streams.decode(model, inputs, steps=5, **options)
        assert torch.equal(found, plain)
        if not options:
            assert streams.close(logits, wanted_logits)
    for left, right in zip(
        steps_of(model, inputs, Contrast(Same())), steps_of(model, inputs), strict=True
    ):
        assert torch.allclose(left, right, rtol=1e-9, atol=1e-9)


def test_it_waits_with_its_tokens() -> None:
    """Where it is wanted at every third token only, these are those of one that never waits."""

    class Rarely(Contrast):
        def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
            return context.first_step % 3 == 2

        def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
            return logits if context.second is None else super().logits(logits, context)

    model, samples = model_of("llava"), samples_of("llava")
    with intervene(model, Rarely(Forgets())):
        tokens, logits = streams.decode(model, collate(samples), steps=6)
    for row, sample in enumerate(samples):
        for step in range(6):
            answer = tokens[row, :step].tolist()
            plain = streams.following(model, sample.inputs, answer)
            found = wanted(model, sample.inputs, answer) if step % 3 == 2 else plain
            assert streams.close(logits[row, step], found), (row, step)


def test_others_act_before_them_in_both_streams() -> None:
    model, samples = model_of("llava"), samples_of("llava")
    locore = LocoRE(beta=0.8, window=4)
    with intervene(model, Contrast(Forgets()), locore):
        tokens, logits = streams.decode(model, collate(samples))

    def under(edits: Sequence[Intervention], inputs: Any, answer: list[int]) -> Tensor:
        spans = streams.prompt_of(model, inputs).spans
        with intervene(model, *edits, spans=spans):
            return streams.following(model, inputs, answer)

    for row, sample in enumerate(samples):
        for step in range(4):
            answer = tokens[row, :step].tolist()
            seen = under([locore], sample.inputs, answer)
            # teacher forcing prepares for the prompt alone, as the stream does
            unseen = under([locore, Forgets()], sample.inputs, answer) if not step else None
            if unseen is not None:
                assert streams.close(logits[row, step], 2 * seen - unseen), (row, step)


def test_edits_of_logits_are_refused_there() -> None:
    model, inputs = model_of("llava"), collate(samples_of("llava"))
    with (
        pytest.raises(UnsupportedError, match=r"second_edits of Contrast holds Contrast, which"),
        intervene(model, Contrast(Contrast())),
    ):
        streams.decode(model, inputs)


def test_they_share_the_first_prompt_alone() -> None:
    """The whole second prompt is theirs, whatever its owner says of the first one."""
    assert can_share(Greedy(), [Contrast(Forgets())])
    check_sharing(Greedy(), [Contrast(Forgets())], ["llava"])


def test_a_second_stream_that_is_not_told_of_shares_nothing() -> None:
    """It would be lost: who goes on from a shared prefix looks at the flag."""

    class Untold(Contrast):
        has_second_stream = False

    assert not can_share(Greedy(), [Untold()])


def test_nothing_is_left_behind() -> None:
    model, inputs = model_of("llava"), collate(samples_of("llava"))
    before = streams.decode(model, inputs)[1]
    hooks: Callable[[], int] = lambda: sum(  # noqa: E731
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    )
    count, cache = hooks(), DynamicCache()
    with intervene(model, Contrast(Forgets(), Same())):
        streams.decode(model, inputs, **{CACHE: cache})
    assert hooks() == count
    assert torch.equal(streams.decode(model, inputs)[1], before)
