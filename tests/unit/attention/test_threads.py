"""A scope acts in threads that know of no other one, and says so; else there is one clear error."""

from __future__ import annotations

import contextvars
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TextIteratorStreamer

import lvlmsal
from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.attention.unedited import unedited
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.endings import left_behind
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model, tiny_samples
from tests.unit.attention.threads_by_hand import (
    STEPS,
    STRONG,
    Waits,
    decode,
    in_thread,
    same,
    told_about,
)

pytestmark = pytest.mark.slow


def in_pool(run: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        return pool.submit(run).result()


@pytest.mark.parametrize("elsewhere", [in_thread, in_pool])
@pytest.mark.parametrize("edit", [STRONG, VCD(beta=0)])
def test_a_scope_acts_in_threads_and_pools_and_says_so_once(
    model: Any, inputs: dict[str, Tensor], edit: Any, elsewhere: Callable[..., Any]
) -> None:
    plain = decode(model, inputs)
    with told_about() as told, intervene(model, edit):
        here = decode(model, inputs)
        found = [elsewhere(lambda: decode(model, inputs)) for _ in range(2)]
    assert len(told) == 1
    assert not same(here, plain)
    assert same(found[0], here)
    assert same(found[1], here)
    assert same(elsewhere(lambda: decode(model, inputs)), plain)


def test_a_streamer_is_told_what_the_scope_makes_of_it(inputs: dict[str, Tensor]) -> None:
    model, processor = tiny_lvlm("llava", dtype=torch.float64)
    how: dict[str, Any] = {**inputs, "do_sample": False, "max_new_tokens": STEPS}
    with told_about() as warned, intervene(model, STRONG):
        ids: Any = model.generate(**how)
        streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=60)
        thread = threading.Thread(target=lambda: model.generate(**how, streamer=streamer))
        thread.start()
        told = "".join(streamer)
        thread.join()
    assert len(warned) == 1
    assert told == processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :])


