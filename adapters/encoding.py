"""From questions and images to the inputs of a model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters.images import MAX_IMAGE_PIXELS, seen_part
from lvlmsal.adapters.messages import Prompt, texts_of
from lvlmsal.adapters.prompts import (
    append_tokens,
    begins,
    check_text,
)
from lvlmsal.adapters.videos import (
    Clip,
    Opened,
    VisualLike,
    clips_among,
    images_among,
    open_visual,
)
from lvlmsal.adapters.writing import Writing
from lvlmsal.errors import DataError, LvlmsalError, UnsupportedError, is_out_of_memory


class Encoding(Writing):
    """How a family writes prompts and images, through its processor."""

    max_image_pixels: int = MAX_IMAGE_PIXELS  # images of more pixels are refused

    def encode(
        self,
        images: Sequence[Sequence[VisualLike]],
        prompts: Sequence[Prompt],
        *,
        template: bool = True,
    ) -> dict[str, Tensor]:
        """Turn images and questions into the inputs of `model.generate`, padded at the left.

        Args:
            images: The images and videos of each sample.
            prompts: The question of each sample, or messages. The chat template puts the images in
                front of it; a prompt that holds the placeholder keeps it where it is.
            template: False takes each prompt as it is, placeholders and turn marks included.

        Returns:
            Tensors on the model's device, those of pixels in its dtype.

        Raises:
            DataError: An image cannot be read, a question cannot be tokenized, the numbers of
                images and placeholders differ, or the processor refuses a sample.
            LvlmsalError: A batch is empty, or lists are of different length.
            UnsupportedError: The processor lacks a chat template or a padding token, or there are
                videos and the family or the processor takes none.
        """
        return self.place(build_inputs(self, images, prompts, template=template))

    def arrange(self, images: Sequence[Sequence[Image.Image]]) -> Any:
        """The images of a batch as the processor takes them: by default all in one list.

        Args:
            images: Those of each sample.
        """
        return [picture for pictures in images for picture in pictures] or None

    def process(
        self, texts: Sequence[str], images: Sequence[Sequence[Image.Image]]
    ) -> Mapping[str, Any]:
        """Run the processor on rendered prompts and their images, padded at the left.

        Args:
            texts: Of each sample, as :meth:`render` writes them.
            images: Of each sample.

        Returns:
            Tensors by name; other values are dropped.
        """
        return self.process_videos(texts, images, ())

    def process_videos(
        self,
        texts: Sequence[str],
        images: Sequence[Sequence[Image.Image]],
        videos: Sequence[Sequence[Clip]],
    ) -> Mapping[str, Any]:
        """The same where there are videos, whose frames are chosen already.

        Args:
            texts: As in :meth:`process`.
            images: As in :meth:`process`.
            videos: Of each sample.

        Raises:
            DataError: The model is told the time of frames, and it is not known.
            UnsupportedError: There are images too, and the model takes videos alone; or several
                videos in a sample, and it takes one.
        """
        name = type(self).__name__
        if self.videos_alone and any(images) and any(videos):
            raise UnsupportedError(
                f"{name} takes images and videos, but not both in one batch, for the model or its "
                "processor does not: ask about videos and about images in calls of their own"
            )
        if self.one_video and any(len(clips) > 1 for clips in videos):
            raise UnsupportedError(
                f"{name} takes one video a sample, as its processor does, and more were given: ask "
                "about each by itself"
            )
        processor = self.require_processor()
        found: Mapping[str, Any] = processor(
            text=list(texts),
            images=self.arrange(images),
            **self.video_arguments([clip for of_sample in videos for clip in of_sample]),
            padding=len(texts) > 1,
            padding_side="left",
            add_special_tokens=not begins(processor.tokenizer, texts[0]),
            return_tensors="pt",
        )
        return found

    def seen_part(self, picture: Image.Image) -> Image.Image:
        """The part of a picture that its patches come from: some processors cut off the margins."""
        return seen_part(picture, self.require_processor().image_processor)

    def place(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Complete inputs, drop what the model does not take, move them to its device and dtype."""
        device, dtype = self.model.device, self.model.dtype
        return {
            # times become positions, and are not rounded
            name: value.to(device, None if name in self.video_inputs else _dtype(value, dtype))
            for name, value in self.fitting(inputs).items()
        }

    def fitting(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Complete inputs, and drop what the model does not take."""
        accepted = set(inspect.signature(type(self.model).forward).parameters)
        made = self.complete(dict(inputs))
        return {name: value for name, value in made.items() if name in accepted}

    def complete(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add inputs that the model needs and that a processor may leave out."""
        return inputs

    def append(self, inputs: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
        """Add text tokens behind a prompt, for a pass over prompt and answer at once.

        Args:
            inputs: Of the prompt, as from :meth:`encode`; what is not text is shared with them.
            ids: Token ids, shape (B, n).
        """
        return append_tokens(self.model, inputs, ids)


def build_inputs(
    adapter: Encoding,
    images: Sequence[Sequence[VisualLike]],
    prompts: Sequence[Prompt],
    *,
    template: bool = True,
) -> dict[str, Tensor]:
    """Render each prompt, check it against its images, and run the processor once.

    Args:
        adapter: With a processor for images and text.
        images: The images and videos of each sample.
        prompts: The question of each sample, or messages.
        template: False takes the prompts, which are texts then, as they are.

    Returns:
        Everything that the processor made, padded at the left.

    Raises:
        DataError: An image cannot be read, a question cannot be tokenized, the numbers of images
            and placeholders differ, or the processor refuses a sample.
        LvlmsalError: A batch is empty, or lists are of different length.
        UnsupportedError: The processor lacks a chat template or a padding token that is needed.
    """
    if not prompts or len(images) != len(prompts):
        raise LvlmsalError(
            f"{len(prompts)} prompts and {len(images)} lists of images were given; expected one "
            "list of images for each of at least one prompt"
        )
    processor = adapter.require_processor()
    texts = []
    for number, (prompt, pictures) in enumerate(zip(prompts, images, strict=True)):
        for part in texts_of(prompt):
            check_text(part, f"the prompt of sample {number}")
        texts.append(adapter.write(prompt, pictures, sample=number, template=template))
    tokenizer = processor.tokenizer
    if len(texts) > 1 and tokenizer.pad_token is None:
        raise UnsupportedError(
            "the tokenizer has no padding token, so only one prompt at a time can be used; "
            "for a batch set one: processor.tokenizer.pad_token = processor.tokenizer.eos_token"
        )
    limit = adapter.max_image_pixels
    opened = [[open_visual(entry, max_pixels=limit) for entry in entries] for entries in images]
    try:
        inputs = _processed(adapter, texts, opened)
    # What a processor raises for an image or a text that it does not take is of any kind.
    except Exception as error:
        if isinstance(error, LvlmsalError) or is_out_of_memory(error):
            raise
        raise _refusal(adapter, texts, opened, error) from error
    return {name: value for name, value in inputs.items() if isinstance(value, Tensor)}


def _processed(
    adapter: Encoding, texts: Sequence[str], visuals: Sequence[Sequence[Opened]]
) -> Mapping[str, Any]:
    images, videos = [images_among(v) for v in visuals], [clips_among(v) for v in visuals]
    if any(videos):
        return adapter.process_videos(texts, images, videos)
    return adapter.process(texts, images)


def _dtype(value: Tensor, dtype: torch.dtype) -> torch.dtype | None:
    return dtype if value.is_floating_point() else None


def _refusal(
    adapter: Encoding, texts: Sequence[str], images: Sequence[Sequence[Opened]], error: Exception
) -> DataError:
    """Name the sample that a processor refuses, by running it on each of them alone."""
    number, cause = -1, str(error) or type(error).__name__
    for candidate, (text, pictures) in enumerate(zip(texts, images, strict=True)):
        try:
            _processed(adapter, [text], [pictures])
        # of any kind, as above
        except Exception as own:
            number, cause = candidate, str(own) or type(own).__name__
            if isinstance(own, KeyError):  # which says no more than the key
                cause = f"{type(own).__name__}: {own}"
            break
    reason = f"{type(adapter.processor).__name__} refuses it: {cause}"
    if number < 0:
        return DataError(f"the batch of {len(texts)} samples: {reason}")
    sizes = ", ".join("{} x {}".format(*picture.size) for picture in images[number])
    what = f"with images of {sizes} pixels" if sizes else "without images"
    return DataError(f"sample {number} ({what}): {reason}")
