"""AD-HH against hand-worked rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext
from lvlmsal.interventions.ad_hh import AdHH
from lvlmsal.testing.tiny import tiny_model

pytestmark = pytest.mark.slow

MODEL = "LlavaForConditionalGeneration 2x4"


def edited(weights: Tensor, context: AttentionContext, threshold: float = 0.4) -> Tensor:
    edit = AdHH(threshold=threshold, model=MODEL, listed=[[0, 1]]).bind(2)
    edit.meet(adapter_for(tiny_model("llava")))
    return edit.weights(weights, context)


# A word, two visual tokens, and two words, the last of which predicts; the same behind one column
# of padding; and the same columns without an image.
SPANS = [
    TokenSpans(pad=0, images=((1, 3),), output_start=5, length=5),
    TokenSpans(pad=1, images=((0, 2),), output_start=4, length=4),
    TokenSpans(pad=0, images=(), output_start=5, length=5),
]
COLUMNS = torch.arange(5)
WHOLE = AttentionContext(SPANS, COLUMNS, COLUMNS, 0, 2, first_query_column=0)
LEANING = torch.tensor([0.2, 0.2, 0.15, 0.3, 0.15])  # 0.45 on the text
SEEING = torch.tensor([0.2, 0.2, 0.21, 0.3, 0.09])  # 0.39


def test_a_head_that_leans_on_the_text_is_cut_off() -> None:
    weights = LEANING.expand(3, 4, 5, 5)
    found = edited(weights, WHOLE)
    cut = torch.tensor([0.2, 0.2, 0.15, 0.0, 0.0])
    for sample in (0, 1):
        torch.testing.assert_close(found[sample, 1, 4], cut)
        torch.testing.assert_close(found[sample, 1, 4].sum(), torch.tensor(0.55))
    changed = (found != weights).nonzero()[:, :3].unique(dim=0).tolist()
    # no other head, no row that predicts nothing, and no sample without an image
    assert changed == [[0, 1, 4], [1, 1, 4]]


def test_below_the_threshold_it_is_left_alone() -> None:
    weights = SEEING.expand(3, 4, 5, 5)
    assert torch.equal(edited(weights, WHOLE), weights)
    assert not torch.equal(edited(weights, WHOLE, threshold=0.38), weights)


def test_the_gate_is_each_row_s_own() -> None:
    """Two rows of generated tokens in one pass, of which one leans on the text."""
    context = AttentionContext(SPANS[:1], torch.tensor([5, 6]), torch.arange(7), 0, 2, 5)
    rows = torch.stack(
        [
            torch.tensor([0.2, 0.2, 0.2, 0.1, 0.1, 0.2, 0.0]),
            torch.tensor([0.3, 0.2, 0.2, 0.1, 0.1, 0.0, 0.1]),
        ]
    )
    found = edited(rows.expand(1, 4, 2, 7), context)[0, 1]
    assert found.tolist()[0][3:] == [0.0] * 4
    assert torch.equal(found[1], rows[1])


def test_a_threshold_of_nothing_needs_a_text() -> None:
    weights = LEANING.expand(3, 4, 5, 5)
    found = edited(weights, WHOLE, threshold=0.0)
    assert torch.equal(found[2], weights[2])
    assert float(found[0, 1, 4, 3:].sum()) == 0.0


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"threshold must be from 0 to 1, or None .*, got 1.5"):
        AdHH(threshold=1.5)
    assert AdHH(threshold=None).is_identity
