"""A prompt that is about to be run, as interventions see it, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.messages import Prompt as Question
from lvlmsal.adapters.pixels import TEXT
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.adapters.videos import Clip, Opened
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.second_stream import SecondStream
from lvlmsal.errors import UnsupportedError

# What a pass is given besides the inputs of ``generate``.
_NOT_INPUTS = ("position_ids", "cache_position", "labels", "inputs_embeds", "logits_to_keep")

TWO_STREAMS = (
    "two interventions bring a second stream, and no paper says how to combine three logits: "
    "use one of them"
)


def first_draft(ids: Tensor, kept: Tensor | int, visual: Sequence[int]) -> int | None:
    """Column of the first drafted token, where some stand behind the prompt.

    Assisted decoding runs the prompt and its first drafts in one pass, and asks for the logits
    of the rows that predict these and one more.

    Args:
        ids: of the pass, (B, q).
        kept: which rows the model turns into logits, as it was told.
        visual: ids of the image tokens, of which none is drafted.
    """
    if isinstance(kept, Tensor) or not 1 < kept < ids.shape[1]:
        return None
    first: int = ids.shape[1] - kept + 1
    return None if bool(torch.isin(ids[:, first:], ids.new_tensor(visual)).any()) else first


@dataclass(frozen=True)
class Prompt:
    """A prompt that is about to be run.

    Attributes:
        adapter: of the model; with the processor where the model was loaded by ``lvlmsal.load``.
        spans: one for each row of the batch.
        inputs: as ``generate`` takes them: ``input_ids`` (B, L), ``attention_mask`` (B, L) and, as
            the family needs, ``pixel_values``, ``image_grid_thw``, ``mm_token_type_ids``.
        run: ``run(*watchers, layers=0, inputs=None, plain=False)`` runs the prompt once more, under
            edits that may only look on: through its first layers only, where a number is given;
            another prompt, where its inputs are given as ``generate`` takes them; and without any
            other edit, where it shall be ``plain``.
        encoded: features of the images, where ``generate`` has encoded them already.
        batch: raw images and questions, where the model is asked by ``lvlm.generate`` or the like.
        edit: that is shown the prompt, for messages.
    """

    adapter: ModelAdapter
    spans: Sequence[TokenSpans]
    inputs: Mapping[str, Tensor]
    run: Callable[..., None] = field(repr=False)
    encoded: Mapping[str, Any] | None = field(default=None, repr=False)
    batch: Asked | None = field(default=None, repr=False)
    edit: object = field(default=None, repr=False)

    @property
    def asked(self) -> Asked:
        """The raw images and the question of each sample; the beams of one share them.

        Raises:
            UnsupportedError: they are not known inside of a bare ``intervene(model)``.
        """
        if self.batch is None:
            raise UnsupportedError(
                f"{type(self.edit).__name__} needs images as they were before processing, and the "
                "model's own generate, inside of intervene(model) too, is given processed pixels: "
                "ask by lvlmsal.load(...).generate(image, question, interventions=[...])"
            )
        return self.batch

    def with_images(self, change: Callable[[Image.Image], Image.Image]) -> dict[str, Any] | None:
        """The inputs with each raw image changed before it is processed; None without any.

        Args:
            change: from an image in RGB to another one of the same size, with which the prompt
                keeps its number of visual tokens. The frames of a video come one by one.

        Raises:
            UnsupportedError: the raw images are not known, or a size changes.
        """
        if not any(spans.images for spans in self.spans):
            return None
        return self.with_pictures(
            [[changed(picture, change) for picture in own] for own in self.asked.pictures]
        )

    def with_pictures(self, pictures: Sequence[Sequence[Opened]]) -> dict[str, Any]:
        """The inputs with other pictures in the place of the raw images.

        Args:
            pictures: of each sample, as many and of the same sizes as those of :attr:`asked`.

        Raises:
            UnsupportedError: the raw images are not known, or a size changes.
        """
        sizes = [
            [[p.size for p in own] for own in all_] for all_ in (self.asked.pictures, pictures)
        ]
        if sizes[0] != sizes[1]:
            raise UnsupportedError(
                f"images of {sizes[0]} pixels were changed to some of {sizes[1]}, and other sizes "
                "would be other numbers of visual tokens: resize them"
            )
        texts = {name: value for name, value in self.inputs.items() if name in TEXT}
        ids = self.inputs["input_ids"]
        return {**texts, **self.asked.processed(self.adapter, ids, self.spans, pictures)}

    def with_questions(self, questions: Sequence[Question]) -> dict[str, Any]:
        """Inputs of other questions about the same images, which are not encoded once more.

        Args:
            questions: of each sample, in the place of those of :attr:`asked`.

        Raises:
            UnsupportedError: the questions are not known.
        """
        texts = self.asked.reworded(self.adapter, self.inputs["input_ids"], questions)
        return self.with_text(**texts._asdict())

    def with_pixels(self, change: Callable[[Tensor], Tensor]) -> dict[str, Any] | None:
        """The inputs with the pixels of each image or video changed; None where there is none.

        Args:
            change: from the processed pixels of one image to others of the same shape. The shape is
                the family's: (3, H, W) in LLaVA and Idefics3 (a tile in InternVL), (patches,
                values) in Qwen-VL.

        Raises:
            UnsupportedError: the images were encoded before the scope was opened.
        """
        names = [name for name in self.adapter.pixel_inputs.values() if name in self.inputs]
        if not names and any(spans.images for spans in self.spans):
            raise UnsupportedError(
                "the pixels of this prompt were not seen, for its images were encoded elsewhere: "
                "hand pixel_values to generate inside of the intervene(...) scope"
            )
        found = {**self.inputs, **{name: self.inputs[name].clone() for name in names}}
        units = (self.adapter.pixel_units(inputs) for inputs in (self.inputs, found))
        for before, unit in zip(*units, strict=True):
            unit.copy_(change(before))
            if self.adapter.pads_images and not unit.any():
                # by nothing but zeros the padding is known
                unit[(0,) * unit.dim()] = torch.finfo(unit.dtype).tiny
        return found if names else None

    def again(self) -> dict[str, Any]:
        """Inputs of the very same prompt, whose images are not encoded once more."""
        return self.with_text(self.inputs["input_ids"], self.inputs["attention_mask"])

    def with_text(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
        """Inputs of another text about the same images, which are not encoded once more.

        Args:
            input_ids: shape (B, n), with the placeholders of the same images in the same order.
            attention_mask: shape (B, n).
        """
        texts = {"input_ids": input_ids, "attention_mask": attention_mask}
        found: dict[str, Any] = {
            name: value for name, value in self.inputs.items() if name not in TEXT
        }
        found = dict(self.adapter.fitting({**found, **texts}))
        if self.encoded is not None:
            pixels = self.adapter.pixel_inputs.values()
            found = {name: value for name, value in found.items() if name not in pixels}
            found["mm_encoder_outputs"] = dict(self.encoded)
        return found


def changed(picture: Opened, change: Callable[[Image.Image], Image.Image]) -> Opened:
    """An image changed, or each frame of a video."""
    if isinstance(picture, Clip):
        return replace(picture, frames=[change(frame) for frame in picture.frames])
    return change(picture)


def prompt_inputs(input_ids: Tensor, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The inputs of ``generate`` among the arguments of a prefill pass."""
    found = {
        name: value
        for name, value in kwargs.items()
        if isinstance(value, Tensor) and name not in _NOT_INPUTS
    }
    mask = found.get("attention_mask")
    if mask is None or mask.dim() != 2:
        found["attention_mask"] = _without_padding(kwargs.get("attention_mask"), input_ids)
    return {**found, "input_ids": input_ids}


