"""Processors for images and text where transformers cannot build the full one.

Every processor of transformers that also takes videos needs the package torchvision, even if it
never sees a video. Those below are the same without the video part.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from transformers import (
    AutoProcessor,
    Glm4vProcessor,
    Glm46VProcessor,
    Idefics3Processor,
    InternVLProcessor,
    LlavaNextVideoProcessor,
    LlavaOnevisionProcessor,
    PerceptionLMProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5OmniProcessor,
    Qwen2VLProcessor,
    Qwen3VLProcessor,
    VideoLlama3Processor,
    VideoLlavaProcessor,
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


# What a model was handed over with, for adapters that are made of the model alone later on.
_GIVEN: WeakKeyDictionary[PreTrainedModel, Any] = WeakKeyDictionary()


def remember_processor(model: PreTrainedModel, processor: Any) -> None:
    """Keep the processor that a model was handed over with, as long as there is the model."""
    _GIVEN[model] = processor


def given_processor(model: PreTrainedModel) -> Any | None:
    """The processor that a model was handed over with; None without one."""
    return _GIVEN.get(model)


def own_processor(model: PreTrainedModel, image_only: Any | None) -> Any:
    """The processor that a model was handed over with, or that of its own folder.

    Args:
        model: That was read from a folder.
        image_only: As for :func:`load_processor`.

    Raises:
        UnsupportedError: The model does not say in which folder its checkpoint is.
    """
    if (given := given_processor(model)) is not None:
        return given
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
_Mixin: Any = ProcessorMixin


class WithoutVideos(_Mixin):  # type: ignore[misc]
    """Behind a processor's own class, it lets that be built without the part for videos.

    The class's own ``__init__`` runs, and hands the parts to this one.

    Args:
        *parts: That the class hands over, its video part None.
        **options: As the class gives them.
    """

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*(part for part in parts if part is not None), **options)

    @classmethod
    def get_attributes(cls) -> list[str]:
        """Names of the parts."""
        return [name for name in super().get_attributes() if name != "video_processor"]


class ImageOnlyQwen2VLProcessor(Qwen2VLProcessor, WithoutVideos):
    """Qwen2-VL and Qwen2.5-VL without videos."""


class ImageOnlyInternVLProcessor(InternVLProcessor, WithoutVideos):
    """InternVL without videos."""


class ImageOnlyQwen3VLProcessor(Qwen3VLProcessor, WithoutVideos):
    """Qwen3-VL without videos."""


class ImageOnlyQwen25OmniProcessor(Qwen2_5OmniProcessor, WithoutVideos):
    """Qwen2.5-Omni without videos."""


class ImageOnlyGlm4vProcessor(Glm4vProcessor, WithoutVideos):
    """GLM-4.1V without videos."""


class ImageOnlyGlm46VProcessor(Glm46VProcessor, WithoutVideos):
    """GLM-4.6V without videos."""


class ImageOnlyVideoLlama3Processor(VideoLlama3Processor, WithoutVideos):
    """VideoLLaMA3 without videos."""


class ImageOnlyLlavaNextVideoProcessor(LlavaNextVideoProcessor, WithoutVideos):
    """LLaVA-NeXT-Video without videos."""


class ImageOnlyLlavaOnevisionProcessor(LlavaOnevisionProcessor, WithoutVideos):
    """LLaVA-OneVision without videos."""


class ImageOnlyVideoLlavaProcessor(VideoLlavaProcessor, WithoutVideos):
    """Video-LLaVA without videos."""


class ImageOnlyPerceptionLMProcessor(PerceptionLMProcessor, WithoutVideos):
    """PerceptionLM without videos."""


class ImageOnlySmolVLMProcessor(Idefics3Processor):
    """SmolVLM without videos, which is Idefics3's processor."""
