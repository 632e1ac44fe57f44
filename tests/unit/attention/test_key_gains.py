"""Values of a cache that are scaled while a pass of one row runs.

That the answers are right is held against a brute-force model in test_locore.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import intervene
from lvlmsal.attention.cache import GrowingLayer
from lvlmsal.attention.key_gains import scale_values
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vaf import VAF
from lvlmsal.testing.tiny import tiny_inputs, tiny_model
from lvlmsal.versions import CACHE

ONE = torch.zeros(2, 1, dtype=torch.long)


def filled(columns: int, kind: type[DynamicLayer]) -> DynamicCache:
    """Two layers of two samples."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = kind
    for index in range(2):
        keys, values = torch.randn(2, 2, 3, columns, 4)
        cache.update(keys, values, index)
    return cache


def spans_of(pads: Sequence[int]) -> list[TokenSpans]:
    """An image of three tokens behind two others, in a prompt of eight tokens."""
    return [TokenSpans(pad, ((2, 5),), output_start=8, length=8) for pad in pads]


@settings(deadline=None)
@given(
    columns=st.integers(12, 40),
    beta=st.sampled_from([-1.0, -0.3, 0.15, 2.0]),
    window=st.integers(1, 50),
    pads=st.sampled_from([(0, 0), (0, 3), (4, 1)]),
    context=st.sampled_from(["after_image", "output"]),
    rows=st.sampled_from(["all", "predicting"]),
    kind=st.sampled_from([DynamicLayer, GrowingLayer]),
    grows=st.booleans(),
)
def test_the_window_of_each_sample_is_scaled_and_put_back_to_the_bit(
    columns: int,
    beta: float,
    window: int,
    pads: tuple[int, int],
    context: Any,
    rows: Any,
    kind: type[DynamicLayer],
    grows: bool,
) -> None:
    locore = LocoRE(beta=beta, window=window, context=context, rows=rows)
    cache = filled(columns, kind)
    before = [layer.values.clone() for layer in cache.layers]
    with torch.no_grad():
        scaled = scale_values(locore, cache, ONE, spans_of(pads), 2)
    assert scaled is not None
    for layer, was in zip(cache.layers, before, strict=True):
        for sample, pad in enumerate(pads):
            first = pad + (8 if context == "output" else 5)
            for column in range(columns):
                spared = rows == "predicting" and columns < pad + 7
                inside = max(first, columns - window) <= column and not spared
                wanted = was[sample, :, column] * (1 + beta if inside else 1)
                assert torch.allclose(layer.values[sample, :, column], wanted), (sample, column)
    if grows:
        for index in range(2):
            cache.update(*torch.randn(2, 2, 3, 1, 4), index)
    scaled.restore()
    for layer, was in zip(cache.layers, before, strict=True):
        assert torch.equal(layer.values[:, :, :columns], was)


def test_what_is_not_for_scaled_values() -> None:
    def scales(
        cache: DynamicCache,
        locore: LocoRE,
        ids: Tensor = ONE,
        spans: int = 2,
        gradients: bool = False,
    ) -> bool:
        with torch.set_grad_enabled(gradients):
            return scale_values(locore, cache, ids, spans_of([0] * spans), 2) is not None

    plain = LocoRE()
    assert scales(filled(12, DynamicLayer), plain)
    assert not scales(filled(12, DynamicLayer), LocoRE(mode="renormalized"))
    assert not scales(filled(12, DynamicLayer), LocoRE(heads=[0]))
    assert not scales(filled(12, DynamicLayer), plain, ids=torch.zeros(2, 3, dtype=torch.long))
    assert not scales(filled(12, DynamicLayer), plain, spans=4)
    shared = filled(12, DynamicLayer)
    shared.layers[1].values = shared.layers[1].keys
    assert not scales(shared, plain)
    expanded = filled(12, DynamicLayer)
    expanded.layers[0].values = expanded.layers[0].values[:, :1].expand(2, 3, 12, 4)
    assert not scales(expanded, plain)
    assert not scales(filled(12, DynamicLayer), plain, gradients=True)


def steps_with_weights(*edits: AttentionIntervention, **options: Any) -> tuple[list[int], Tensor]:
    """How many rows each call of LocoRE's weights had, and the answers."""
    model, seen = tiny_model("llava"), []
    original = LocoRE.weights

    def spy(self: LocoRE, weights: Tensor, context: Any) -> Tensor:
        seen.append(weights.shape[2])
        return original(self, weights, context)

    with ExitStack() as scopes:
        scopes.enter_context(patch.object(LocoRE, "weights", spy))
        for edit in edits:
            scopes.enter_context(intervene(model, edit))
        ids = model.generate(
            **tiny_inputs("llava"),
            max_new_tokens=5,
            do_sample=False,
            suppress_tokens=[2],
            **options,
        )
    return seen, ids


@pytest.mark.parametrize("beams", [1, 3])
def test_decode_steps_of_generate_make_no_weights(beams: int) -> None:
    seen, ids = steps_with_weights(LocoRE(beta=1.0), num_beams=beams)
    assert seen
    assert 1 not in seen
    with patch.object(LocoRE, "key_gains", AttentionIntervention.key_gains):
        seen, wanted = steps_with_weights(LocoRE(beta=1.0), num_beams=beams)
    assert 1 in seen
    assert torch.equal(ids, wanted)


@pytest.mark.parametrize(
    ("edits", "options"),
    [
        ((LocoRE(beta=1.0), LocoRE(beta=0.5)), {}),
        ((LocoRE(beta=1.0), VAF(layers=[0])), {}),
        ((LocoRE(beta=1.0),), {"cache_implementation": "static"}),
    ],
)
def test_weights_are_edited_where_values_cannot_be_scaled(
    edits: tuple[AttentionIntervention, ...], options: dict[str, Any]
) -> None:
    seen, _ = steps_with_weights(*edits, **options)
    assert 1 in seen


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_pass_that_fails_leaves_the_cache_as_it_was(kind: type[BaseException]) -> None:
    model, inputs, cache = tiny_model("llava"), tiny_inputs("llava"), DynamicCache()
    with torch.no_grad(), intervene(model, LocoRE(beta=1.0)):
        model(**inputs, **{CACHE: cache})
        before = [layer.values.clone() for layer in cache.layers]
        columns, seen = before[0].shape[2], []

        def fails(*_: object) -> None:
            seen.extend(layer.values[:, :, :columns].clone() for layer in cache.layers)
            raise kind("in the middle")

        handle = model.model.language_model.layers[-1].register_forward_hook(fails)
        try:
            with pytest.raises(kind, match="in the middle"):
                model(input_ids=inputs["input_ids"][:, -1:], **{CACHE: cache})
        finally:
            handle.remove()
    assert not any(torch.equal(was, now) for was, now in zip(before, seen, strict=True))
    for was, layer in zip(before, cache.layers, strict=True):
        assert torch.equal(was, layer.values[:, :, :columns])


def test_values_of_a_graph_are_not_touched() -> None:
    model, inputs, cache = tiny_model("llava"), tiny_inputs("llava"), DynamicCache()
    with intervene(model, LocoRE(beta=1.0)):
        output = model(**inputs, **{CACHE: cache})
        with torch.no_grad():
            model(input_ids=inputs["input_ids"][:, -1:], **{CACHE: cache})
    output.logits.sum().backward()
