"""CCA-LLaVA: LLaVA-1.5 that was trained with concentric positions and masks for its images."""

from __future__ import annotations

from transformers import PreTrainedConfig

# Imported for what it does: transformers reads folders of this model from then on.
from lvlmsal.adapters.concentric import CcaLlavaForConditionalGeneration
from lvlmsal.adapters.llava import LlavaAdapter
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("CcaLlavaForConditionalGeneration")
class CcaLlavaAdapter(LlavaAdapter):
    """CCA-LLaVA: the form of LLaVA-1.5, in which the rings of an image take the positions."""

    architectures = (CcaLlavaForConditionalGeneration.__name__,)
    family = "CCA-LLaVA"
    summary = "CCA-LLaVA: LLaVA-1.5 with a position and a mask for each ring of an image"
    paper = "Mitigating Object Hallucination via Concentric Causal Attention"
    url = "https://arxiv.org/abs/2410.15926"

    @classmethod
    def takes(cls, config: PreTrainedConfig) -> bool:
        """Every one."""
        return True
