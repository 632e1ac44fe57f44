"""Some rows of a prompt by themselves: their text, and the pixels of their images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.attention.pixels import GRIDS, PIXELS, joined, units
from lvlmsal.attention.prompt import TEXT, Prompt
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
    inputs = prompt.inputs
    names = {*PIXELS.values(), *GRIDS.values()}
    unknown = sorted(set(inputs) - names - set(TEXT))
    if unknown:
        raise UnsupportedError(
            f"it is not known which rows of the batch {', '.join(unknown)} belong to: run the "
            "samples one by one"
        )
    if any(prompt.spans[row].images for row in rows) and not has_pixels(prompt):
        raise UnsupportedError(
            "the pixels of this prompt were not seen, for its images were encoded elsewhere: "
            "hand pixel_values to generate inside of the intervene(...) scope"
        )
    found = {name: inputs[name][list(rows)] for name in TEXT if name in inputs}
    for kind, name in PIXELS.items():
        if name not in inputs:
            continue
        pixels, grids = inputs[name], inputs.get(GRIDS[kind])
        parts = units(pixels, grids, rows=prompt.adapter.pads_images)
        counts = _units_of_rows(prompt, kind, len(parts), strung=grids is not None)
        starts = [sum(counts[:row]) for row in range(len(counts))]
        chosen = [unit for row in rows for unit in range(starts[row], starts[row] + counts[row])]
        if chosen:
            spans = [prompt.spans[row] for row in rows]
            found[name] = joined([parts[unit] for unit in chosen], grids, prompt.adapter, spans)
            if grids is not None:
                found[GRIDS[kind]] = grids[chosen]
    return found


def has_pixels(prompt: Prompt) -> bool:
    """Whether the pixels of a prompt with images are known."""
    return any(name in prompt.inputs for name in PIXELS.values())


def repeats(prompt: Prompt, row: int) -> bool:
    """Whether a row is the one before it once more, pixels included, as beams are."""
    texts = [prompt.inputs[name] for name in TEXT if name in prompt.inputs]
    if row == 0 or not all(torch.equal(text[row], text[row - 1]) for text in texts):
        return False
    mine, other = select(prompt, [row]), select(prompt, [row - 1])
    return all(torch.equal(mine[name], other[name]) for name in mine)


def _units_of_rows(prompt: Prompt, kind: str, total: int, *, strung: bool) -> list[int]:
    """How many images (tiles, where an image is cut into such) or videos each row has."""
    video = getattr(prompt.adapter.model.config, "video_token_id", None)
    counts, lengths = [], []
    for ids, spans in zip(prompt.inputs["input_ids"], prompt.spans, strict=True):
        mine = [
            end - start
            for start, end in spans.images
            if (int(ids[spans.pad + start]) == video) == (kind == "video")
        ]
        counts.append(len(mine))
        lengths.append(sum(mine))
    if not strung:  # images, or tiles, of one size: all have as many visual tokens
        each = max(1, sum(lengths) // total)
        counts = [length // each for length in lengths]
    if sum(counts) != total:
        raise UnsupportedError(
            f"the prompt's rows have {counts} {kind}s, but pixels of {total} were given"
        )
    return counts
