"""Every way to write a choice of layers, and what is said of one that cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.attention.layers import check_layers, resolve_layers


@pytest.mark.parametrize(
    ("spec", "depth", "wanted"),
    [
        (None, 3, [0, 1, 2]),
        ([6, 7, 8], 32, [6, 7, 8]),
        ([2, 0, 2], 3, [0, 2]),
        ([-1], 4, [3]),
        ("6:9", 32, [6, 7, 8]),
        ("2:", 4, [2, 3]),
        ("2:-1", 5, [2, 3]),
        (":-2", 3, [0]),
        (":2", 4, [0, 1]),
        (":", 3, [0, 1, 2]),
        ("0.5:1.0", 32, list(range(16, 32))),
        ("0.5:", 5, [2, 3, 4]),
        ("0.75:1", 4, [3]),
        (" 1 : 3 ", 4, [1, 2]),
    ],
)
def test_layers_are_read(spec: object, depth: int, wanted: list[int]) -> None:
    assert resolve_layers(spec, depth) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([4], "outside a model of 4 layers"),
        ([-5], "outside a model of 4 layers"),
        ("0:5", "beyond a model of 4 layers"),
        ("2:2", "selects none"),
        ("3:1", "selects none"),
        ("2:-2", "selects none"),
        (":-5", "selects none"),
        ("0.9:0.95", "selects none"),
        ([], "selects none"),
    ],
)
def test_layers_that_a_model_lacks_are_refused(spec: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_layers(spec, 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "deep", "6-9", "3", "-2:3", "0.5:1.5", "inf:2", "nan:", "1e0:2", "1:-0", "0.5:-1"]
)
def test_text_that_cannot_be_read_is_refused_before_a_model_is_there(text: str) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        check_layers(text)


@given(st.text(alphabet="0123456789.:-e inf", max_size=9), st.integers(1, 40))
def test_any_text_is_layers_or_a_clear_error(text: str, depth: int) -> None:
    message = ""
    try:
        layers = resolve_layers(text, depth)
    except ValueError as error:
        message = str(error)
    if message:
        assert repr(text) in message
    else:
        assert layers == sorted(set(layers))
        assert set(layers) <= set(range(depth))
        assert layers


@given(st.integers(1, 80), st.floats(0, 1), st.floats(0, 1))
def test_fractions_split_a_model_without_gap_or_overlap(depth: int, a: float, b: float) -> None:
    low, high = sorted((round(a, 3), round(b, 3)))
    parts = []
    for start, stop in ((0.0, low), (low, high), (high, 1.0)):
        if round(start * depth) < round(stop * depth):
            parts += resolve_layers(f"{start:.3f}:{stop:.3f}", depth)
    assert parts == list(range(depth))
