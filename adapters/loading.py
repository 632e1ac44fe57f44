"""From a name, a folder or a (model, processor) pair to a model that is ready to use."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from lvlmsal.adapters.backends import backend_problem
from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.images import MAX_IMAGE_PIXELS
from lvlmsal.adapters.lookup import adapter_class, adapter_for
from lvlmsal.adapters.peft_folders import merged
from lvlmsal.adapters.processors import load_processor
from lvlmsal.adapters.refused import REVERSE_MARKS, refusal
from lvlmsal.adapters.sources import Source, find_source
from lvlmsal.errors import DataError, LvlmsalError, UnsupportedError
from lvlmsal.registry import ADAPTERS, CATALOG, CheckpointCard

logger = logging.getLogger("lvlmsal")


@dataclass(frozen=True)
class Loaded:
    """A model with everything that belongs to it.

    Attributes:
        model: In evaluation mode and without gradients of its weights, where it was loaded here.
        processor: For images and text.
        adapter: Of both.
        card: Entry of the catalog; None where the source was no name of it, and no pair whose model
            came from one of its checkpoints.
    """

    model: PreTrainedModel
    processor: Any
    adapter: ModelAdapter
    card: CheckpointCard | None = None


def load_checkpoint(
    source: str | Path | tuple[torch.nn.Module, Any],
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    device_map: Any | None = None,
    image_backend: str = "auto",
    max_image_pixels: int | None = None,
    base: str | Path | None = None,
) -> Loaded:
    """Load a model and its processor, or take those that are given.

    Everything that can be wrong with a folder is found before its weights are read. Weights are
    read from safetensors files only, since other formats can run code.

    Args:
        source: Name in the catalog, id on the model hub (``"owner/name"``), folder, or a
            (model, processor) pair, which is taken as it is. The model may be inside of a PEFT,
            ``torch.compile``, DataParallel or DDP wrapper. Of a folder of PEFT the adapter (LoRA)
            is merged into the weights of what it was trained on.
        dtype: Of the weights, such as ``"bfloat16"``; None: as saved.
        device: Where the model goes; None: the CPU.
        revision: Branch, tag or commit on the hub; None: that of the catalog, else the newest.
        trust_remote_code: Whether to run code that comes with a checkpoint.
        device_map: How to spread the model over devices, as transformers takes it; not together
            with `device`.
        image_backend: What resizes images: ``"pil"``, ``"torchvision"``, or ``"auto"`` for what
            transformers chooses.
        max_image_pixels: Of the largest image that the model is shown; None: 100 million.
        base: What the adapter of a folder of PEFT goes into; None: what its config names.

    Returns:
        What was loaded.

    Raises:
        UnknownName: The source is not a name of the catalog, no folder and no hub id.
        DataError: A folder lacks something or holds something broken.
        UnsupportedError: No adapter for the architecture, or options that do not fit together.
        LvlmsalError: The hub does not give the checkpoint.
    """
    if device is not None and device_map is not None:
        raise UnsupportedError(f"give device={device!r} or device_map={device_map!r}, not both")
    problem = backend_problem(image_backend)
    if problem:
        raise UnsupportedError(problem)
    limit = MAX_IMAGE_PIXELS if max_image_pixels is None else max_image_pixels
    if limit < 1:
        raise UnsupportedError(f"max_image_pixels must be at least 1, got {limit}")
    if not isinstance(source, str | Path):
        given = (dtype, device, revision, device_map, base)
        chosen = trust_remote_code or image_backend != "auto"
        if chosen or any(option is not None for option in given):
            raise UnsupportedError(
                "dtype, device, revision, trust_remote_code, device_map, image_backend and base "
                "are for loading; a (model, processor) pair is taken as it is"
            )
        pair = _take_pair(source)
        pair.adapter.max_image_pixels = limit
        return pair
    found = find_source(source, revision, base).looked_up()
    with found.loading():
        family, processor, _ = _read(found, trust_remote_code, image_backend)
        model = _load_model(found, family, dtype, device_map, trust_remote_code)
    if found.adapter is not None:
        model = _at_rest(merged(model, found.adapter))
    if device is not None:
        torch.nn.Module.to(model, device)
    adapter = adapter_for(model, processor)
    _say_marks(adapter)
    adapter.max_image_pixels = limit
    return Loaded(model, processor, adapter, found.card)


def load_outline(
    source: str | Path,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    image_backend: str = "auto",
    base: str | Path | None = None,
) -> tuple[Loaded, Source, bool]:
    """Load everything of a checkpoint but its weights.

    Args:
        source: As for :func:`load_checkpoint`, no pair.
        revision: As there.
        trust_remote_code: As there.
        image_backend: As there.
        base: As there.

    Returns:
        What was loaded, with a model on the device ``meta``; where it comes from; and whether its
        weights were found to be those of the model, by name and shape. Those on the hub are not
        looked at, nor are any without the package accelerate.

    Raises:
        LvlmsalError: As there.
    """
    problem = backend_problem(image_backend)
    if problem:
        raise UnsupportedError(problem)
    found = find_source(source, revision, base).looked_up()
    compared = found.local and importlib.util.find_spec("accelerate") is not None
    with found.loading():
        family, processor, config = _read(found, trust_remote_code, image_backend)
        if compared:
            model = _load_model(found, family, None, "meta", trust_remote_code)
        else:
            with torch.device("meta"):
                auto_class: Any = getattr(transformers, family.auto_class)
                model = auto_class.from_config(config, trust_remote_code=trust_remote_code)
    return Loaded(model, processor, adapter_for(model, processor), found.card), found, compared


def _read(
    source: Source, trust_remote_code: bool, image_backend: str
) -> tuple[type[ModelAdapter], Any, PreTrainedConfig]:
    """The adapter, the processor and the configuration of a checkpoint."""
    config = _read_config(source, trust_remote_code)
    family = adapter_class(config.architectures or (), config)
    processor = load_processor(
        source,
        config,
        family.image_only_processor,
        trust_remote_code=trust_remote_code,
        image_backend=image_backend,
    )
    return family, processor, config


def _take_pair(pair: Any) -> Loaded:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise UnsupportedError(
            "expected a catalog name, a folder, a hub id or a pair (model, processor), got "
            f"{type(pair).__name__}"
        )
    adapter = adapter_for(*pair)
    # What transformers loaded the model from; training changes the weights, not the name.
    name = getattr(adapter.model.config, "_name_or_path", "")
    return Loaded(adapter.model, adapter.processor, adapter, CATALOG.of_checkpoint(str(name)))


def _read_config(source: Source, trust_remote_code: bool) -> PreTrainedConfig:
    try:
        # read without the code that some of them bring
        written, _ = PreTrainedConfig.get_config_dict(source.location, revision=source.revision)
        said = refusal(written, source.location)
        if said:
            raise UnsupportedError(said)
        for name in map(str, written.get("architectures") or ()):
            if name in ADAPTERS:  # it may bring a model, and tell transformers of that
                ADAPTERS.get(name)
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            source.location, revision=source.revision, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise source.error("the configuration cannot be read", error) from error
    return config


def _load_model(
    source: Source,
    family: type[ModelAdapter],
    dtype: str | torch.dtype | None,
    device_map: Any,
    trust_remote_code: bool,
) -> PreTrainedModel:
    """Read the weights, and refuse a checkpoint that leaves some of them to chance."""
    try:
        auto_class: Any = getattr(transformers, family.auto_class)
        model, report = auto_class.from_pretrained(
            source.location,
            revision=source.revision,
            dtype="auto" if dtype is None else dtype,
            device_map=device_map,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise DataError(f"the weights are broken: {error}", path=source.location) from error
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise source.error("the weights cannot be loaded", error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise LvlmsalError(
            f"{source.location} lacks {len(missing)} of the weights of its model, among them "
            f"{', '.join(missing[:3])}; without them it would answer at random"
        )
    return _at_rest(model)


def _say_marks(adapter: ModelAdapter) -> None:
    """Say of a checkpoint of REVERSE which decoder it was trained for."""
    if set(REVERSE_MARKS) <= set(adapter.tokenizer.get_vocab()):
        logger.warning(
            "this is a checkpoint of REVERSE: decoder 'reverse' has its loop; other decoders leave "
            "its marks (%s) in the answers, which is neither the method nor its control",
            ", ".join(REVERSE_MARKS),
        )


def _at_rest(model: PreTrainedModel) -> PreTrainedModel:
    """A model in evaluation mode, without gradients of its weights."""
    model.requires_grad_(False)
    model.train(False)
    return model
