"""DeCo against loops over a plain model's hidden states, and a row worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lvlmsal.adapters import adapter_for
from lvlmsal.attention import intervene
from lvlmsal.attention.context import LogitsContext
from lvlmsal.errors import ConfigError
from lvlmsal.interventions.deco import DeCo
from lvlmsal.registry import INTERVENTIONS
from lvlmsal.testing.tiny import collate, tiny_model, tiny_samples
from tests import reference
from tests import second_streams as streams

F64 = torch.float64


def corrected(deco: DeCo, logits: list[float], early: Sequence[list[float]]) -> list[float]:
    """One row of a model whose layers hold logits already."""
    adapter: Any = SimpleNamespace(
        num_layers=len(early),
        decoder=SimpleNamespace(norm=nn.Identity()),
        lm_head=nn.Identity(),
        text_config=SimpleNamespace(),
    )
    hidden = {layer: torch.tensor(row)[None, None] for layer, row in enumerate(early)}
    context = LogitsContext(adapter, (), 0, None, hidden)
    return deco.logits(torch.tensor(logits)[None, None], context)[0, 0].tolist()


def test_a_row_by_hand() -> None:
    # p = (.512, .419, .069): the first two have .931. The layer says (.045, .909, .045) of them.
    found = corrected(DeCo(layers=None), [2.0, 1.8, 0.0], [[0.0, 3.0, 0.0]])
    assert found == pytest.approx([2.0, 3.437, -math.inf], abs=1e-3)


def test_the_layer_is_that_which_is_surest_of_a_candidate() -> None:
    # The second layer is surer of something, but of the token that is none; (.09, .24, .67).
    layers = [[0.0, 1.0, 0.0], [0.0, 0.0, 9.0], [0.0, 2.0, 0.0]]
    found = corrected(DeCo(layers=None), [2.0, 1.8, 0.0], layers)
    sure = math.exp(2) / (math.exp(2) + 2)
    assert found == pytest.approx([2.0, 1.8 + 0.6 * sure * 2, -math.inf], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_p": 0.5}, 1),  # .512 is enough
        ({"top_p": 0.52}, 2),
        ({"top_p": 1.0}, 3),
        ({"top_p": 1.0, "top_k": 2}, 2),
        ({"top_p": 0.95, "top_k": 0}, 3),
    ],
)
def test_the_candidates(options: dict[str, Any], kept: int) -> None:
    logits = torch.tensor([2.0, 1.8, 0.0])
    assert replace(DeCo(), **options).candidates(logits).sum() == kept
    banned = torch.tensor([-math.inf, 2.0, -math.inf])
    assert replace(DeCo(), **options).candidates(banned).tolist() == [False, True, False]


def by_hand(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    answer: Sequence[int],
    deco: DeCo,
    layers: Sequence[int],
) -> Tensor:
    """What each token of an answer to an unpadded prompt is chosen from, (T, V)."""
    adapter, rows = adapter_for(model), []
    norm = adapter.decoder.get_submodule("norm")
    for step in range(len(answer)):
        longer = reference.longer(dict(inputs), list(answer[:step]))
        with torch.no_grad():
            out = model(**longer, output_hidden_states=True)
            early = [adapter.lm_head(norm(out.hidden_states[m][0, -1])) for m in layers]
        logits = out.logits[0, -1].tolist()
        shares = out.logits[0, -1].softmax(0).tolist()
        kept: list[int] = []
        for token in sorted(range(len(shares)), key=lambda token: -shares[token])[: deco.top_k]:
            if sum(shares[known] for known in kept) >= deco.top_p:
                break
            kept.append(token)
        sure, row = max(
            ((float(row.softmax(0)[token]), row) for row in early for token in kept),
            key=lambda pair: pair[0],
        )
        edited = [-math.inf] * len(logits)
        for token in kept:
            edited[token] = logits[token] + deco.alpha * sure * float(row[token])
        rows.append(edited)
    return torch.tensor(rows, dtype=F64)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
@pytest.mark.parametrize(("spec", "layers"), [("0.625:0.91", [2, 3]), ([1], [1])])
def test_every_step_against_loops(family: str, spec: Any, layers: list[int]) -> None:
    model = tiny_model(family, layers=4, dtype=F64)
    samples = tiny_samples(family, (1, 0), dtype=F64)
    deco = DeCo(alpha=2.0, top_p=0.95, top_k=6, layers=spec)
    with intervene(model, deco):
        tokens, logits = streams.decode(model, collate(samples))
    for sample, answer, found in zip(samples, tokens.tolist(), logits, strict=True):
        wanted = by_hand(model, sample.inputs, answer, deco, layers)
        assert streams.close(found, wanted)
        assert int(wanted.isfinite().sum(-1).max()) > 1


def test_the_layers_of_the_paper_and_of_shallow_models() -> None:
    assert list(DeCo().exits(32)) == list(range(20, 29))
    assert [list(DeCo().exits(depth)) for depth in (2, 4, 8)] == [[1], [2, 3], [5, 6]]
    assert DeCo(alpha=0.0).exits(32) == ()
    with pytest.raises(ConfigError, match="'deco': layers='20:29' reaches beyond a model of 4"):
        DeCo(layers="20:29").bind(4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": -1.0}, "alpha must be at least 0 (no correction), got -1.0"),
        ({"top_p": 0.0}, "top_p must be above 0, up to 1 (no cut), got 0.0"),
        ({"top_k": -1}, "top_k must be at least 1, or 0 for no limit, got -1"),
    ],
)
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    assert INTERVENTIONS.problems("deco", options) == [f"intervention 'deco': {said}"]
