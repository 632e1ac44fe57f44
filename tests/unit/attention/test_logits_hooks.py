"""What edits of logits are promised: which rows they see, what next to them, and when."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.testing.tiny import IMAGE, VIDEO, tiny_inputs, tiny_model
from lvlmsal.versions import CACHE
from tests.tiers import FAMILIES
from tests.unit.attention.hooks_by_hand import Scale, Shift, hooks_of, recording_cache, run, text

F64 = torch.float64


class Overshoot(LogitsIntervention):
    """A contrast of the model with itself: nothing, unless a product overflows or changes sign."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        return (1 + self.factor) * logits - self.factor * logits


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_only_rows_that_predict_are_edited_and_they_come_as_they_are(
    family: str, kept: int
) -> None:
    model, inputs = tiny_model(family, dtype=F64), tiny_inputs(family, (1, 0), dtype=F64)
    plain, seen = run(model, inputs, logits_to_keep=kept), []
    with intervene(model, Scale(2.0, seen=seen)):
        found = run(model, inputs, logits_to_keep=kept)
    assert torch.equal(found[:, :-1], plain[:, :-1])
    assert torch.equal(found[:, -1], plain[:, -1] * 2)
    (logits, context), *others = seen
    assert not others
    assert torch.equal(logits, plain[:, -1:])
    assert context.first_step == 0
    assert context.steps(logits).tolist() == [[0.0]]


def test_blocks_of_generated_tokens_are_edited_row_by_row_and_know_their_step() -> None:
    model, seen = tiny_model("llava", layers=3, dtype=F64), []
    inputs, answer = text(), torch.tensor([[5, 9, 30]])
    cache = DynamicCache()
    edit = Scale(2.0, read=(0, 2), seen=seen)
    with torch.no_grad(), intervene(model, edit):
        model(**inputs, **{CACHE: cache})
        model(input_ids=answer[:, :1], **{CACHE: cache})
        found = model(input_ids=answer[:, 1:], **{CACHE: cache}).logits
    whole = torch.cat([inputs["input_ids"], answer], dim=1)
    with torch.no_grad():
        output = model(input_ids=whole, output_hidden_states=True)
    assert torch.allclose(found, output.logits[:, -2:] * 2)
    assert [context.first_step for _, context in seen] == [0, 1, 2]
    logits, context = seen[-1]
    assert context.steps(logits).tolist() == [[2.0], [3.0]]
    assert sorted(context.hidden) == [0, 2]
    for layer, states in context.hidden.items():
        assert torch.allclose(states, output.hidden_states[layer][:, -2:])


def test_exits_see_what_edits_of_the_layers_make_of_it() -> None:
    model, inputs, seen = tiny_model("llava", dtype=F64), text(), []
    with intervene(model, Shift(term=0.5, before=True), Scale(2.0, read=(0,), seen=seen)):
        run(model, inputs)
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    assert torch.equal(seen[0][1].hidden[0], embedded[:, -1:] + 0.5)


@pytest.mark.parametrize("factor", [1.0, 4.0, -0.5])
def test_what_a_model_rules_out_stays_out_and_no_edit_after_meets_what_is_no_number(
    factor: float,
) -> None:
    """Chameleon gives image tokens the lowest float, so four times that is minus infinity."""
    model, inputs = tiny_model("chameleon"), tiny_inputs("chameleon")
    plain, seen = run(model, inputs), []
    out = plain[:, -1] == torch.finfo(plain.dtype).min
    assert 0 < out.sum() < out.numel()
    with intervene(model, Overshoot(factor), Scale(0.5, seen=seen)):
        found = run(model, inputs)[:, -1]
    (between, _), *_ = seen
    assert torch.equal(between[:, -1][out], plain[:, -1][out])
    assert torch.equal(found[out], plain[:, -1][out])
    assert torch.allclose(found[~out], plain[:, -1][~out] * 0.5, atol=1e-5)


def test_a_scope_within_a_scope_knows_what_a_model_in_half_precision_rules_out() -> None:
    """The outer scope leaves float32, whose lowest number is below that of bfloat16."""
    model = tiny_model("chameleon", dtype=torch.bfloat16)
    inputs = tiny_inputs("chameleon", dtype=torch.bfloat16)
    out = run(model, inputs)[:, -1] == torch.finfo(torch.bfloat16).min
    for factor in (4.0, -1.5):
        with intervene(model, Overshoot(factor)), intervene(model, Overshoot(factor)):
            found = run(model, inputs)[:, -1]
        assert (found[out] == torch.finfo(torch.bfloat16).min).all()
        assert found[~out].abs().max() < 1e3


class Only(LogitsIntervention):
    """Leaves one token of all."""

    def __init__(self, token: int) -> None:
        self.token = token

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        found = torch.full_like(logits, -torch.inf)
        found[..., self.token] = 1.0
        return found


def test_what_an_edit_before_has_cut_may_be_raised_again() -> None:
    model, inputs = tiny_model("llava"), text()
    with intervene(model, Only(5), Only(7)):
        found = run(model, inputs)[:, -1]
    assert found.isfinite().nonzero().tolist() == [[0, 7]]