def test_a_scope_that_is_handed_over_needs_no_warning(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with intervene(model, STRONG):
            here = decode(model, inputs)
            context = contextvars.copy_context()
            found = in_thread(lambda: context.run(decode, model, inputs))
    assert same(found, here)


def test_a_thread_can_stay_plain(model: Any, inputs: dict[str, Tensor]) -> None:
    plain = decode(model, inputs)

    def run() -> list[Tensor]:
        with unedited():
            return decode(model, inputs)

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with intervene(model, STRONG):
            decode(model, inputs)
            assert same(in_thread(run), plain)


def test_a_thread_with_a_scope_of_its_own_is_in_no_other(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    own = LocoRE(beta=0.5, window=2)

    def run() -> list[Tensor]:
        with intervene(model, own):
            return decode(model, inputs)

    alone = run()
    with intervene(model, STRONG):
        before = decode(model, inputs)
        assert same(in_thread(run), alone)
        assert same(decode(model, inputs), before)


def test_what_the_library_opens_for_itself_stays_in_its_thread(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    plain = decode(model, inputs)
    with AttentionSession(model, [STRONG]):
        decode(model, inputs)
        assert same(in_thread(lambda: decode(model, inputs)), plain)


def sgrs(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    how: dict[str, Any] = {"max_new_tokens": STEPS, "suppress_tokens": [2]}
    found: Tensor = model.generate(**inputs, **how, custom_generate=SGRS(temperature=0.0))
    return found


def test_an_answer_counts_the_passes_of_its_own_thread(inputs: dict[str, Tensor]) -> None:
    model, processor = tiny_lvlm("llava", dtype=torch.float64)
    lvlm, opener = lvlmsal.load((model, processor)), threading.get_ident()

    def forwards() -> int | None:
        return lvlm.generate(None, "Is it so?", max_new_tokens=3).forwards

    def meanwhile(*_: object) -> None:
        if threading.get_ident() == opener:
            in_thread(lambda: model(**inputs))

    alone = forwards()
    handle = model.register_forward_hook(meanwhile)
    try:
        assert forwards() == alone
    finally:
        handle.remove()


def test_sgrs_in_a_thread_is_under_the_scope(model: Any, inputs: dict[str, Tensor]) -> None:
    def run() -> Tensor:
        return sgrs(model, inputs)

    plain = run()
    with told_about() as told, intervene(model, LocoRE(beta=9.0)):
        here = run()
        assert torch.equal(in_thread(run), here)
        assert torch.equal(in_thread(run), here)  # joined again each time
    assert len(told) == 1
    assert not torch.equal(plain, here), "else the test shows nothing"


class Meet(LogitsProcessor):
    """Lets two threads take turns, token by token."""

    def __init__(self, barrier: threading.Barrier) -> None:
        self.barrier = barrier

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.barrier.wait()
        return scores


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("edit", [STRONG, LocoRE(beta=2.0, context="output"), VCD(beta=0)])
def test_two_threads_at_a_time_keep_their_own_place(model: Any, edit: Any, use_cache: bool) -> None:
    prompts = [sample.inputs for sample in tiny_samples("llava", (1, 2), dtype=torch.float64)]
    with intervene(model, edit):
        wanted = [decode(model, inputs, use_cache=use_cache) for inputs in prompts]
    barrier = threading.Barrier(2, timeout=60)
    meet = LogitsProcessorList([Meet(barrier)])
    with (
        told_about() as told,
        intervene(model, edit),
        ThreadPoolExecutor(2) as pool,
    ):
        runs = [
            pool.submit(decode, model, inputs, use_cache=use_cache, logits_processor=meet)
            for inputs in prompts
        ]
        found = [run.result() for run in runs]
    assert len(told) == 1
    assert same(found[0], wanted[0])
    assert same(found[1], wanted[1])


@pytest.mark.parametrize("run", [decode, sgrs])
def test_a_thread_in_the_midst_of_the_openers_pass_is_refused(
    model: Any, inputs: dict[str, Tensor], run: Callable[..., Any]
) -> None:
    refused: list[str] = []

    def meanwhile(*_: object) -> None:
        try:
            in_thread(lambda: run(model, inputs))
        except UnsupportedError as error:
            refused.append(str(error))

    run(model, inputs)  # transformers leaves hooks of its own at its first pass
    handle = model.lm_head.register_forward_hook(meanwhile)
    before = left_behind(model)
    try:
        with intervene(model, STRONG), torch.no_grad():
            model(**inputs)
        assert left_behind(model) == before
        assert torch._dynamo.eval_frame._stance.stance == "default"
    finally:
        handle.remove()
    assert len(refused) == 1
    assert "copy_context" in refused[0]
    assert "unedited()" in refused[0]


def test_a_model_is_not_minded_by_scopes_on_another(model: Any, inputs: dict[str, Tensor]) -> None:
    other = tiny_model("qwen2_vl", dtype=torch.float64)
    of_other = tiny_samples("qwen2_vl", (1,), dtype=torch.float64)[0].inputs
    plain, found = sgrs(other, of_other), []
    scope = intervene(model, STRONG)

    def meanwhile(*_: object) -> None:
        found.append(in_thread(lambda: sgrs(other, of_other)))

    handle = model.lm_head.register_forward_hook(meanwhile)
    try:
        with told_about() as told, scope, torch.no_grad():
            model(**inputs)
            assert not scope.told
    finally:
        handle.remove()
    assert not told
    assert torch.equal(found[0], plain)


def test_a_scope_acts_in_a_thread_that_has_one_on_another_model(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    other = tiny_model("qwen2_vl", dtype=torch.float64)
    of_other = tiny_samples("qwen2_vl", (1,), dtype=torch.float64)[0].inputs

    def run() -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        with intervene(other, STRONG):
            edited, meanwhile = decode(other, of_other), decode(model, inputs)
            with unedited():
                return edited, meanwhile, decode(model, inputs)

    plain = decode(model, inputs)
    with intervene(other, STRONG):
        wanted = decode(other, of_other)
    with told_about() as told, intervene(model, STRONG):
        here = decode(model, inputs)
        edited, meanwhile, kept_plain = in_thread(run)
    assert len(told) == 1
    assert same(edited, wanted)
    assert same(meanwhile, here)
    assert same(kept_plain, plain)


def test_scopes_of_two_threads_leave_a_third_one_without_an_answer(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    def other() -> None:
        with intervene(model, LocoRE(beta=0.5)):
            decode(model, inputs)
            with pytest.raises(UnsupportedError, match="scopes of 2 threads"):
                in_thread(lambda: decode(model, inputs))

    with intervene(model, STRONG):
        decode(model, inputs)
        in_thread(other)


def test_a_scope_that_ends_before_a_threads_answer_says_so(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    waits = Waits()
    thread = threading.Thread(
        target=lambda: decode(model, inputs, logits_processor=LogitsProcessorList([waits]))
    )

    def run() -> None:
        with told_about(), intervene(model, STRONG):
            thread.start()
            waits.reached.wait(60)

    with pytest.raises(UnsupportedError, match=r"still generating.*thread\.join"):
        run()
    waits.goes_on.set()
    thread.join()
