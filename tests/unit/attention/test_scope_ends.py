"""A scope that cannot begin or end as it should leaves the model alone, and says what failed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.attention.passes import Passes
from lvlmsal.attention.unedited import unedited
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.testing.endings import left_behind
from lvlmsal.versions import CACHE
from tests.unit.attention.hooks_by_hand import Shift, run
from tests.unit.attention.threads_by_hand import STRONG, Waits, decode, same, told_about


@pytest.mark.parametrize("fails", ["stance", "layer"])
def test_a_scope_that_does_not_begin_leaves_nothing(
    model: Any, inputs: dict[str, Tensor], fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("not now")

    plain, before = run(model, inputs), left_behind(model)
    with monkeypatch.context() as patch:
        if fails == "stance":
            patch.setattr(torch.compiler, "set_stance", failing)
        else:
            patch.setattr(adapter_for(model).layers[-1], "register_forward_hook", failing)
        scope = intervene(model, STRONG, Shift(2.0))
        with pytest.raises(RuntimeError, match="not now"), scope:
            pass
    assert left_behind(model) == before
    assert torch._dynamo.eval_frame._stance.stance == "default"
    assert not scope.is_open
    assert torch.equal(run(model, inputs), plain)
    with scope:  # it may be opened later on
        assert not torch.equal(run(model, inputs), plain)


def test_a_cache_that_comes_up_while_a_scope_ends_does_not_stop_that(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    """As a thread may bring one, which runs on."""
    plain, before = decode(model, inputs), left_behind(model)
    new = [DynamicCache() for _ in range(9)]

    class Disturbs(DynamicCache):
        def __delattr__(self, name: str) -> None:
            length = inputs["input_ids"].shape[1]
            scope.use_spans([TokenSpans(0, (), length, length)], new.pop())
            super().__delattr__(name)

    scope = intervene(model, VCD(beta=0))
    kept = [Disturbs(), DynamicCache()]

    def use() -> None:
        with scope:
            for cache in kept:
                decode(model, inputs, **{CACHE: cache})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert len(new) < 9, "else the test shows nothing"
    assert left_behind(model) == before
    assert not any("crop" in vars(cache) for cache in kept)
    assert same(decode(model, inputs), plain)


def test_a_config_that_was_replaced_is_not_in_the_way(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    plain = run(model, inputs)

    def use() -> None:
        with intervene(model, STRONG):
            model.config = copy.deepcopy(model.config)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    kinds = {module.config._attn_implementation for module in (model, model.get_decoder())}
    kinds.add(model.config.get_text_config()._attn_implementation)
    assert kinds == {"sdpa"}
    assert torch._dynamo.eval_frame._stance.stance == "default"
    assert torch.equal(run(model, inputs), plain)


@pytest.mark.parametrize("body", ["fails", "ends"])
def test_an_end_that_fails_replaces_no_error(
    model: Any, inputs: dict[str, Tensor], body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("not released")

    def use() -> None:
        with intervene(model, STRONG) as scope:
            run(model, inputs)
            monkeypatch.setattr(scope.passes, "close", failing)
            if body == "fails":
                raise ZeroDivisionError

    run(model, inputs)
    before = left_behind(model)
    monkeypatch.setattr(Passes, "close", failing)
    with pytest.raises((ZeroDivisionError, RuntimeError)) as caught:
        use()
    if body == "fails":
        assert caught.type is ZeroDivisionError
        assert "not released" in caught.value.__notes__[0]
    else:
        assert "not released" in str(caught.value)
    assert left_behind(model) == before
    assert torch._dynamo.eval_frame._stance.stance == "default"


class Looks(LogitsProcessor):
    """Runs a plain pass of its own at each token."""

    def __init__(self, model: Any, inputs: dict[str, Tensor]) -> None:
        self.model, self.inputs = model, inputs

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        with unedited():
            self.model(**self.inputs)
        return scores


def plain(model: Any, inputs: dict[str, Tensor], processors: LogitsProcessorList) -> None:
    with unedited():
        decode(model, inputs, logits_processor=processors)


def in_a_scope_of_its_own(
    model: Any, inputs: dict[str, Tensor], processors: LogitsProcessorList
) -> None:
    with intervene(model, LocoRE(beta=0.5)):
        decode(model, inputs, logits_processor=processors)


@pytest.mark.parametrize("later", [plain, in_a_scope_of_its_own])
def test_a_thread_that_is_done_with_a_scope_may_go_on(
    model: Any, inputs: dict[str, Tensor], later: Callable[..., None]
) -> None:
    waits = Waits()
    with ThreadPoolExecutor(1) as pool:
        try:
            with told_about() as told, intervene(model, STRONG):
                pool.submit(decode, model, inputs).result()
                going_on = pool.submit(later, model, inputs, LogitsProcessorList([waits]))
                assert waits.reached.wait(60)
        finally:
            waits.goes_on.set()
        going_on.result()
    assert len(told) == 1


def test_a_plain_pass_in_between_does_not_hide_that_a_thread_goes_on(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    waits = Waits()
    processors = LogitsProcessorList([Looks(model, inputs), waits])
    thread = threading.Thread(target=lambda: decode(model, inputs, logits_processor=processors))

    def use() -> None:
        with told_about(), intervene(model, STRONG):
            thread.start()
            assert waits.reached.wait(60)

    try:
        with pytest.raises(UnsupportedError, match="still generating"):
            use()
    finally:
        waits.goes_on.set()
        thread.join()


@pytest.mark.parametrize("asked", [None, "absent"])
def test_weights_that_the_config_asks_for_are_refused(
    model: Any, inputs: dict[str, Tensor], asked: str | None
) -> None:
    how: dict[str, Any] = {} if asked else {"output_attentions": None}
    model.set_attn_implementation("eager")
    model.config.output_attentions = model.config.get_text_config().output_attentions = True
    with torch.no_grad():
        assert model(**inputs).attentions[0].shape[1] > 0
        with intervene(model, STRONG):
            model(**inputs, output_attentions=False)
            with pytest.raises(UnsupportedError, match="config"):
                model(**inputs, **how)
        with intervene(model, Shift(2.0)):  # leaves attention to the model
            assert model(**inputs).attentions[0].shape[1] > 0


@pytest.mark.parametrize("edit", [None, Shift(2.0)])
def test_a_tape_holds_the_last_pass(model: Any, inputs: dict[str, Tensor], edit: Any) -> None:
    text = {"input_ids": torch.tensor([[5, 6, 7, 8]])}

    def recorded(*passes: dict[str, Tensor]) -> Tensor:
        with (
            AttentionSession(model, [edit] if edit else []) as session,
            session.record([0, 1], full=True) as recording,
        ):
            for each in passes:
                logits = model(**each).logits
            direction = torch.ones_like(logits[:, -1])
            found = recording.gradients(logits[:, -1], direction.cumsum(-1), torch.ones(1).double())
        return torch.stack([*recording.weights.values(), *found.values()])

    assert torch.equal(recorded(inputs, text), recorded(text))
    assert recorded(text)[-1].any(), "else the test shows nothing"


def test_a_tape_of_rows_names_the_cache_that_it_needs(
    model: Any, inputs: dict[str, Tensor]
) -> None:
    with (
        AttentionSession(model) as session,
        session.record([0]),
        pytest.raises(UnsupportedError, match=r"no RecordingCache.*use block_saliency"),
    ):
        model(**inputs)
