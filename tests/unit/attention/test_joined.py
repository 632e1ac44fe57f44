"""Both streams of a contrast as rows of one pass, against a pass for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache

from lvlmsal.attention import intervene, second_stream
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.joined import Joined
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.interventions.contrast import Contrast, left_padded
from lvlmsal.interventions.dola import DoLa
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.m3id import M3ID
from lvlmsal.interventions.pai import PAI
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.tiny import IMAGE, TINY, VIDEO, collate, tiny_model, tiny_samples
from lvlmsal.versions import CACHE
from tests.tiers import FAMILIES

F64 = torch.float64
NEVER = 10**9


@dataclass(frozen=True)
class Sometimes(VCD):
    """Wants its second stream at the steps of a pattern, over and over."""

    pattern: tuple[bool, ...] = (True,)

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        return self.pattern[context.first_step % len(self.pattern)]

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        return logits if context.second is None else self.combined(logits, context.second)


@contextmanager
def counted(patience: int) -> Iterator[list[int]]:
    """How many columns the joined cache had after each joined pass."""
    passes: list[int] = []
    original = Joined.passed

    def passed(self: Joined) -> None:
        original(self)
        passes.append(self.columns)

    with patch.object(second_stream, "PATIENCE", patience), patch.object(Joined, "passed", passed):
        yield passes


def decoded(
    family: str, images: tuple[int, ...], edits: list[Any], patience: int, **options: Any
) -> tuple[Tensor, Tensor, list[int]]:
    """Tokens, the logits that the last ones were chosen from, and the joined passes."""
    model: Any = tiny_model(family, layers=3, dtype=F64)
    batch = collate(tiny_samples(family, images, dtype=F64))
    logits: list[Tensor] = []
    banned = {"suppress_tokens": [2, IMAGE, VIDEO], "max_new_tokens": 14, "do_sample": False}
    with counted(patience) as passes, intervene(model, *edits):
        handle = model.register_forward_hook(lambda *call: logits.append(call[2].logits[:, -1]))
        try:
            output = model.generate(**batch, **banned, **options, return_dict_in_generate=True)
        finally:
            handle.remove()
    cached = getattr(output, CACHE)
    assert len(cached.layers[0].keys) == len(images) * options.get("num_beams", 1)
    return output.sequences, logits[-1], passes


@dataclass(frozen=True)
class Wordy(Contrast):
    """Its second prompt has three words more than the first one, behind the first token."""

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any]:
        pairs = zip(prompt.inputs["input_ids"], prompt.spans, strict=True)
        rows = [ids[spans.pad : spans.output_column] for ids, spans in pairs]
        rows = [torch.cat([row[:1], row.new_tensor([5, 6, 7]), row[1:]]) for row in rows]
        return prompt.with_text(**left_padded(rows, prompt.inputs["input_ids"]))


@pytest.mark.parametrize(
    "edit",
    [
        VCD(beta=0.0),
        M3ID(**M3ID.strong),
        PAI(alpha=1.0, gamma=2.0, beta=0.0),
        PAI(alpha=1.0, gamma=2.0, beta=0.0, layers=[1]),
        Wordy(beta=0.0),
    ],
    ids=["vcd", "m3id", "pai", "pai in one layer", "longer"],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_and_logits_are_those_of_two_passes(family: str, edit: LogitsIntervention) -> None:
    ids, logits, passes = decoded(family, (1, 2, 0), [edit], 3)
    apart, wanted, none = decoded(family, (1, 2, 0), [edit], NEVER)
    assert none == []
    # The first token is the prompt's, three have to want the second stream before it joins; where
    # a prompt without images counts its positions in another way, streams stay apart.
    assert len(passes) == 14 - 3 or (edit.name in ("m3id", "pai") and "qwen" in family)
    assert torch.equal(ids, apart)
    assert torch.allclose(logits, wanted, rtol=1e-12, atol=1e-12)


def test_edits_of_the_first_stream_stay_apart_from_a_longer_second_one() -> None:
    """Its columns would move, by which edits find their rows and keys."""

    @dataclass(frozen=True)
    class Both(PAI):
        second_inputs = Wordy.second_inputs

    edit = Both(alpha=1.0, gamma=2.0, beta=0.0)
    ids, _, passes = decoded("llava", (1, 2), [edit], 1)
    assert passes == []
    assert torch.equal(ids, decoded("llava", (1, 2), [edit], NEVER)[0])


@pytest.mark.slow
@settings(max_examples=20)
@given(
    family=st.sampled_from(sorted(TINY)),
    images=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    pattern=st.lists(st.booleans(), min_size=1, max_size=9).map(tuple),
    patience=st.integers(1, 3),
)
def test_streams_join_and_part_as_they_are_wanted(
    family: str, images: tuple[int, ...], pattern: tuple[bool, ...], patience: int
) -> None:
    edit = Sometimes(noise_step=999, pattern=pattern)
    ids, _, _ = decoded(family, images, [edit], patience)
    apart, _, _ = decoded(family, images, [edit], NEVER)
    assert torch.equal(ids, apart)


def test_beams_stay_apart_once_they_were_reordered() -> None:
    ids, _, passes = decoded("llava", (1, 2), [VCD(beta=0.0)], 1, num_beams=3)
    apart, _, _ = decoded("llava", (1, 2), [VCD(beta=0.0)], NEVER, num_beams=3)
    assert torch.equal(ids, apart)
    assert len(passes) < 14 - 1


@pytest.mark.parametrize(
    ("edits", "options"),
    [
        ([VCD(beta=0.0), LocoRE(beta=0.5)], {}),
        ([VCD(beta=0.0)], {"output_hidden_states": True}),
        ([VCD(beta=0.0)], {"cache_implementation": "static"}),
    ],
)
def test_what_runs_in_two_passes(edits: list[LogitsIntervention], options: dict[str, Any]) -> None:
    _, _, passes = decoded("llava", (1,), edits, 1, **options)
    assert passes == []


class Loop:
    """Steps by hand, as a loop of one's own makes them, under a contrast that joins at once."""

    def __init__(self, *edits: Any) -> None:
        self.model: Any = tiny_model("llava", layers=3, dtype=F64)
        self.batch = collate(tiny_samples("llava", (1,), dtype=F64))
        self.cache, self.edits = DynamicCache(), edits or (VCD(beta=0.0),)

    def given(self, number: int, **more: Any) -> dict[str, Any]:
        columns = self.batch["input_ids"].shape[1] + number
        return {
            "input_ids": torch.tensor([[7 + 9 * number]]),
            "position_ids": torch.tensor([[columns]]),
            "attention_mask": torch.ones(1, columns + 1, dtype=torch.long),
            CACHE: self.cache,
            **more,
        }

    def run(self, step: Callable[[Loop, int], Any], patience: int = 1) -> list[Any]:
        with counted(patience) as passes, torch.no_grad(), intervene(self.model, *self.edits):
            self.model(**self.batch, **{CACHE: self.cache})
            found = [step(self, number) for number in range(6)]
        assert bool(passes) == (patience == 1)
        return found


