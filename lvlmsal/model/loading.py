"""From a name, a folder or a model of one's own to an :class:`~lvlmsal.model.lvlm.Lvlm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lvlmsal.adapters import load_checkpoint
from lvlmsal.model.lvlm import Lvlm


def load(
    source: str | Path | tuple[torch.nn.Module, Any],
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    device_map: str | dict[str, Any] | None = None,
    image_backend: str = "auto",
    max_image_pixels: int | None = None,
    base: str | Path | None = None,
) -> Lvlm:
    """Load a model that can be asked, diagnosed and evaluated.

    Args:
        source: a catalog name (``lvlmsal list checkpoints``), a hub id, a local folder, or a
            (model, processor) pair of your own. A model in a PEFT, ``torch.compile``, DataParallel
            or DDP wrapper is taken out of it; what the wrapper does to its layers stays. The
            adapter in a folder of PEFT (LoRA) is merged into the weights of its base.
        dtype: of the weights, for instance ``"bfloat16"``; as stored by default.
        device: ``"cuda"``, ``"cpu"``; the CPU by default. Not together with ``device_map``.
        revision: of a hub id.
        trust_remote_code: whether code from the hub may run.
        device_map: as in transformers, for models that are spread over devices.
        image_backend: ``"pil"`` or ``"torchvision"``; by default what transformers chooses.
        max_image_pixels: larger images are refused, by default those over 100 million pixels.
        base: of a folder of PEFT: what its adapter goes into; by default what its config names.

    Raises:
        UnsupportedError: no adapter for the architecture.
        UnknownName: neither a catalog name nor a folder nor a hub id.
    """
    return Lvlm(
        load_checkpoint(
            source,
            dtype=dtype,
            device=device,
            revision=revision,
            trust_remote_code=trust_remote_code,
            device_map=device_map,
            image_backend=image_backend,
            max_image_pixels=max_image_pixels,
            base=base,
        )
    )
