"""What can be said of a checkpoint without answering anything and without holding its weights."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.backends import image_backend as backend_of
from lvlmsal.adapters.encoding import build_inputs
from lvlmsal.adapters.images import ImageLike, open_image
from lvlmsal.adapters.loading import load_outline
from lvlmsal.adapters.openings import system_opening
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import LvlmsalError
from lvlmsal.escaping import visible

PROMPT: Final = "What is in this picture?"
SIZE: Final = (640, 480)
"""Width and height of the picture that is drawn where none is given."""

_WIDTH, _LABEL = 80, 13


@dataclass(frozen=True)
class LoadCheck:
    """How a checkpoint would be loaded, and how it would be asked.

    Attributes:
        name: As it was given.
        location: Folder or hub id.
        adapter_folder: Of the adapter (LoRA) that would be merged; None for none.
        family: Of the model.
        architecture: Class of transformers.
        adapter: Class that knows the family.
        parameters: Number of weights.
        dtype: As stored, in which they are loaded by default.
        weights: Whether they were compared with the model, by name and shape, and are all there;
            those on the hub are not looked at, nor any without the package accelerate.
        processor: Class for images and text.
        image_processor: Class for images.
        image_backend: ``"torchvision"``, which is the fast one, or ``"pil"``.
        tokenizer: Class.
        fast_tokenizer: Whether it is the fast one.
        prompt: One question about one picture, as the processor is given it.
        tokens: Length of the sequence.
        segments: (name, start, end) of each part of it, see :class:`~lvlmsal.TokenSpans`.
        images: Of each picture the number of ``tokens``, its ``grid`` (rows, columns) or None, and
            the ``panels`` (tiles, frames) that are stacked in the grid.
        picture: Width and height.
        seen: Width and height of the part that the model is shown.
        works: What the model can be used for -> why not; empty: it can.
        settings: Options that the catalog sets for it, by method.
    """

    name: str
    location: str
    adapter_folder: str | None
    family: str
    architecture: str
    adapter: str
    parameters: int
    dtype: str
    weights: bool
    processor: str
    image_processor: str
    image_backend: str | None
    tokenizer: str
    fast_tokenizer: bool
    prompt: str
    tokens: int
    segments: list[tuple[str, int, int]]
    images: list[dict[str, Any]]
    picture: tuple[int, int]
    seen: tuple[int, int]
    works: dict[str, str]
    settings: dict[str, dict[str, object]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        megabytes = self.parameters * getattr(torch, self.dtype).itemsize / 1e6
        size = f"{megabytes:.3g} MB" if megabytes < 1000 else f"{megabytes / 1000:.3g} GB"
        compared = "all are there" if self.weights else "not compared with the model"
        backends = {
            "torchvision": "torchvision (fast)",
            "pil": "Pillow (the fast one takes torchvision)",
        }
        pieces = ", ".join(f"{name} {start}-{end}" for name, start, end in self.segments)
        lines = [
            ("", f"{self.name}: {self.family}, {self.architecture}, read by {self.adapter}"),
            ("location", self.location),
            ("adapter", f"{self.adapter_folder}, merged at load" if self.adapter_folder else ""),
            ("weights", f"{self.parameters:,}, {size} in {self.dtype}; {compared}"),
            ("processor", self.processor),
            (
                "images by",
                f"{self.image_processor}, {backends.get(self.image_backend or '', 'own code')}",
            ),
            ("text by", f"{self.tokenizer}, {'fast' if self.fast_tokenizer else 'slow'}"),
            ("prompt", self.prompt.replace("\n", "\\n")),
            ("sequence", f"{self.tokens} tokens: {pieces}"),
            ("picture", "{} x {} pixels".format(*self.picture)),
        ]
        if self.seen != self.picture:
            shown = "{} x {} pixels, shown as {} x {}".format(*self.picture, *self.seen)
            lines[-1] = ("picture", shown)
        for number, image in enumerate(self.images):
            lines.append((f"image {number}", _shape(image)))
        lines.append(("works", ", ".join(key for key, why in self.works.items() if not why)))
        lines += [("not", f"{key}: {why}") for key, why in self.works.items() if why]
        for method, options in self.settings.items():
            values = ", ".join(f"{key}={value}" for key, value in options.items())
            lines.append(("settings", f"{method}: {values}"))
        return "\n".join(_line(label, text) for label, text in lines if text)


def load_check(
    source: str | Path,
    *,
    image: ImageLike | None = None,
    prompt: str = PROMPT,
    revision: str | None = None,
    trust_remote_code: bool = False,
    image_backend: str = "auto",
    base: str | Path | None = None,
) -> LoadCheck:
    """Say how a checkpoint would be loaded and asked: its family, prompt, spans, grids and dtype.

    Nothing is answered. The weights of a folder are compared with the model by name and shape, and
    not held in memory; those on the hub are not fetched.

    Args:
        source: A catalog name, a hub id or a folder, as :func:`lvlmsal.load` takes it.
        image: What to ask about, where sizes matter; by default a picture is drawn.
        prompt: The question.
        revision: As for :func:`lvlmsal.load`.
        trust_remote_code: As there.
        image_backend: As there.
        base: As there.

    Returns:
        What was found; as text it holds at 80 columns.

    Raises:
        LvlmsalError: What :func:`lvlmsal.load` would raise for this checkpoint.

    Example:
        >>> found = load_check("pocket-llava")
        >>> found.family, found.images[0]["grid"], found.works["SGRS"]
        ('LLaVA-1.5', (8, 8), '')
    """
    loaded, found, compared = load_outline(
        source,
        revision=revision,
        trust_remote_code=trust_remote_code,
        image_backend=image_backend,
        base=base,
    )
    adapter, processor = loaded.adapter, loaded.processor
    picture = _drawn() if image is None else open_image(image)
    inputs = adapter.fitting(build_inputs(adapter, [[picture]], [prompt]))
    spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))
    return LoadCheck(
        name=str(source),
        location=found.location,
        adapter_folder=None if found.adapter is None else str(found.adapter),
        family=adapter.family,
        architecture=type(adapter.model).__name__,
        adapter=type(adapter).__name__,
        parameters=sum(weight.numel() for weight in adapter.model.parameters()),
        dtype=str(adapter.model.dtype).removeprefix("torch."),
        weights=compared,
        processor=type(processor).__name__,
        image_processor=type(processor.image_processor).__name__,
        image_backend=backend_of(processor),
        tokenizer=type(adapter.tokenizer).__name__,
        fast_tokenizer=bool(adapter.tokenizer.is_fast),
        prompt=adapter.render(prompt, 1),
        tokens=spans[0].length,
        segments=spans[0].segments(),
        images=_images(adapter, inputs, spans),
        picture=picture.size,
        seen=adapter.seen_part(picture).size,
        works=_works(adapter, inputs, spans, picture, prompt),
        settings={} if loaded.card is None else dict(loaded.card.defaults),
    )


def _images(
    adapter: ModelAdapter, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
) -> list[dict[str, Any]]:
    sample, grids = spans[0], adapter.patch_grids(inputs, 0)
    panels = adapter.panels(inputs, spans)
    return [
        {"tokens": len(sample.positions(index)), "grid": grid, "panels": panels[index]}
        for index, grid in enumerate(grids)
    ]


def _works(
    adapter: ModelAdapter,
    inputs: Mapping[str, Tensor],
    spans: Sequence[TokenSpans],
    picture: Image.Image,
    prompt: str,
) -> dict[str, str]:
    """What can be done -> why not: by what the adapter declares and its processor does."""
    found = dict.fromkeys(("greedy", "LocoRE", "SGRS", "diagnosis", "shared prefix"), "")

    def tried(what: str, use: Any) -> None:
        try:
            use()
        except LvlmsalError as error:
            found[what] = str(error)
        else:
            found[what] = ""

    tried("second streams", lambda: adapter.select_rows(inputs, spans, [0]))
    tried("ICD", lambda: system_opening(adapter, "x", images=True))
    takes = "it is shown the frames of a video as pictures"
    found["videos"] = "" if adapter.takes_videos else takes
    tried("several pictures", lambda: build_inputs(adapter, [[picture] * 2], [prompt]))
    tried("batches", lambda: build_inputs(adapter, [[picture]] * 2, [prompt] * 2))
    tried("questions without a picture", lambda: build_inputs(adapter, [[]], [prompt]))
    return found


def _drawn() -> Image.Image:
    """A picture with something in it: circles on a gradient."""
    across = torch.linspace(-1, 1, SIZE[0])[None]
    down = torch.linspace(-1, 1, SIZE[1])[:, None]
    rings = (across.square() + down.square()).mul(20).cos()
    colors = [value.expand(SIZE[::-1]) for value in (across, down, rings)]
    pixels = torch.stack(colors, -1).add(1).mul(127).to(torch.uint8)
    return Image.fromarray(pixels.numpy())


def _shape(image: Mapping[str, Any]) -> str:
    """The visual tokens of a picture, in words."""
    text = f"{image['tokens']} visual tokens"
    if image["grid"] is None:
        return f"{text}, in no grid"
    panels = f", {image['panels']} tiles stacked" if image["panels"] > 1 else ""
    return f"{text}, a grid of {image['grid'][0]} x {image['grid'][1]}{panels}"


def _line(label: str, text: str) -> str:
    return textwrap.fill(
        visible(text),
        _WIDTH,
        initial_indent=label.ljust(_LABEL) if label else "",
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
    )