def plain(loop: Loop, number: int) -> Tensor:
    return loop.model(**loop.given(number)).logits[:, -1]


@pytest.mark.parametrize("place", ["layer", "head"])
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_pass_that_fails_leaves_both_streams_as_they_were(
    place: str, kind: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise kind("in the middle")

    def fails(loop: Loop, number: int) -> Tensor:
        if number == 3:
            layers = loop.model.model.language_model.layers
            module = layers[1] if place == "layer" else loop.model.lm_head
            handle = module.register_forward_pre_hook(fail)
            with pytest.raises(kind, match="in the middle"):
                loop.model(**loop.given(number))
            handle.remove()
        return plain(loop, number)

    for left, right in zip(Loop().run(fails), Loop().run(plain), strict=True):
        assert torch.allclose(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "more",
    [
        lambda n: {"output_hidden_states": True},
        lambda n: {"attention_mask": torch.ones(1, 1, 1, n + 1, dtype=torch.bool)},
    ],
)
def test_a_step_that_asks_for_more_runs_alone(more: Callable[[int], dict[str, Any]]) -> None:
    def step(loop: Loop, number: int) -> Tensor:
        asked = more(loop.given(number)["position_ids"].item()) if number == 4 else {}
        output = loop.model(**loop.given(number, **asked))
        if getattr(output, "hidden_states", None) is not None:
            assert output.hidden_states[0].shape[0] == 1
        return output.logits[:, -1]

    for left, right in zip(Loop().run(step), Loop().run(plain, NEVER), strict=True):
        assert torch.allclose(left, right, rtol=1e-9, atol=1e-9)


def test_rows_that_other_edits_read_are_those_of_the_first_stream() -> None:
    edits = [VCD(beta=0.0), DoLa(candidates=[0, 1])]
    ids, _, passes = decoded("llava", (1, 2), edits, 1)
    apart, _, _ = decoded("llava", (1, 2), edits, NEVER)
    assert torch.equal(ids, apart)
    assert passes == []


def test_a_step_outside_of_inference_mode_goes_on_alone() -> None:
    def step(loop: Loop, number: int) -> Tensor:
        with torch.inference_mode(number < 4):
            return plain(loop, number).clone()

    loop = Loop()
    with counted(1), intervene(loop.model, *loop.edits):
        with torch.inference_mode():
            loop.model(**loop.batch, **{CACHE: loop.cache})
        with torch.no_grad():
            found = [step(loop, number) for number in range(6)]
    for left, right in zip(found, Loop().run(plain, NEVER), strict=True):
        assert torch.allclose(left, right, rtol=1e-9, atol=1e-9)


def test_the_cache_has_memory_of_its_own_behind_the_scope() -> None:
    loop = Loop()
    loop.run(plain)
    for layer in loop.cache.layers:
        assert layer.keys.is_contiguous()
        assert layer.keys.untyped_storage().nbytes() == layer.keys.nbytes
