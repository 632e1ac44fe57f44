"""From the folders of LLaVA's own code (Liu et al. 2023) to the form that transformers reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessor,
    LlavaProcessor,
    MistralConfig,
    PreTrainedModel,
)

from lvlmsal.adapters.concentric import CcaLlavaForConditionalGeneration
from lvlmsal.adapters.forms import is_concentric, read_config
from lvlmsal.adapters.processors import without_advice
from lvlmsal.errors import ConfigError, DataError, UnsupportedError
from lvlmsal.model.conversations import IMAGE, template_for
from lvlmsal.model.original_weights import original_weights, renamed

_TEXT: Final[dict[str, Any]] = {
    "LlavaLlamaForCausalLM": LlamaConfig,
    "LlavaMistralForCausalLM": MistralConfig,
}
KINDS: Final[dict[str, Any]] = {
    "llava": LlavaForConditionalGeneration,
    "cca-llava": CcaLlavaForConditionalGeneration,
}
"""What a folder may become, which its weights do not tell."""

_WANTED: Final[tuple[tuple[str, tuple[Any, ...], str], ...]] = (
    ("mm_projector_type", ("mlp2x_gelu",), "the projector of LLaVA-1.5, two layers"),
    ("mm_resampler_type", (None,), "no resampler"),
    ("mm_use_im_start_end", (False, None), "images without marks around them"),
    ("mm_vision_select_feature", ("patch", "cls_patch", None), "features of patches"),
    ("mm_patch_merge_type", ("flat", None), "one square image"),
    ("image_aspect_ratio", ("pad", "square", None), "one square image"),
)
"""What a config must say to have a counterpart in transformers' LLaVA, and what that is."""


def convert(
    source: str | Path,
    output: str | Path,
    *,
    vision_tower: str | Path | None = None,
    base: str | Path | None = None,
    allow_bin: bool = False,
    kind: str | None = None,
) -> Path:
    """Write a checkpoint of LLaVA's own code in the form that transformers and this library read.

    The logits are those of the original code. A folder of CCA-LLaVA, which its name or its model
    card tells unless `kind` does, becomes one of that model here; all others are LLaVA. Images are
    padded to a square
    where the config says so (`image_aspect_ratio`), and the chat template is LLaVA-1.5's own
    conversation with its system sentence, unless the folder has one that writes images. Rows of the
    vocabulary that are added for the placeholder of an image are the mean of the others, which is
    never the largest logit.

    Args:
        source: Folder of a whole model (`LlavaLlamaForCausalLM`, `LlavaMistralForCausalLM`), of a
            LoRA of one, or of a projector alone (`mm_projector.bin`), with its `config.json`.
        output: Folder to write; it must be empty or missing.
        vision_tower: Folder or hub id of the CLIP model; None: the `mm_vision_tower` of the config.
        base: Folder of the language model that a LoRA or a projector stands on.
        allow_bin: Whether to read pickled files (`.bin`), of which tensors alone are taken.
        kind: ``"llava"`` or ``"cca-llava"``; None: as name and model card say.

    Returns:
        The folder that was written.

    Raises:
        ConfigError: An unknown kind.
        DataError: A folder lacks something or holds something broken.
        UnsupportedError: transformers has no counterpart of this model, files are pickled, or it is
            a Llama 3 without a chat template.
    """
    if kind not in (None, *KINDS):
        raise ConfigError([f"kind must be {' or '.join(KINDS)}, got {kind!r}"])
    folder, target = Path(source).expanduser(), Path(output).expanduser()
    lower = None if base is None else Path(base).expanduser()
    config = _config(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(
            "this exists already: give a folder that is empty or not there", path=target
        )
    tower = str(vision_tower or config.get("mm_vision_tower") or "")
    weights = original_weights(folder, lower, allow_bin=allow_bin)
    if "model.image_newline" in weights:
        raise UnsupportedError(
            f"{folder}: this is LLaVA-1.6 (LLaVA-NeXT), which is not converted here: take the same "
            "weights in the form of transformers, such as llava-hf/llava-v1.6-vicuna-7b-hf"
        )
    vision, image_processor = _tower(tower, config)
    tokenizer = _tokenizer(folder, lower)
    template = template_for(folder, tokenizer)
    image_id = tokenizer.convert_tokens_to_ids(IMAGE)
    _extend(weights, len(tokenizer))
    made = KINDS[kind or ("cca-llava" if is_concentric(folder, config) else "llava")]
    with torch.device("meta"):
        model = made(_llava_config(made.config_class, config, vision, image_id, weights))
    found = renamed(weights, model)
    prefix = "model.vision_tower."
    if not any(name.startswith(prefix) for name in found):
        own = _tower_weights(tower, allow_bin)
        found |= {prefix + name: value for name, value in own.items()}
    # as the original casts its tower, and a projector that was trained in another dtype
    dtype = weights["model.embed_tokens.weight"].dtype
    _fill(model, {name: value.to(dtype) for name, value in found.items()}, folder)
    processor: Any = LlavaProcessor
    asked = processor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=vision.patch_size,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
        chat_template=template,
    )
    model.save_pretrained(target)
    asked.save_pretrained(target)
    return target


