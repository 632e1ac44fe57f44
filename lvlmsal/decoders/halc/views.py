"""What a model predicts behind an answer if it sees crops of an image in place of the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.videos import Clip, pictures_of
from lvlmsal.attention.aside import aside
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.scopes import open_passes
from lvlmsal.attention.stream import Stream, positions_kept
from lvlmsal.decoders.halc.crops import cropped
from lvlmsal.errors import UnsupportedError
from lvlmsal.evidence.base import Box


class Views:
    """The images of a batch, and passes over crops of them.

    Args:
        adapter: of the model, with its processor.
        asked: the batch.
        names: of its samples, for messages.

    Attributes:
        names: likewise.
        pictures: of each sample.
        forwards: passes so far.

    Raises:
        UnsupportedError: there is a video.
    """

    def __init__(self, adapter: ModelAdapter, asked: Asked, names: Sequence[str]) -> None:
        for name, own in zip(names, asked.pictures, strict=True):
            if any(isinstance(picture, Clip) for picture in own):
                raise UnsupportedError(
                    f"HALC crops images, and sample {name!r} has a video: give its frames as images"
                )
        self._adapter, self._questions, self.forwards = adapter, asked.questions, 0
        self.names = names
        self.pictures = [pictures_of(own) for own in asked.pictures]

    def logits(
        self, sample: int, image: int, boxes: Sequence[Box], answer: Sequence[int]
    ) -> Tensor:
        """Raw logits behind an answer under each crop, shape (crops, V).

        The question is encoded again with each crop, at the crop's own size, and the answer so far
        is run behind it, all crops side by side.

        Args:
            sample: which.
            image: its number among those of the sample; the others stay as they are.
            boxes: of the crops.
            answer: tokens so far.
        """
        own = self.pictures[sample]
        seen = [[*own[:image], cropped(own[image], box), *own[image + 1 :]] for box in boxes]
        inputs = self._adapter.encode(seen, [self._questions[sample]] * len(boxes))
        model = self._adapter.model
        with aside(None, open_passes(), other_prompt=True), positions_kept(model):
            stream = Stream.of(model, inputs)
            found = stream.prefill()
            if answer:
                tokens = torch.tensor([list(answer)] * len(boxes), device=found.device)
                found = stream.commit(tokens, keep=1)[:, -1]
        self.forwards += stream.forwards
        return found
