"""What many unit tests of models start from.

Torch is imported when it is asked for: tests of files and configs start without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture
def model() -> Any:
    import torch

    from lvlmsal.testing.tiny import tiny_model

    return tiny_model("llava", dtype=torch.float64)


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    """A prompt with one image."""
    import torch

    from lvlmsal.testing.tiny import tiny_samples

    return tiny_samples("llava", (1,), dtype=torch.float64)[0].inputs
