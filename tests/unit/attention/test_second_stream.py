"""The second stream follows the first one wherever it goes, and leaves nothing behind."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StaticCache,
)

from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.stream import Stream
from lvlmsal.attention.unedited import unedited
from lvlmsal.decoders.combination import check_combination
from lvlmsal.decoders.search import Greedy
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention, LogitsIntervention
from lvlmsal.interventions.contrast import without_images
from lvlmsal.interventions.icd import ICD
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.tiny import collate, tiny_model, tiny_samples
from lvlmsal.versions import CACHE
from tests import reference
from tests import second_streams as streams
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

F64 = torch.float64


class Contrast(LogitsIntervention):
    """The image-free prompt is another length in each sample, and none in none."""

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Tensor] | None:
        return without_images(prompt)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        assert context.second is not None
        assert context.second.shape == logits.shape
        return 2 * logits - context.second


def combine(seen: Tensor, unseen: Tensor, step: int) -> Tensor:
    return 2 * seen - unseen


def model_of(family: str) -> PreTrainedModel:
    return tiny_model(family, dtype=F64)


def samples_of(family: str, counts: Sequence[int] = (1, 2)) -> list[Any]:
    return tiny_samples(family, counts, dtype=F64)


def wanted_logits(model: PreTrainedModel, inputs: Any, answer: Sequence[int], rows: int) -> Tensor:
    """Combined logits of the last rows of a prompt and its answer, (rows, V)."""
    found = []
    for each in (inputs, streams.without_images(inputs)):
        with torch.no_grad():
            found.append(model(**reference.longer(each, answer)).logits[0, -rows:])
    return combine(*found, 0)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(1, 4)),
        st.tuples(st.just("drop"), st.integers(1, 5)),
        st.tuples(st.just("select"), st.integers(0, 15)),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("family", FAMILIES)
@given(OPERATIONS, st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_it_follows_blocks_roll_backs_and_beams(
    family: str, operations: list[tuple[str, int]], seed: int
) -> None:
    """Two beams of each of two samples; every pass against full runs of both sequences."""
    model, generator = model_of(family), torch.Generator().manual_seed(seed)
    plain = copy.deepcopy(model)  # of which no scope knows
    of_rows = [sample for sample in samples_of(family) for _ in range(2)]
    answers: list[list[int]] = [[] for _ in of_rows]

    def check(logits: Tensor, rows: int) -> None:
        for index, (sample, answer) in enumerate(zip(of_rows, answers, strict=True)):
            wanted = wanted_logits(plain, sample.inputs, answer, rows)
            assert torch.allclose(logits[index], wanted, rtol=1e-9, atol=1e-9), index

    with intervene(model, Contrast()):
        stream = Stream.of(model, collate(of_rows))
        check(stream.prefill()[:, None], 1)
        for operation, number in operations:
            if operation == "commit":
                block = torch.randint(4, 250, (len(of_rows), number), generator=generator)
                answers = [a + b for a, b in zip(answers, block.tolist(), strict=True)]
                check(stream.commit(block), number)
            elif operation == "drop":
                count = min(number, len(answers[0]))
                answers = [answer[: len(answer) - count] for answer in answers]
                stream.drop(count)
            else:
                rows = [2 * (row // 2) + (number >> row & 1) for row in range(4)]
                answers = [list(answers[row]) for row in rows]
                stream.select(torch.tensor(rows))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_token_of_the_prompt_can_be_run_again(family: str) -> None:
    model = model_of(family)
    plain = copy.deepcopy(model)
    samples = samples_of(family)
    with intervene(model, Contrast()):
        stream = Stream.of(model, collate(samples))
        stream.prefill()
        stream.commit(torch.tensor([[5, 6], [7, 8]]))
        stream.drop(3)
        again = stream.commit(torch.tensor([[s.inputs["input_ids"][0, -1]] for s in samples]))
        after = stream.commit(torch.tensor([[9], [10]]))
    for row, (sample, token) in enumerate(zip(samples, (9, 10), strict=True)):
        for found, answer in ((again, []), (after, [token])):
            wanted = wanted_logits(plain, sample.inputs, answer, 1)
            assert torch.allclose(found[row], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_is_a_plain_search(family: str, use_cache: bool) -> None:
    model, samples = model_of(family), samples_of(family)
    with intervene(model, Contrast()):
        options: dict[str, Any] = {"num_beams": 4, "use_cache": use_cache}
        tokens, _ = streams.decode(model, collate(samples), steps=5, **options)
    for row, sample in enumerate(samples):
        unseen = streams.without_images(sample.inputs)
        wanted = streams.beam_search(model, sample.inputs, unseen, combine, beams=4, steps=5)
        assert tokens[row].tolist() == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_drafted_tokens_that_transformers_rejects(family: str) -> None:
    """Assisted decoding crops the cache; its answers are those of greedy decoding."""
    model, sample = model_of(family), samples_of(family, (1,))[0]
    with intervene(model, Contrast()):
        wanted, _ = streams.decode(model, sample.inputs, steps=12)
        found, _ = streams.decode(model, sample.inputs, steps=12, prompt_lookup_num_tokens=3)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_turn_goes_on_from_both_caches(family: str) -> None:
    model, sample = model_of(family), samples_of(family, (1,))[0]
    plain = copy.deepcopy(model)
    cache, question = DynamicCache(), torch.tensor([[40, 41, 42]])
    with intervene(model, Contrast()):
        first, _ = streams.decode(model, sample.inputs, **{CACHE: cache})
        told = [*first[0].tolist(), *question[0].tolist()]
        longer = reference.longer(sample.inputs, told)
        longer = {name: v for name, v in longer.items() if not name.startswith(("pixel", "image"))}
        second, logits = streams.decode(model, longer, **{CACHE: cache})
    for step in range(4):
        wanted = wanted_logits(plain, sample.inputs, [*told, *second[0, :step].tolist()], 1)
        assert streams.close(logits[0, step], wanted[0]), step
    assert len(cache.layers) == model.config.get_text_config().num_hidden_layers
    with pytest.raises(UnsupportedError, match="same intervene"), intervene(model, Contrast()):
        streams.decode(model, longer, **{CACHE: cache})


class Fails(LogitsProcessor):
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        raise ZeroDivisionError


class FailsToCombine(Contrast):
    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        raise ZeroDivisionError


@pytest.mark.parametrize("num_beams", [1, 3])
def test_caches_are_left_as_they_were(num_beams: int) -> None:
    model, inputs = model_of("llava"), collate(samples_of("llava"))
    depth = model.config.get_text_config().num_hidden_layers
    options: dict[str, Any] = {"num_beams": num_beams}
    cache = DynamicCache()
    with intervene(model, Contrast()):
        streams.decode(model, inputs, **{CACHE: cache}, **options)
        assert "reorder_cache" in vars(cache)
    assert vars(cache).keys() - {"_is_user_defined"} == vars(DynamicCache()).keys()
    assert len(cache.layers) == depth
    length = cache.get_seq_length()
    cache.crop(-1)
    cache.reorder_cache(torch.arange(2 * num_beams))
    assert cache.get_seq_length() == length - 1
    for edit, processors in ((Contrast(), [Fails()]), (FailsToCombine(), [])):
        cache = DynamicCache()
        options["logits_processor"] = LogitsProcessorList(processors)
        with pytest.raises(ZeroDivisionError), intervene(model, edit):
            streams.decode(model, inputs, **{CACHE: cache}, **options)
        assert vars(cache).keys() - {"_is_user_defined"} == vars(DynamicCache()).keys()


def test_a_cache_that_is_used_anew_forgets_the_stream_of_its_last_prompt() -> None:
    """The second prompt has no image, so nothing to contrast with."""
    model = model_of("llava")
    with_image, without = samples_of("llava", (1, 0))
    plain, _ = streams.decode(model, without.inputs)
    depth = model.config.get_text_config().num_hidden_layers
    cache = StaticCache(config=model.config, max_cache_len=60)
    with intervene(model, VCD(beta=0)):
        with torch.no_grad():
            model(**with_image.inputs, **{CACHE: cache})
        assert "crop" in vars(cache)
        assert (len(cache.layers), cache.is_compileable) == (depth, True)
        cache.reset()
        found, _ = streams.decode(model, without.inputs, **{CACHE: cache})
        assert "crop" not in vars(cache)
    assert torch.equal(found, plain)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_tokens_of_plain_passes_are_not_taken_for_known_ones(kept: int) -> None:
    """What is cropped off a cache may have come to it while nobody told the second stream."""
    model, inputs = model_of("llava"), samples_of("llava", (1,))[0].inputs
    token = torch.tensor([[7]])

    def after(disturbed: bool) -> Tensor:
        cache = DynamicCache()
        with intervene(model, Contrast()), torch.no_grad():
            model(**inputs, **{CACHE: cache})
            if disturbed:
                with unedited():
                    model(input_ids=torch.tensor([[5, 6, 8]]), **{CACHE: cache})
                cache.crop(kept - 3)
            logits: Tensor = model(input_ids=token, **{CACHE: cache}).logits
        return logits

    if kept == 0:
        assert torch.equal(after(disturbed=True), after(disturbed=False))
    else:
        with pytest.raises(UnsupportedError, match="has not seen all tokens"):
            after(disturbed=True)


def test_a_copied_cache_is_refused_and_copies_no_model() -> None:
    model, inputs = model_of("llava"), samples_of("llava", (1,))[0].inputs
    cache = DynamicCache()
    with intervene(model, Contrast()):
        with torch.no_grad():
            model(**inputs, **{CACHE: cache})
        with pytest.raises(UnsupportedError, match="cannot be copied"):
            copy.deepcopy(cache)
    assert copy.deepcopy(cache).get_seq_length() == cache.get_seq_length()


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_the_positions_of_qwen_stay_those_of_the_first_stream(family: str, use_cache: bool) -> None:
    model, inputs = model_of(family), collate(samples_of(family))
    core: Any = model.model
    streams.decode(model, inputs, use_cache=use_cache)
    wanted = core.rope_deltas.clone()
    assert wanted.any(), "else the test shows nothing"
    with intervene(model, Contrast()):
        streams.decode(model, inputs, use_cache=use_cache)
    assert torch.equal(core.rope_deltas, wanted)


def test_two_second_streams_are_refused() -> None:
    model, inputs = model_of("llava"), collate(samples_of("llava"))
    with (
        pytest.raises(UnsupportedError, match="second stream"),
        intervene(model, Contrast(), Contrast()),
    ):
        streams.decode(model, inputs)
    with (
        pytest.raises(UnsupportedError, match="second stream"),
        intervene(model, Contrast()),
        intervene(model, Contrast()),
    ):
        streams.decode(model, inputs)
    with pytest.raises(UnsupportedError, match=r"'vcd', 'icd'.*second stream"):
        check_combination(Greedy(), [VCD(), ICD()])
    check_combination(Greedy(), [VCD(), LocoRE()])
    wanted, _ = streams.decode(model, inputs)
    with intervene(model, LocoRE(beta=0)), intervene(model, VCD(alpha=0, beta=0)):
        found, _ = streams.decode(model, inputs)
    assert torch.equal(found, wanted)


class Louder(AttentionIntervention, Contrast):
    """Edits attention as well: that is for its first stream alone."""

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return 1.5 * weights


class OnlyLouder(AttentionIntervention):
    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        return 1.5 * weights


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_others_act_in_the_second_stream_and_the_owner_does_not(family: str, nested: bool) -> None:
    model, samples = model_of(family), samples_of(family)
    locore = LocoRE(beta=0.8, window=4)
    if nested:
        with intervene(model, locore), intervene(model, Louder()):
            tokens, logits = streams.decode(model, collate(samples))
    else:
        with intervene(model, Louder(), locore):
            tokens, logits = streams.decode(model, collate(samples))
    order = [locore, OnlyLouder()] if nested else [OnlyLouder(), locore]
    for row, sample in enumerate(samples):
        for step in range(4):
            answer = tokens[row, :step].tolist()
            with intervene(model, *order, spans=spans_of(model, sample.inputs)):
                seen = streams.following(model, sample.inputs, answer)
            unseen_inputs = streams.without_images(sample.inputs)
            with intervene(model, locore, spans=spans_of(model, unseen_inputs)):
                unseen = streams.following(model, unseen_inputs, answer)
            assert streams.close(logits[row, step], combine(seen, unseen, 0)), (row, step)


def spans_of(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Any:
    return streams.prompt_of(model, inputs).spans


def test_an_answer_that_is_part_of_the_input() -> None:
    """Teacher forcing: spans say where the prompt ends, and the answer is fed to both streams."""
    model, locore = model_of("llava"), LocoRE(beta=0.8, window=4)
    samples = samples_of("llava")
    batch = collate(samples)
    answer = torch.tensor([[5, 6, 7], [8, 9, 10]])
    longer = {**batch, "input_ids": torch.cat([batch["input_ids"], answer], dim=1)}
    longer["attention_mask"] = torch.cat([batch["attention_mask"], torch.ones_like(answer)], dim=1)
    with torch.no_grad(), intervene(model, Contrast(), locore, spans=spans_of(model, batch)):
        logits = model(**longer).logits[:, -4:]
    for row, sample in enumerate(samples):
        both = []
        for inputs in (sample.inputs, streams.without_images(sample.inputs)):
            with torch.no_grad(), intervene(model, locore, spans=spans_of(model, inputs)):
                both.append(model(**reference.longer(inputs, answer[row].tolist())).logits[0, -4:])
        # padding shifts the positions of a plain pass, and cos and sin are rounded to float32
        assert streams.close(logits[row], combine(*both, 0))


@pytest.mark.parametrize("edit", [LocoRE(beta=1.0), Contrast()])
@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_in_chunks(family: str, edit: Any) -> None:
    """A chunk that holds all of the prompt is the prompt; images in later ones are refused."""
    model, sample = model_of(family), samples_of(family, (2,))[0]
    with intervene(model, edit):
        wanted, _ = streams.decode(model, sample.inputs)
        whole, _ = streams.decode(model, sample.inputs, prefill_chunk_size=200)
    assert torch.equal(whole, wanted)
    with (
        pytest.raises(UnsupportedError, match="prefill_chunk_size"),
        intervene(model, edit),
    ):
        streams.decode(model, sample.inputs, prefill_chunk_size=6)
    with intervene(model, VCD()):
        wanted, _ = streams.decode(model, sample.inputs)
        whole, _ = streams.decode(model, sample.inputs, prefill_chunk_size=200)
    assert torch.equal(whole, wanted)