def _config(folder: Path) -> dict[str, Any]:
    """The configuration of an original checkpoint that has a counterpart in transformers."""
    if not folder.is_dir():
        raise DataError(
            "there is no such folder; one of the hub is fetched with `hf download NAME "
            "--local-dir FOLDER`",
            path=folder,
        )
    config = read_config(folder)
    names = [str(name) for name in config.get("architectures") or ()]
    if not any(name in _TEXT for name in names):
        raise UnsupportedError(
            f"{folder}: expected a folder of LLaVA's own code, whose config.json says "
            f"{' or '.join(_TEXT)}, got {', '.join(names) or 'none'}; what transformers reads "
            "needs no conversion"
        )
    for key, wanted, means in _WANTED:
        if config.get(key) not in wanted:
            raise UnsupportedError(
                f"{folder}: {key} is {config.get(key)!r}, and transformers' LLaVA has {means} "
                f"({' or '.join(repr(value) for value in wanted if value is not None) or 'null'})"
            )
    return config


def _tower(tower: str, config: Mapping[str, Any]) -> tuple[CLIPVisionConfig, Any]:
    """Configuration and image processor of the vision tower."""
    if not tower:
        raise DataError("the config names no vision tower: give one (--vision-tower FOLDER)")
    auto: Any = AutoImageProcessor
    try:
        read = AutoConfig.from_pretrained(tower)
        with without_advice():
            processor = auto.from_pretrained(tower)
    except (OSError, ValueError, KeyError) as error:
        raise _no_tower(tower, error) from error
    vision = getattr(read, "vision_config", read)
    if not isinstance(vision, CLIPVisionConfig):
        raise UnsupportedError(
            f"the vision tower {tower} is a {vision.model_type}; LLaVA-1.5 has one of CLIP"
        )
    if config.get("image_aspect_ratio") == "pad":
        padding: Any = LlavaImageProcessor
        names = ("size", "crop_size", "image_mean", "image_std", "resample", "rescale_factor")
        kept = {name: getattr(processor, name) for name in names}
        processor = padding(do_pad=True, **kept)
    return vision, processor


def _tower_weights(tower: str, allow_bin: bool) -> dict[str, Tensor]:
    clip: Any = CLIPVisionModel
    try:
        model, report = clip.from_pretrained(
            tower,
            dtype="auto",
            use_safetensors=None if allow_bin else True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _no_tower(tower, error) from error
    if report["missing_keys"]:
        raise DataError(f"the vision tower {tower} lacks {sorted(report['missing_keys'])[0]}")
    return dict(model.state_dict())


def _no_tower(tower: str, error: Exception) -> DataError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return DataError(
        f"the vision tower {tower} cannot be read: {reason} Give its folder or hub id with "
        "--vision-tower, and --allow-bin where it has no safetensors"
    )


def _tokenizer(folder: Path, base: Path | None) -> Any:
    """The tokenizer, with a placeholder for images; it pads at the left."""
    auto: Any = AutoTokenizer
    failure: Exception | None = None
    for place in (folder, base):
        if place is None or not any(place.glob("tokenizer*")):
            continue
        try:
            tokenizer = auto.from_pretrained(place, padding_side="left")
        # Of whatever kind, where a package for slow tokenizers is missing.
        except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:
            failure = error
            continue
        tokenizer.add_tokens([IMAGE], special_tokens=True)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
        return tokenizer
    reason = f"the tokenizer cannot be loaded: {failure}" if failure else "there is no tokenizer"
    raise DataError(
        f"{reason}; a tokenizer.model alone takes `pip install sentencepiece protobuf`", path=folder
    ) from failure


def _extend(weights: dict[str, Tensor], size: int) -> None:
    """Rows for the tokens that were added to a vocabulary: the mean of those that are there."""
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = weights.get(name)
        if rows is not None and len(rows) < size:
            mean = rows.float().mean(0, keepdim=True).to(rows.dtype)
            weights[name] = torch.cat([rows, mean.expand(size - len(rows), -1)])


def _llava_config(
    made: Any,
    config: Mapping[str, Any],
    vision: CLIPVisionConfig,
    image_id: int,
    weights: Mapping[str, Tensor],
) -> LlavaConfig:
    """The configuration for transformers."""
    kind = next(_TEXT[name] for name in config["architectures"] if name in _TEXT)
    known = {*kind().to_dict(), "rope_theta", "rope_scaling"} - {"model_type", "architectures"}
    embeddings = weights["model.embed_tokens.weight"]
    text = {key: value for key, value in config.items() if key in known and key != "dtype"}
    text["vocab_size"] = len(embeddings)
    full = config.get("mm_vision_select_feature") == "cls_patch"
    size: Any = vision  # of squares
    side = size.image_size // size.patch_size
    found: LlavaConfig = made(
        vision_config=vision,
        text_config=kind(**text),
        image_token_index=image_id,
        image_seq_length=side * side + int(full),
        vision_feature_layer=config.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="full" if full else "default",
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
        dtype=embeddings.dtype,
    )
    return found


def _fill(model: PreTrainedModel, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Put weights into a model, all of which must be there and fit."""
    wanted = model.state_dict()
    if model.config.tie_word_embeddings:
        weights = {"lm_head.weight": weights["model.language_model.embed_tokens.weight"], **weights}
    other = sorted(set(wanted) ^ set(weights))
    other += [
        name for name in wanted if name in weights and wanted[name].shape != weights[name].shape
    ]
    if other:
        raise DataError(
            f"{len(other)} weights are missing, of another shape or not those of a LLaVA, among "
            f"them {other[0]}",
            path=folder,
        )
    model.load_state_dict(weights, strict=True, assign=True)
