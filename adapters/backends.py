"""What resizes images for a model: Pillow or torchvision, which differ by a gray level or two."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

from lvlmsal.adapters.sources import Source
from lvlmsal.errors import UnsupportedError, close_matches

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

IMAGE_BACKENDS: Final = ("auto", "pil", "torchvision")
"""``auto`` is what transformers chooses: torchvision where it is installed, otherwise Pillow."""


def backend_problem(name: str) -> str:
    """Why an image backend cannot be had here, or an empty text.

    Args:
        name: As a config or a call names it.
    """
    if name not in IMAGE_BACKENDS:
        return (
            f"there is no image_backend {name!r}.{close_matches(str(name), IMAGE_BACKENDS)} "
            f"Known: {', '.join(IMAGE_BACKENDS)}"
        )
    if name == "torchvision" and importlib.util.find_spec(name) is None:
        return (
            "image_backend 'torchvision' needs the package torchvision, which is not installed: "
            "`pip install torchvision` in the version that belongs to your torch, or choose "
            "image_backend 'pil'"
        )
    return ""


def image_backend(processor: Any) -> str | None:
    """What a processor resizes images with; None where it does not say.

    Args:
        processor: For images and text.
    """
    backend = getattr(getattr(processor, "image_processor", None), "backend", None)
    return backend if isinstance(backend, str) else None


def use_backend(
    processor: Any, name: str, source: Source, config: PreTrainedConfig, options: dict[str, Any]
) -> None:
    """Give a processor the image processor of one backend.

    Args:
        processor: Of the checkpoint.
        name: ``"pil"`` or ``"torchvision"``.
        source: The checkpoint.
        config: Of its model.
        options: Of `from_pretrained`.

    Raises:
        UnsupportedError: The checkpoint has no image processor of this backend.
        LvlmsalError: It cannot be loaded.
    """
    from transformers import AutoImageProcessor

    if image_backend(processor) == name:
        return
    auto: Any = AutoImageProcessor  # transformers leaves it without types
    try:
        found = auto.from_pretrained(source.location, config=config, backend=name, **options)
    except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
        raise source.error(f"the image processor for {name} cannot be loaded", error) from error
    # transformers falls back to another backend with no more than a warning
    if found.backend != name:
        raise UnsupportedError(
            f"{source.location} has no image processor for image_backend {name!r}, only "
            f"{type(found).__name__} ({found.backend}): choose image_backend 'auto'"
        )
    processor.image_processor = found
