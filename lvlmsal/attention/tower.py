"""A prompt whose images enter the text decoder as others than its image encoder makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.towers import Change, TowerFeatures
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.prompt_rows import has_pixels
from lvlmsal.attention.stream import positions_kept, prepared
from lvlmsal.errors import UnsupportedError


def with_features(prompt: Prompt, change: Change) -> dict[str, Any] | None:
    """The inputs of a prompt with the features of its images changed; None where there is none.

    Args:
        prompt: about to be run.
        change: from :class:`~lvlmsal.adapters.towers.TowerFeatures` of n pictures (images, or tiles
            of them) to what shall enter the projector in place of their features, shape (n, m, D).
            With another m than before, each image has so many visual tokens in the prompt.

    Raises:
        UnsupportedError: nothing is known of the family's image encoder, there are videos, the
            pixels were not seen, or the number of visual tokens changes where an image is more than
            one picture.
    """
    if not any(spans.images for spans in prompt.spans):
        return None
    adapter = prompt.adapter
    tower, model = adapter.tower, adapter.model
    if adapter.pixel_inputs["video"] in prompt.inputs:
        raise UnsupportedError("features of videos cannot be changed: give images alone")
    if not has_pixels(prompt):
        raise UnsupportedError(
            "the pixels of this prompt were not seen, for its images were encoded elsewhere: "
            "hand pixel_values to generate inside of the intervene(...) scope"
        )
    others: list[int] = []  # numbers of visual tokens, where they change

    def noted(given: TowerFeatures) -> Tensor:
        found = change(given)
        before, after = given.features.shape[1], found.shape[1]
        if before == after:
            return found
        if adapter.tokens_per_image != before:
            raise UnsupportedError(
                f"an image of {type(model).__name__} is several pictures, or not all of its visual "
                "tokens are patches, so their number cannot be changed"
            )
        others.append(after)
        return found

    with torch.no_grad(), positions_kept(model), tower.changed(noted):
        encoded = prepared(
            model, prompt.inputs, lambda _, kwargs: dict(kwargs["mm_encoder_outputs"])
        )
    if not others:
        return replace(prompt, encoded=encoded).again()
    return {**_shortened(prompt, others[-1]), "mm_encoder_outputs": encoded}


def _shortened(prompt: Prompt, count: int) -> dict[str, Tensor]:
    """The text with so many placeholders for each image, padded at the left again."""
    ids = prompt.inputs["input_ids"]
    rows = []
    for row, spans in zip(ids, prompt.spans, strict=True):
        own = row[spans.pad : spans.output_column]
        keep = torch.ones_like(own, dtype=torch.bool)
        for start, end in spans.images:
            keep[start + count : end] = False
        rows.append(own[keep])
    texts = (rows, [torch.ones_like(row) for row in rows])
    names = TEXT[:2]
    padded = (pad_sequence(text, batch_first=True, padding_side="left") for text in texts)
    return dict(zip(names, padded, strict=True))
