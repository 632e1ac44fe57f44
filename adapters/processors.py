"""Processors for images and text where transformers cannot build the full one.

Every processor of transformers that also takes videos needs the package torchvision, even if it
never sees a video. Those below are the same without the video part.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from transformers import (
    AutoProcessor,
    Idefics3Processor,
    InternVLProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2VLProcessor,
)

from lvlmsal.adapters.backends import use_backend
from lvlmsal.adapters.sources import Source
from lvlmsal.errors import UnsupportedError

logger = logging.getLogger("lvlmsal")


def load_processor(
    source: Source,
    config: PreTrainedConfig,
    image_only: Any | None,
    *,
    trust_remote_code: bool = False,
    image_backend: str = "auto",
) -> Any:
    """Load the processor of a checkpoint, without its video part where that cannot be built.

    Args:
        source: The checkpoint.
        config: Of its model, by which the kind of processor is known.
        image_only: Class of what to build where the full processor fails; None: nothing.
        trust_remote_code: Whether to run code that comes with a checkpoint.
        image_backend: What resizes images, see :mod:`lvlmsal.adapters.backends`.

    Returns:
        A processor for images and text.

    Raises:
        LvlmsalError: Neither can be built.
    """
    options: dict[str, Any] = {
        "revision": source.revision,
        "trust_remote_code": trust_remote_code,
    }
    processor = _whole_processor(source, config, image_only, options)
    if image_backend != "auto":
        with without_advice():
            use_backend(processor, image_backend, source, config, options)
    return processor


def _whole_processor(
    source: Source, config: PreTrainedConfig, image_only: Any | None, options: dict[str, Any]
) -> Any:
    """The processor with the image backend that transformers chooses."""
    full: Any = AutoProcessor  # transformers leaves it without types
    with without_advice():
        try:
            processor = full.from_pretrained(source.location, config=config, **options)
            if hasattr(processor, "image_processor"):
                return processor
            failure: Exception = ValueError("it has no processor for images")
        # What the missing torchvision leads to differs from family to family.
        except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
            failure = error
        if image_only is None:
            raise source.error("the processor cannot be loaded", failure) from failure
        try:
            processor = image_only.from_pretrained(source.location, **options)
        except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
            raise source.error("the processor cannot be loaded", error) from failure
    _say_image_only(config.model_type)
    return processor


def own_processor(model: PreTrainedModel, image_only: Any | None) -> Any:
    """Load the processor of a model's own folder, for one that was handed over by itself.

    Args:
        model: That was read from a folder.
        image_only: As for :func:`load_processor`.

    Raises:
        UnsupportedError: The model does not say in which folder its checkpoint is.
    """
    folder = str(model.name_or_path or "")
    if not folder or not Path(folder, "config.json").is_file():
        raise UnsupportedError(
            "this needs the model's processor, and only the model was given: "
            "lvlmsal.load((model, processor)), and its `.adapter` for intervene(...)"
        )
    return load_processor(Source(folder, None, None, local=True), model.config, image_only)


@cache
def _say_image_only(model_type: str) -> None:
    """Say once in a process that a family goes without videos."""
    logger.warning(
        "%s: using a processor for images alone, since transformers cannot build the one that also "
        "takes videos here; `pip install torchvision` gives it what it needs",
        model_type,
    )


@contextmanager
def without_advice() -> Iterator[None]:
    """Drop transformers' advice to install torchvision, which this module makes up for."""

    def keep(record: logging.LogRecord) -> bool:
        return "requires torchvision" not in record.getMessage()

    talker = logging.getLogger("transformers.utils.import_utils")
    talker.addFilter(keep)
    try:
        yield
    finally:
        talker.removeFilter(keep)


# transformers leaves it without types.
_init: Any = ProcessorMixin.__init__


class ImageOnlyQwen2VLProcessor(Qwen2VLProcessor):
    """Qwen2-VL and Qwen2.5-VL without videos.

    Args:
        image_processor: Of Qwen2-VL.
        tokenizer: With the placeholders ``<|image_pad|>`` and ``<|video_pad|>``.
        chat_template: In the format of transformers.
        **kwargs: What else a saved processor holds; not needed here.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # Not the parent's own, which insists on a video processor.
        _init(self, image_processor, tokenizer, chat_template=chat_template)


class ImageOnlyInternVLProcessor(InternVLProcessor):
    """InternVL without videos.

    Args:
        image_processor: Of InternVL, which cuts an image into tiles.
        tokenizer: Which knows the marks around and inside an image by name.
        image_seq_length: Visual tokens of one tile.
        chat_template: In the format of transformers.
        **kwargs: What else a saved processor holds; not needed here.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        image_seq_length: int = 256,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_seq_length = image_seq_length
        self.start_image_token = tokenizer.start_image_token
        self.end_image_token = tokenizer.end_image_token
        self.start_image_token_id = tokenizer.start_image_token_id
        self.end_image_token_id = tokenizer.end_image_token_id
        self.image_token = tokenizer.context_image_token
        self.image_token_id = tokenizer.context_image_token_id
        self.video_token = tokenizer.video_token
        image, video = re.escape(self.image_token), re.escape(self.video_token)
        self.multimodal_pattern = re.compile(f"(?P<image>{image})|(?P<video>{video})")
        # Not the parent's own, which insists on a video processor.
        _init(self, image_processor, tokenizer, chat_template=chat_template)


class ImageOnlySmolVLMProcessor(Idefics3Processor):
    """SmolVLM without videos, which is Idefics3's processor."""
