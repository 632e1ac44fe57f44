"""Packing arrays: what is read again is what was written, within the stated error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlmsal.explorer.packing import pack
from tests.unit.explorer.unpacking import bound, unpack

arrays = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6),
    elements=st.floats(0, 1e4, width=32),
)


@given(st.dictionaries(st.text(min_size=1, max_size=4), arrays, max_size=4))
def test_every_value_is_read_again_within_the_stated_error(given: dict[str, np.ndarray]) -> None:
    packed = pack(given)
    read = unpack(packed)
    assert list(read) == list(given)
    for name, values in given.items():
        exact = values.astype(np.float64)
        assert read[name].shape == exact.shape
        moved = np.abs(read[name] - exact)
        assert (moved <= bound(exact)).all()
        assert (moved <= 0.004 * exact.max(initial=0.0)).all()
        # the formula of the docstring is a bound too
        largest = exact.max(initial=0.0)
        if largest:
            stated = largest * (np.sqrt(exact / largest) / 255 + 1 / 510**2)
            assert (moved <= stated + 1e-9 * largest).all()


@given(arrays)
def test_order_is_kept_and_ends_are_exact(values: np.ndarray) -> None:
    read = unpack(pack({"a": values}))["a"].ravel()
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(read[order]) >= 0).all()
    assert (read[values.ravel() == 0] == 0).all()
    if values.size:
        assert read.max() == values.max()


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_what_has_no_place_on_the_scale_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="rows holds a value"):
        pack({"rows": np.array([0.5, wrong])})