@pytest.mark.parametrize("layer", [2, -1])
def test_an_exit_that_the_model_lacks_is_named_and_nothing_is_left(layer: int) -> None:
    model = tiny_model("llava")
    before = hooks_of(model)
    with pytest.raises(ValueError, match=rf"exits \[{layer}\] are outside a model of 2 layers"):
        intervene(model, Scale(2.0, read=(0, layer)))
    assert hooks_of(model) == before


@pytest.mark.parametrize("options", [{"return_dict": False}, {"logits_to_keep": torch.tensor([1])}])
def test_logits_whose_rows_cannot_be_told_are_refused(options: dict[str, Any]) -> None:
    model = tiny_model("llava")
    refused = pytest.raises(UnsupportedError, match="logits_to_keep")
    with torch.no_grad(), intervene(model, Scale(2.0)), refused:
        model(**text(), **options)
    with torch.no_grad(), intervene(model, Shift(2.0)):
        assert len(model(**text(), **options)[0]) == 1


def test_answers_that_begin_in_different_columns_are_refused() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava", (0, 0))
    length = inputs["input_ids"].shape[1]
    spans = [TokenSpans(0, (), length - 1, length), TokenSpans(0, (), length - 2, length)]
    with (
        intervene(model, Scale(2.0), spans=spans),
        pytest.raises(UnsupportedError, match="end in the same column"),
    ):
        run(model, inputs)


def test_a_recorded_pass_keeps_its_raw_logits_and_notes_what_is_chosen_from() -> None:
    model, inputs, seen = tiny_model("llava", dtype=F64), text(), []
    plain = run(model, inputs)
    with (
        intervene(model, Scale(2.0, read=(0, 1), seen=seen)),
        intervene(model, Scale(term=1.0)),
        AttentionSession(model) as session,
        session.record([0]) as recording,
    ):
        logits = model(**inputs, **{CACHE: recording_cache(recording)}).logits
        assert torch.equal(logits, plain)
        assert logits.requires_grad
        chosen = recording.chosen_from(logits)
    assert torch.equal(chosen[:, -1], plain[:, -1] * 2 + 1)
    assert torch.equal(chosen[:, :-1], plain[:, :-1])
    assert not chosen.requires_grad


def test_what_an_edit_computes_from_exits_has_no_graph_in_a_recorded_pass() -> None:
    class Exits(Scale):
        def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
            head: Any = context.adapter.lm_head
            return logits - head(context.hidden[1])

    model, inputs = tiny_model("llava", dtype=F64), text()
    with (
        intervene(model, Exits(2.0, read=(1,))),
        AttentionSession(model) as session,
        session.record([0]) as recording,
    ):
        model(**inputs, **{CACHE: recording_cache(recording)})
    assert recording.edited_logits is not None
    assert not recording.edited_logits.requires_grad


def test_a_full_graph_is_recorded_without_edits_of_logits() -> None:
    model, inputs = tiny_model("llava", dtype=F64), text()
    with intervene(model, Scale(2.0)), AttentionSession(model) as session:
        with session.record([0, 1], full=True) as recording:
            logits = model(**inputs).logits
        assert recording.edited_logits is None
        assert torch.equal(logits, run(model, inputs) / torch.tensor([1.0] * 12 + [2.0])[:, None])


@pytest.mark.parametrize("row", ["predicting", "candidate"])
@pytest.mark.parametrize("block", [1, 4])
def test_sgrs_chooses_from_edited_logits_and_judges_by_raw_ones(row: Any, block: int) -> None:
    """A constant for one token makes it the only candidate; its saliency stays the plain one."""
    model = tiny_model("llava", dtype=F64)
    inputs = tiny_inputs("llava", (1,), dtype=F64)
    decoder = SGRS(k=1, alpha=0.0, temperature=0.0, row=row, block_size=block)
    chosen = 41

    class Only(Scale):
        def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
            edited = logits - 1000
            edited[..., chosen] = 0.0
            return edited

    class Forced:
        """A processor that does the same: it shapes the candidates and nothing else."""

        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            forced = scores - 1000
            forced[:, chosen] = 0.0
            return forced

    search: dict[str, Any] = {"max_new_tokens": 4, "return_dict_in_generate": True}
    with intervene(model, Only(2.0)):
        found = model.generate(**inputs, **search, **decoder.generate_kwargs())
    wanted = model.generate(
        **inputs, **search, **decoder.generate_kwargs(), logits_processor=[Forced()]
    )
    assert found.sequences[0, -4:].tolist() == [chosen] * 4
    for left, right in zip(found.records[0], wanted.records[0], strict=True):
        assert left.id == right.id
        assert (left.saliency is None) == (right.saliency is None)
        if left.saliency is not None:
            assert left.saliency == pytest.approx(right.saliency, rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_decode_without_cache_knows_the_steps_of_one_with(family: str) -> None:
    class Steps(Scale):
        def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
            return logits * (1 + context.steps(logits))

    model, inputs = tiny_model(family, dtype=F64), tiny_inputs(family, (1, 0), dtype=F64)
    logits = []
    for use_cache in (True, False):
        with intervene(model, Steps(2.0)):
            output = model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=4,
                use_cache=use_cache,
                suppress_tokens=[2, IMAGE, VIDEO],
                output_logits=True,
                return_dict_in_generate=True,
            )
        logits.append(torch.stack(output.logits))
    assert torch.allclose(*logits, rtol=1e-4, atol=1e-4)
