"""Which values of a parametrization the everyday tiers try."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from lvlmsal.testing import tiny


def in_full(values: Iterable[Any], *, but: Any) -> list[Any]:
    """The values, all but one, or but a list of them, marked for the full tier."""
    found = list(values)
    kept = but if isinstance(but, list) else [but]
    assert all(value in found for value in kept), f"not all of {kept!r} are in {found}"
    words = [value if isinstance(value, tuple) else (value,) for value in found]
    return [
        pytest.param(*given, marks=() if value in kept else pytest.mark.full)
        for value, given in zip(found, words, strict=True)
    ]


# The one with positions of its own and a varying number of image tokens; most tests that try one
# family only try llava.
FAMILIES = in_full(sorted(tiny.TINY), but="qwen2_vl")

_NEED_TORCHVISION = {"cohere2_vision", "mistral3", "molmo2", "perception_lm", "pixtral"}
FURTHER = sorted({*tiny.FURTHER} - _NEED_TORCHVISION)
"""Families beyond these whose processors can be built without torchvision."""
