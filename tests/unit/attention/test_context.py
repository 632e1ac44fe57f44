"""What a context says of rows and keys, against each position by itself."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention import AttentionContext

WIDTH = 9
# Padding, images that touch and images with text between them, and a sample without any.
BATCH = [
    TokenSpans(pad=0, images=((2, 4), (4, 5), (6, 7)), output_start=8, length=9),
    TokenSpans(pad=2, images=((1, 3),), output_start=6, length=7),
    TokenSpans(pad=3, images=(), output_start=5, length=6),
    TokenSpans(pad=1, images=((0, 2),), output_start=7, length=8),
]


def parts(spans: TokenSpans) -> list[str]:
    """The part of each column of one sample."""
    names = ["padding"] * spans.pad
    for name, start, end in spans.segments():
        names += [name] * (end - start)
    return names


cuts = st.tuples(st.integers(0, WIDTH), st.integers(0, WIDTH)).map(sorted).map(lambda c: slice(*c))


@given(rows=cuts, keys=cuts)
def test_rows_and_keys_are_told_by_their_positions(rows: slice, keys: slice) -> None:
    columns = torch.arange(WIDTH)
    whole = AttentionContext(BATCH, columns, columns, layer=0, num_layers=1, first_query_column=0)
    # The tile shares what the pass keeps, and must not take the whole's for its own.
    check(whole, slice(0, WIDTH), slice(0, WIDTH))
    check(whole.tile(rows, keys), rows, keys)
    check(whole, slice(0, WIDTH), slice(0, WIDTH))


def check(context: AttentionContext, rows: slice, keys: slice) -> None:
    """Compare with the name of the part at each column."""
    for found, name, cut in (
        (context.image_rows(), "image", rows),
        (context.image_keys(), "image", keys),
        (context.system_keys(), "system", keys),
    ):
        assert found.dtype == torch.bool
        assert found.tolist() == [[part == name for part in parts(spans)[cut]] for spans in BATCH]
