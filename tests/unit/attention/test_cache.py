"""The growing cache against transformers' own."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache

from lvlmsal.attention.cache import CHUNK, GrowingLayer, RecordingCache
from lvlmsal.testing.tiny import tiny_inputs, tiny_model
from lvlmsal.versions import CACHE


@given(
    moves=st.lists(st.integers(-40, 200).filter(bool), min_size=1, max_size=12),
    reorder=st.booleans(),
)
def test_it_holds_what_a_dynamic_cache_holds(moves: list[int], reorder: bool) -> None:
    """Appending, taking back and reordering in any order, past several growths."""
    ours, theirs = RecordingCache(), DynamicCache()
    generator = torch.Generator().manual_seed(len(moves))
    for step, move in enumerate(moves):
        length = theirs.get_seq_length()
        if move > 0:
            keys, values = torch.randn(2, 2, 3, move, 4, generator=generator)
            for layer in range(2):
                found = ours.update(keys + layer, values, layer)
                wanted = theirs.update(keys + layer, values, layer)
                assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        elif -move < length:
            ours.crop(move)
            theirs.crop(move)
        if reorder and step % 3 == 2:
            ours.reorder_cache(torch.tensor([1, 0]))
            theirs.reorder_cache(torch.tensor([1, 0]))
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_appending_does_not_copy_until_the_room_is_used_up() -> None:
    layer = GrowingLayer()
    one = torch.ones(1, 1, 1, 2)
    keys, _ = layer.update(one.expand(1, 1, 9, 2), one.expand(1, 1, 9, 2))
    places = {layer.update(one, one)[0].data_ptr() for _ in range(CHUNK)}
    assert places == {keys.data_ptr()}
    assert layer.update(one, one)[0].data_ptr() != keys.data_ptr()


def test_a_cache_that_is_taken_over_stays_as_it_was() -> None:
    model, inputs = tiny_model("llava"), tiny_inputs("llava")
    given_cache = DynamicCache()
    model(**inputs, **{CACHE: given_cache})
    before = [layer.keys.clone() for layer in given_cache.layers]
    ours = RecordingCache.adopt(given_cache)
    ours.update(torch.ones(1, 2, 1, 8), torch.ones(1, 2, 1, 8), 0)
    assert ours.get_seq_length() == given_cache.get_seq_length() + 1
    assert all(
        torch.equal(layer.keys, keys)
        for layer, keys in zip(given_cache.layers, before, strict=True)
    )
    assert RecordingCache.adopt(ours).get_seq_length() == ours.get_seq_length()
    assert RecordingCache.adopt(None).get_seq_length() == 0
    assert RecordingCache.adopt(DynamicCache()).get_seq_length() == 0


def test_rows_that_move_leave_no_old_memory_behind() -> None:
    layer = GrowingLayer()
    layer.update(torch.ones(4, 1, 9, 2), torch.ones(4, 1, 9, 2))
    for move in (
        lambda: layer.reorder_cache(torch.tensor([1, 0, 2, 3])),
        lambda: layer.batch_repeat_interleave(2),
        lambda: layer.batch_select_indices(torch.tensor([0, 1])),
    ):
        move()
        assert layer._room is None
