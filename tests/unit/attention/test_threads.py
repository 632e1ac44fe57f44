"""A scope acts in threads that know of no other one, and says so; else there is one clear error."""

from __future__ import annotations

import contextvars
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TextIteratorStreamer

from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.attention.unedited import unedited
from lvlmsal.decoders.sgrs import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model, tiny_samples

STRONG = LocoRE(beta=2.0)
STEPS = 4


@pytest.fixture
def model() -> Any:
    return tiny_model("llava", dtype=torch.float64)


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    return tiny_samples("llava", (1,), dtype=torch.float64)[0].inputs


def decode(model: Any, inputs: dict[str, Tensor], **options: Any) -> list[Tensor]:
    """What each token was chosen from."""
    how: dict[str, Any] = {"do_sample": False, "max_new_tokens": STEPS, "suppress_tokens": [2]}
    how |= {"output_logits": True, "return_dict_in_generate": True, **options}
    return list(model.generate(**inputs, **how).logits)


def same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return len(found) == len(wanted) and all(map(torch.equal, found, wanted))


@contextmanager
def told_about() -> Iterator[list[str]]:
    """The warnings about threads that know of no scope, once the block is over."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
    told += [str(each.message) for each in caught if "knows of no scope" in str(each.message)]


def in_thread(run: Callable[[], Any]) -> Any:
    """What another thread returns; its error is raised here."""
    found: dict[str, Any] = {}

    def target() -> None:
        try:
            found["value"] = run()
        except Exception as error:
            found["error"] = error

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if "error" in found:
        raise found["error"]
    return found["value"]


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


def test_sgrs_in_a_thread_is_under_the_scope(model: Any, inputs: dict[str, Tensor]) -> None:
    def run() -> Tensor:
        how: dict[str, Any] = {"max_new_tokens": STEPS, "suppress_tokens": [2]}
        found: Tensor = model.generate(**inputs, **how, custom_generate=SGRS(temperature=0.0))
        return found

    plain = run()
    with told_about() as told, intervene(model, LocoRE(beta=9.0)):
        here = run()
        assert torch.equal(in_thread(run), here)
        assert torch.equal(in_thread(run), here)  # joined anew each time
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


def test_a_thread_in_the_midst_of_the_openers_pass_is_refused(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    refused: list[str] = []

    def meanwhile(*_: object) -> None:
        try:
            in_thread(lambda: decode(model, inputs))
        except UnsupportedError as error:
            refused.append(str(error))

    handle = model.lm_head.register_forward_hook(meanwhile)
    try:
        with intervene(model, STRONG), torch.no_grad():
            model(**inputs)
    finally:
        handle.remove()
    assert len(refused) == 1
    assert "copy_context" in refused[0]
    assert "unedited()" in refused[0]


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


class Waits(LogitsProcessor):
    def __init__(self) -> None:
        self.reached, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.reached.set()
        self.goes_on.wait(60)
        return scores


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
