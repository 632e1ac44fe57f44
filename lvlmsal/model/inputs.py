"""How the images of a question may be given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from lvlmsal.adapters.images import MAX_IMAGE_PIXELS, open_image
from lvlmsal.adapters.messages import Prompt, images_within
from lvlmsal.adapters.videos import Opened, VisualLike, is_visual, open_visual
from lvlmsal.errors import DataError

Images = VisualLike | Sequence[VisualLike] | None
"""The image or images of one question, videos among them; ``None`` for one without any."""


def opened(images: Images, *, max_pixels: int = MAX_IMAGE_PIXELS, sample: str = "") -> list[Opened]:
    """The images of one question in RGB, as :func:`lvlmsal.adapters.open_image` reads them.

    Args:
        images: One image or video, or a list of them; None for none.
        max_pixels: Refuse images of more pixels.
        sample: What a message calls the question; empty where there is only one.

    Raises:
        DataError: An image cannot be read; the message names it by its path, or by its number.

    >>> opened(None)
    []
    """
    if images is None:
        return []
    entries: list[Any] = [images] if is_visual(images) else _listed(images)
    pictures = []
    for number, entry in enumerate(entries):
        try:
            pictures.append(open_visual(entry, max_pixels=max_pixels))
        except DataError as error:
            if error.path is not None:
                raise
            place = f"image {number}" if len(entries) > 1 else "the image"
            of = f" of sample {sample}" if sample else ""
            raise DataError(f"{place}{of}: {error.message}") from error
    return pictures


def opened_batch(
    entries: Sequence[Images], *, max_pixels: int, sample_ids: Sequence[str] = ()
) -> tuple[list[list[Opened]], list[Images]]:
    """The images of several questions, and what they can be read from once more.

    Args:
        entries: The images of each question.
        max_pixels: Refuse images of more pixels.
        sample_ids: What messages call the questions; their numbers by default.

    Returns:
        The images in RGB. And for each question its paths, which take no memory until a diagnosis
        reads them, or else the same images, since a file may be read only once.

    Raises:
        DataError: As of :func:`opened`.
    """
    names = list(sample_ids) or [str(number) for number in range(len(entries))]
    # Once, for there may be a generator among them, or a map of paths.
    given = [e if e is None or is_visual(e) else _listed(e) for e in entries]
    pictures = [
        opened(entry, max_pixels=max_pixels, sample=name if len(entries) > 1 else "")
        for entry, name in zip(given, names, strict=True)
    ]
    again = [
        entry if _is_paths(entry) else list(found)
        for entry, found in zip(given, pictures, strict=True)
    ]
    return pictures, again


def images_of(prompt: Prompt, images: Images) -> Images:
    """The images of a question: those that were given, or those within its messages.

    Raises:
        DataError: There are both.
    """
    within = images_within(prompt)
    if not within:
        return images
    if images is None:
        return within
    raise DataError(
        "images were given, and the messages hold images as well: give None for the images, or "
        "parts {'type': 'image'} without any"
    )


def one_entry_each(images: Any, prompts: Sequence[Prompt]) -> list[Any]:
    """The images of several questions, as many entries as there are questions.

    Args:
        images: An entry for each; None where none of the questions has any, or all of them are
            messages that hold theirs.
        prompts: The questions.

    Raises:
        DataError: One image was given for all of them.
        ValueError: The numbers differ.
    """
    if images is None:
        return [None] * len(prompts)
    if is_visual(images):
        raise DataError(
            f"one image was given for a list of {len(prompts)} prompts: give a list with an entry "
            "for each prompt, or ask them all about the same image with lvlm.ask(image, prompts)"
        )
    entries = _listed(images)
    if len(entries) != len(prompts):
        raise ValueError(f"{len(entries)} image entries were given for {len(prompts)} prompts")
    return entries


def _listed(images: Any) -> list[Any]:
    if isinstance(images, dict) or not hasattr(images, "__iter__"):
        # says what was given and what is expected
        open_image(images)
    return list(images)


def _is_paths(entry: Any) -> bool:
    parts = [entry] if is_visual(entry) else entry
    return parts is not None and all(isinstance(part, str | os.PathLike) for part in parts)
