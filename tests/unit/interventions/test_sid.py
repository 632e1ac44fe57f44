"""SID against two plain loops: a full run, and one whose attention is written out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext, intervene
from lvlmsal.errors import ConfigError
from lvlmsal.interventions.sid import SID, LeastOfImage
from lvlmsal.testing.tiny import IMAGE, collate, tiny_model, tiny_samples
from tests import reference
from tests import second_streams as streams
from tests.tiers import FAMILIES
from tests.unit.interventions import by_hand
from tests.unit.interventions.siblings import check_contrast_of_two_runs

pytestmark = pytest.mark.slow

F64 = torch.float64


def context_of(spans: TokenSpans, layer: int, rows: Any, carried: Any) -> AttentionContext:
    keys = torch.arange(spans.length)
    first = int(rows[0])
    return AttentionContext(
        [spans], torch.as_tensor(rows), keys, layer, 2, first_query_column=first, carried=carried
    )


def test_the_two_least_attended_columns_stay() -> None:
    """Columns 1 to 4 are the image: shares .05 .02 .30 .01 of the last row's mean over heads."""
    spans = TokenSpans(pad=0, images=((1, 5),), output_start=6, length=6)
    edit, carried = LeastOfImage(kept=2, layer=1), {}
    row = torch.tensor([0.42, 0.05, 0.02, 0.30, 0.01, 0.20])
    other = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.5, 0.1])
    weights = torch.stack([other.expand(5, -1), other.expand(5, -1)])
    last = torch.stack([row + 0.01, row - 0.01])  # two heads, of which neither is the mean
    weights = torch.cat([weights, last[:, None]], dim=1)[None]
    chooses = context_of(spans, 0, range(6), carried)
    assert edit.weights(weights, chooses) is weights
    hidden = edit.scores(torch.zeros(1, 2, 6, 6), context_of(spans, 1, range(6), carried)) < -1
    assert hidden[0, 0].tolist() == 6 * [[False, True, False, True, False, False]]
    assert torch.equal(hidden[:, 0], hidden[:, 1])


def test_of_equals_the_first_stay() -> None:
    """As of keys that a window hides: which they are must not go by how many columns there are."""
    spans = TokenSpans(pad=0, images=((1, 400),), output_start=402, length=402)
    edit, carried = LeastOfImage(kept=3, layer=1), {}
    edit.weights(torch.zeros(1, 2, 1, 402), context_of(spans, 0, [401], carried))
    hidden = edit.scores(torch.zeros(1, 2, 1, 402), context_of(spans, 1, [401], carried)) < -1
    assert (~hidden[0, 0, 0]).nonzero().flatten().tolist() == [0, 1, 2, 3, 400, 401]


def test_the_contrast_turns_the_choice() -> None:
    found = SID(alpha=0.5).combined(torch.tensor([2.0, 1.5]), torch.tensor([3.0, 0.0]))
    assert found.tolist() == [1.5, 2.25]


def amateur(model: PreTrainedModel, inputs: Any, answer: list[int], edit: SID) -> Tensor:
    """Logits (V,) behind an answer, by one run of everything under the rule."""
    longer = reference.longer(inputs, answer)
    ids = inputs["input_ids"][0]
    image = [i for i, token in enumerate(ids.tolist()) if token == IMAGE]
    last = len(ids) - 1
    seen: dict[int, list[int]] = {}

    def rule(scores: Tensor, visible: Tensor, layer: int) -> Tensor:
        scores = scores.masked_fill(~visible, -torch.inf)
        if layer >= edit.layer:
            scores = scores.clone()
            for row in range(scores.shape[2]):
                hidden = set(image) - set(seen[max(row, last)])
                for column in hidden:
                    scores[:, :, row, column] = -torch.inf
        weights = scores.softmax(-1).nan_to_num(0.0)
        if layer == edit.layer - 1:
            for row in range(last, scores.shape[2]):
                shares = weights[0, :, row].mean(0)
                seen[row] = sorted(image, key=lambda column: float(shares[column]))[: edit.kept]
        return weights

    with by_hand.attention_by_hand(model, rule), torch.no_grad():
        logits: Tensor = model(**longer).logits
    return logits[0, -1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_every_step_is_the_contrast_of_two_runs(family: str, use_cache: bool) -> None:
    edit = SID(alpha=1.5, beta=0.0, kept=3, layer=2)
    check_contrast_of_two_runs(family, edit, amateur, use_cache=use_cache)


def test_tokens_that_have_waited_are_chosen_for_one_by_one() -> None:
    """A cut that often leaves one token lets the second stream wait."""
    edit = SID(alpha=1.0, beta=0.3, kept=3, layer=1)
    model = tiny_model("llava", layers=3, dtype=F64)
    head: Any = model.get_output_embeddings()
    with torch.no_grad():
        head.weight *= 6
    sample = tiny_samples("llava", (1,), dtype=F64)[0]
    passes: list[object] = []
    counter = model.register_forward_hook(lambda *_: passes.append(None))
    with intervene(model, edit):
        tokens, logits = streams.decode(model, sample.inputs, steps=10)
    counter.remove()
    assert 10 < len(passes) < 20, "it always waits, or never does"
    for step in range(10):
        answer = tokens[0, :step].tolist()
        seen = streams.following(model, sample.inputs, answer)
        contrast = 2 * seen - amateur(model, sample.inputs, answer, edit)
        kept = seen.softmax(-1) >= 0.3 * seen.softmax(-1).max()
        if kept.sum() > 1:
            assert streams.close(logits[0, step], torch.where(kept, contrast, -torch.inf)), step
        else:
            assert bool(kept[tokens[0, step]])


def test_all_tokens_kept_is_the_plain_model() -> None:
    model, batch = tiny_model("llava", dtype=F64), collate(tiny_samples("llava", (1, 2), dtype=F64))
    plain = streams.decode(model, batch)
    with intervene(model, SID(beta=0.0, kept=10_000, layer=1)):
        found = streams.decode(model, batch)
    assert torch.equal(found[0], plain[0])
    assert streams.close(found[1], plain[1])


def test_options_that_mean_nothing() -> None:
    with pytest.raises(ValueError, match="kept must be at least 1, got 0"):
        SID(kept=0)
    with pytest.raises(ValueError, match="layer must be at least 1"):
        SID(layer=0)
    model, batch = tiny_model("llava", layers=2), collate(tiny_samples("llava", (1,)))
    with (
        pytest.raises(ConfigError, match="layer 2 is outside a model of 2 layers"),
        intervene(model, SID(layer=2)),
    ):
        streams.decode(model, batch)
