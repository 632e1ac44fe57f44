"""Checkpoints that cannot be done right, or not in the form they come in, and what to take instead.

Nothing heavy is imported: configs of runs are checked with this, too.
"""

from __future__ import annotations

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
_ORIGINAL_LLAVA: Final = (
    "this checkpoint is in the form of LLaVA's own code; take the same weights in the form of "
    "transformers, which llava-hf has on the hub (names that end in -hf)"
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
    "Kimi_K25ForConditionalGeneration": (
        "its latent attention caches neither the keys nor the values that it attends to, by which "
        "saliency is computed, and its image processor does not run without torchvision"
    ),
    "Qwen2_5OmniForConditionalGeneration": _OMNI,
    "Qwen2_5OmniModel": _OMNI,
    "LlavaLlamaForCausalLM": _ORIGINAL_LLAVA,
    "LlavaMistralForCausalLM": _ORIGINAL_LLAVA,
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

_CCA: Final = (
    "CCA-LLaVA has LLaVA's config and weights, but other positions and another mask for its visual "
    "tokens, which only its own code has: loaded as LLaVA its answers would be wrong"
)


def refusal(config: Mapping[str, Any], name: str = "") -> str | None:
    """Say why a checkpoint is not loaded, by its ``config.json`` alone.

    Args:
        config: What the file holds.
        name: Folder or hub id.

    Returns:
        A sentence; None where nothing is known against it.
    """
    known = {name.rstrip("/"), str(config.get("_name_or_path", "")).rstrip("/")}
    if any("cca-llava" in entry.lower().replace("_", "-") for entry in known):
        return _CCA
    names = config.get("architectures")
    names = [str(entry) for entry in names] if isinstance(names, list) else []
    if any(entry in ADAPTERS for entry in names):
        return None
    for entry in names:
        if entry in REFUSED:
            cards = [card.name for card in map(CATALOG.get, CATALOG) if card.original in known]
            here = f": {cards[0]} is that" if cards else ""
            return f"{entry} is not supported: {REFUSED[entry]}{here}"
    return None
