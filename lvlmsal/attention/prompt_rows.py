"""Some rows of a prompt by themselves: their text, and the pixels of their images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.adapters.pixels import TEXT
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError


def select(prompt: Prompt, rows: Sequence[int]) -> dict[str, Tensor]:
    """Inputs of some rows of a prompt, as ``generate`` takes them.

    Args:
        prompt: about to be run.
        rows: which, in the order that is wanted.

    Returns:
        Texts as wide as the prompt's own, and the pixels of these rows.

    Raises:
        UnsupportedError: the pixels were not seen, or an input cannot be split by rows.
    """
    if any(prompt.spans[row].images for row in rows) and not has_pixels(prompt):
        raise UnsupportedError(
            "the pixels of this prompt were not seen, for its images were encoded elsewhere: "
            "hand pixel_values to generate inside of the intervene(...) scope"
        )
    return prompt.adapter.select_rows(prompt.inputs, prompt.spans, rows)


def has_pixels(prompt: Prompt) -> bool:
    """Whether the pixels of a prompt with images are known."""
    return any(name in prompt.inputs for name in prompt.adapter.pixel_inputs.values())


def repeats(prompt: Prompt, row: int) -> bool:
    """Whether a row is the one before it once more, pixels included, as beams are."""
    texts = [prompt.inputs[name] for name in TEXT if name in prompt.inputs]
    if row == 0 or not all(torch.equal(text[row], text[row - 1]) for text in texts):
        return False
    mine, other = select(prompt, [row]), select(prompt, [row - 1])
    return all(torch.equal(mine[name], other[name]) for name in mine)
