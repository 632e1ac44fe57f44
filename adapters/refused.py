"""Checkpoints that cannot be done right, or not in the form they come in, and what to take instead.

Nothing heavy is imported: configs of runs are checked with this, too.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any, Final

from lvlmsal.registry import ADAPTERS, CATALOG

_CROSS_ATTENTION: Final = (
    "its images reach the text through cross-attention layers of their own, not as tokens of the "
    "sequence, so there are no visual tokens to edit or to draw a map of"
)
_INNER_MODEL: Final = (
    "its generate runs a language model inside of it on ready embeddings, where neither hooks nor "
    "the places of the image tokens would be found"
)
_LATENT: Final = (
    "its latent attention caches neither the keys nor the values that it attends to, by which "
    "saliency is computed"
)
_ORIGINAL_LLAVA: Final = (
    "this checkpoint is in the form of LLaVA's own code; take the same weights in the form of "
    "transformers, which llava-hf has on the hub (names that end in -hf)"
)
_CONVERTIBLE: Final = f"{_ORIGINAL_LLAVA}, or convert it with `lvlmsal convert FOLDER -o OUTPUT`"
_LORA_OF_LLAVA: Final = (
    "by its name this is an adapter (LoRA) of LLaVA's own code, which goes into a language model: "
    "`hf download {name} --local-dir FOLDER`, then `lvlmsal convert FOLDER --base BASE --allow-bin "
    "-o OUTPUT` with the folder of that language model (for LLaVA-1.5 lmsys/vicuna-7b-v1.5 or "
    "-13b-v1.5), and load OUTPUT"
)
_OWN_CODE: Final = (
    "this checkpoint runs code of its own, which is not transformers'; take the same weights in "
    "the form of transformers, {sibling}"
)
_INTERNVL: Final = _OWN_CODE.format(
    sibling="whose names on the hub end in -hf or -HF (from InternVL 2.5 on, such as "
    "OpenGVLab/InternVL3-8B-hf)"
)
_DEEPSEEK: Final = _OWN_CODE.format(sibling="which deepseek-community has on the hub")
_OMNI: Final = (
    "it holds a model that speaks next to the one that writes: hand over the latter with its "
    "processor, lvlmsal.load((model, processor)), which transformers reads from the same "
    "checkpoint as Qwen2_5OmniThinkerForConditionalGeneration"
)
_VIDEOLLAMA2: Final = (
    "VideoLLaMA2 exists in code of its own only, which is not transformers'; VideoLLaMA3 has an "
    "adapter here"
)

REFUSED: Final = {
    "MllamaForConditionalGeneration": _CROSS_ATTENTION,
    "IdeficsForVisionText2Text": _CROSS_ATTENTION,
    "Blip2ForConditionalGeneration": _INNER_MODEL,
    "InstructBlipForConditionalGeneration": _INNER_MODEL,
    "InstructBlipVideoForConditionalGeneration": _INNER_MODEL,
    "Kosmos2ForConditionalGeneration": (
        "its processor marks images by position and not by a token, so that visual tokens cannot "
        "be told from text"
    ),
    "Emu3ForConditionalGeneration": (
        "its encoder reads the images of a batch padded to one size and normalizes over the "
        "padding, so that an image has other visual tokens next to a larger one than alone"
    ),
    "Kimi_K25ForConditionalGeneration": (
        f"{_LATENT}, and its image processor does not run without torchvision"
    ),
    "KimiVLForConditionalGeneration": f"{_LATENT}, and it runs code of its own",
    "Qwen2_5OmniForConditionalGeneration": _OMNI,
    "Qwen2_5OmniModel": _OMNI,
    "LlavaLlamaForCausalLM": _CONVERTIBLE,
    "LlavaMistralForCausalLM": _CONVERTIBLE,
    "LlavaMptForCausalLM": _ORIGINAL_LLAVA,
    "LlavaQwenForCausalLM": _ORIGINAL_LLAVA,
    "LlavaQwen2ForCausalLM": _OWN_CODE.format(sibling="such as KamilaMila/FastVLM-7B of FastVLM"),
    "InternVLChatModel": _INTERNVL,
    "QWenLMHeadModel": (
        "Qwen-VL 1 exists in code of its own only, which is not transformers'; Qwen2-VL and newer "
        "ones have an adapter here"
    ),
    "Videollama2LlamaForCausalLM": _VIDEOLLAMA2,
    "Videollama2MistralForCausalLM": _VIDEOLLAMA2,
    "Videollama2MixtralForCausalLM": _VIDEOLLAMA2,
    "Videollama2Qwen2ForCausalLM": _VIDEOLLAMA2,
    "Videollama3Qwen2ForCausalLM": _OWN_CODE.format(sibling="such as lkhl/VideoLLaMA3-2B-Image-HF"),
    "MultiModalityCausalLM": _DEEPSEEK,
}
"""Architectures, as `config.json` names them, and why there is no adapter for them."""

CCA: Final = (
    "CCA-LLaVA has LLaVA's config and weights, but other positions and another mask for its visual "
    "tokens, so that its answers would be wrong as LLaVA: convert the folder that its authors "
    "published with `lvlmsal convert FOLDER -o OUTPUT`, or, if its weights are those of a LLaVA of "
    "transformers already, set model_type to 'cca_llava' and architectures to "
    "['CcaLlavaForConditionalGeneration'] in its config.json"
)
CCA_CLASS: Final = "CcaLlavaForConditionalGeneration"
"""What the config of a CCA-LLaVA says that can be loaded."""

REVERSE_MARKS: Final = ("<SPAN>", "</CN>", "</UN>")
"""Tokens that REVERSE adds to those of its model: before a phrase, behind a sure one, another."""

MADE_OF: Final = "take the checkpoint that it was made of, in safetensors"

# What reads quantized weights; transformers itself names what others need.
_QUANTIZED: Final = {
    "awq": ("AWQ", "gptqmodel"),
    "gptq": ("GPTQ", "gptqmodel"),
    "aqlm": ("AQLM", "aqlm"),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes"),
    "compressed-tensors": ("compressed-tensors", "compressed_tensors"),
    "eetq": ("EETQ", "eetq"),
    "hqq": ("HQQ", "hqq"),
    "quanto": ("Quanto", "optimum"),
    "torchao": ("torchao", "torchao"),
    "vptq": ("VPTQ", "vptq"),
}

# What the keys of a config have in them where a model takes images.
_SEES: Final = ("vision", "visual", "image", "mm_", "vq")
_WRITES: Final = ("ForCausalLM", "LMHeadModel")
_ENCODERS: Final = re.compile(
    r"(AltCLIP|Align|Beit|CLIP|ConvNext|Dinov2|DINOv3ViT|Siglip2?|Swin|ViT|ViTMAE)(Vision)?Model"
    r"|\w+(ForImageClassification|VisionModelWithProjection)"
)


def is_cca(name: str) -> bool:
    """Whether a name is that of a CCA-LLaVA: of a folder, on the hub or in its cache.

    >>> is_cca("xing0047/cca-llava-1.5-7b"), is_cca("my-cca-llava/llava-1.5-7b")
    (True, False)
    """
    *above, last = re.split(r"[/\\]", name.lower().replace("_", "-").rstrip("/\\"))
    cached = [part for part in above if part.startswith("models--")]
    return any("cca-llava" in part for part in (last, *cached))


def refusal(config: Mapping[str, Any], name: str = "") -> str | None:
    """Say why a checkpoint is not loaded, by its ``config.json`` alone.

    Args:
        config: What the file holds.
        name: Folder or hub id.

    Returns:
        A sentence; None where nothing is known against it.
    """
    known = {name.rstrip("/"), str(config.get("_name_or_path", "")).rstrip("/")}
    names = config.get("architectures")
    names = [str(entry) for entry in names] if isinstance(names, list) else []
    if any(map(is_cca, known)) and CCA_CLASS not in names:
        return CCA
    if any(entry in ADAPTERS for entry in names):
        return _quantized(config)
    for entry in names:
        if REFUSED.get(entry) == _CONVERTIBLE and "lora" in name.lower():
            return _LORA_OF_LLAVA.format(name=name)
        if entry in REFUSED:
            cards = [card.name for card in map(CATALOG.get, CATALOG) if card.original in known]
            here = f": {cards[0]} is that" if cards else ""
            return f"{entry} is not supported: {REFUSED[entry]}{here}"
    return _quantized(config) or (_kind(names[0], config) if names else None)


def _quantized(config: Mapping[str, Any]) -> str | None:
    settings = config.get("quantization_config")
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if method is None and isinstance(config.get("quantization"), dict):
        return f"its weights are quantized for MLX: {MADE_OF}"
    what, package = _QUANTIZED.get(str(method), ("", ""))
    if package and importlib.util.find_spec(package) is None:
        return (
            f"its weights are quantized by {what}, which needs the package {package}, and that is "
            f"not installed: install it, or {MADE_OF}"
        )
    return None


def _kind(name: str, config: Mapping[str, Any]) -> str | None:
    """What a model without an adapter is, where it is none that answers questions about images."""
    if "model_type" not in config:  # not all of a config
        return None
    if _ENCODERS.fullmatch(name):
        return f"{name} encodes images and writes no text: give a vision-language model"
    if "auto_map" in config:
        return (
            f"{name} runs code of its own (`auto_map` in its config), which is not transformers' "
            "and for which there is no adapter: take the same weights in the form of transformers, "
            "whose names on the hub often end in -hf, or write an adapter "
            "(docs/contributing/adapter.md)"
        )
    if config.get("is_encoder_decoder"):
        return (
            f"{name} is an encoder-decoder, whose images are no tokens of the sequence that it "
            "writes, so there are no visual tokens to edit or to draw a map of"
        )
    sees = any(part in key for key in config for part in _SEES)
    if name.endswith(_WRITES) and not sees:
        return f"{name} is a language model that takes no images: give a vision-language model"
    return None
