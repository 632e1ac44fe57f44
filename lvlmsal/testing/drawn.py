"""Raw images for the checks of methods that change them: tiny models come with pixels alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.messages import Prompt as Question
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.videos import Opened
from lvlmsal.attention.asked import Asked, Texts
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.prompt_rows import select
from lvlmsal.interventions.contrast import left_padded

SIDE: Final = 24
"""Of a picture that is drawn, in pixels."""

_VALUES: Final = SIDE * SIDE * 3


@contextmanager
def drawn_images() -> Iterator[None]:
    """Let scopes of ``intervene`` find a raw image for each image or tile of their prompts.

    It is drawn from the pixels of that image or tile, and pixels are made of it again where it was
    changed. How processors make them is not tested so, but everything that a method does is.
    """
    real = Prompt.asked.fget  # type: ignore[attr-defined]  # of a property, as mypy does not see

    def asked(prompt: Prompt) -> Asked:
        found: Asked = real(prompt) if prompt.batch is not None else _drawn(prompt)
        return found

    with patch.object(Prompt, "asked", property(asked)):
        yield


@dataclass(frozen=True)
class _Drawn(Asked):
    """Each row of a pass is a sample of its own, beams among them."""

    def processed(
        self,
        adapter: ModelAdapter,
        ids: Tensor,
        spans: Sequence[TokenSpans],
        pictures: Sequence[Sequence[Opened]],
    ) -> dict[str, Tensor]:
        """See the base class."""
        found = {
            name: value.clone() if name in adapter.pixel_inputs.values() else value
            for name, value in self.inputs.items()
        }
        units = adapter.pixel_units(found)
        before = [picture for own in self.pictures for picture in own]
        after = [picture for own in pictures for picture in own]
        for unit, one, other in zip(units, before, after, strict=True):
            values = np.asarray(other, dtype=np.float32)
            if not np.array_equal(np.asarray(one), values):
                flat = torch.from_numpy(values.flatten() / 255 * 4 - 2)
                unit.copy_(flat[torch.arange(unit.numel()) % _VALUES].view(unit.shape))
        return found

    def reworded(self, adapter: ModelAdapter, ids: Tensor, questions: Sequence[Question]) -> Texts:
        """Letters of a question as tokens, in front of the last two of its row."""
        rows = []
        for row, mask, question in zip(ids, self.inputs["attention_mask"], questions, strict=True):
            letters = [4 + number % 200 for number in str(question).encode()[:12]]
            own = row[mask.bool()]
            rows.append(torch.cat([own[:-2], own.new_tensor(letters), own[-2:]]))
        return Texts(**left_padded(rows, ids))


def drawn_batch(adapter: ModelAdapter, inputs: Mapping[str, Tensor]) -> Asked:
    """The same raw images for decoders that look at them, of inputs of ``generate``."""
    spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))
    return _drawn(Prompt(adapter, spans, inputs, run=lambda *_, **__: None))


def _drawn(prompt: Prompt) -> Asked:
    pictures = [
        [_picture(unit) for unit in prompt.adapter.pixel_units(select(prompt, [row]))]
        for row in range(len(prompt.spans))
    ]
    return _Drawn(prompt.inputs, pictures, [""] * len(pictures))


def _picture(unit: Tensor) -> Image.Image:
    flat = unit.detach().float().cpu().flatten()
    shares = flat[torch.arange(_VALUES) % len(flat)].sigmoid()
    return Image.fromarray((shares * 255).byte().view(SIDE, SIDE, 3).numpy())