def without_room(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a prefill without the columns that a static cache has behind the prompt.

    ``generate`` hands ready masks to such caches: one, or one for each kind of layer.
    """

    def cut(mask: Any) -> Any:
        if isinstance(mask, Mapping):
            return {kind: cut(of_kind) for kind, of_kind in mask.items()}
        ready = isinstance(mask, Tensor) and mask.dim() == 4
        return mask[..., : mask.shape[2]] if ready else mask

    return {**kwargs, "attention_mask": cut(kwargs.get("attention_mask"))}


def _without_padding(ready: Any, input_ids: Tensor) -> Tensor:
    """The mask (B, L) of a prompt that came with ready ones, as static caches have them.

    Args:
        ready: one of shape (B, 1, L, k), boolean or what is added to scores, or one for each kind
            of layer; whatever their windows, a column that is not padding sees itself.
        input_ids: shape (B, L).
    """
    masks = list(ready.values()) if isinstance(ready, Mapping) else [ready]
    mask = next((each for each in masks if isinstance(each, Tensor) and each.dim() == 4), None)
    if mask is None:
        return torch.ones_like(input_ids)
    seen = mask[:, 0].diagonal(dim1=-2, dim2=-1)
    if seen.is_floating_point():
        seen = seen > torch.finfo(seen.dtype).min / 2
    return (seen.cumsum(-1) > 0).to(input_ids).expand_as(input_ids)


@dataclass
class Prefill:
    """What a session keeps of a prompt for the passes that go on from it.

    Attributes:
        spans: one for each row of the batch.
        ids: of the prompt, where they were seen.
        states: what each intervention keeps of it, by the intervention's identity.
        seconds: the second streams of an edit, by their names.
    """

    spans: Sequence[TokenSpans]
    ids: Tensor | None = None
    states: dict[int, Any] = field(default_factory=dict)
    seconds: dict[str, SecondStream] = field(default_factory=dict)

    def end(self) -> None:
        """The scope ends, and second streams with it."""
        for second in self.seconds.values():
            second.end()
        self.seconds = {}

    @property
    def width(self) -> int:
        """Columns of the prompt; where given spans differ in that, of the first sample's."""
        return self.spans[0].output_column


def continued(last: tuple[Prefill, int] | None, ids: Tensor) -> Prefill | None:
    """The prompt of a pass without a cache that is the last one and one more token.

    Args:
        last: the prompt of the last pass without a cache, and how many columns that had.
        ids: of this one, (B, q).
    """
    if last is None:
        return None
    prefill, seen = last
    if prefill.ids is None or ids.shape[1] != seen + 1:
        return None
    return prefill if torch.equal(ids[:, : prefill.ids.shape[1]], prefill.ids) else None


def check_no_images(adapter: ModelAdapter, kwargs: Mapping[str, Any]) -> None:
    """Refuse images behind a prompt: they belong to a chunk of it, or to another turn.

    Raises:
        UnsupportedError: spans, states and second streams would not know of them.
    """
    names = (*adapter.pixel_inputs.values(), "mm_encoder_outputs")
    given = [value for value in map(kwargs.get, names) if value is not None]
    if any(len(value) for value in given):  # encoded is empty where nothing was
        raise UnsupportedError(
            "images came after the prompt of this cache, of which interventions know nothing: "
            "run the whole prompt in one pass, without prefill_chunk_size, and a turn with "
            "other images on a cache of its own"
        )
