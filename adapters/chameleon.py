"""Chameleon: images as ids of a codebook, among the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.messages import Prompt
from lvlmsal.adapters.prompts import plain_question
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.registry import ADAPTERS


@ADAPTERS.register("ChameleonForConditionalGeneration")
class ChameleonAdapter(ModelAdapter):
    """Chameleon: one square image size, each patch the embedding of a code."""

    architectures = ("ChameleonForConditionalGeneration",)
    family = "Chameleon"
    summary = "Chameleon: images as codes of a codebook; no chat template"
    paper = "Chameleon: Mixed-Modal Early-Fusion Foundation Models"
    url = "https://arxiv.org/abs/2405.09818"
    wraps_images = True

    @property
    def tokens_per_image(self) -> int:
        """Codes of an image: the encoder halves its sides behind each level but the last."""
        side = self._side()
        return side * side

    def render(self, prompt: Prompt, count: int, *, system: str | None = None) -> str:
        """Images and the question: its checkpoints have no chat template; see the base class."""
        if getattr(self.require_processor(), "chat_template", None) is not None:
            return super().render(prompt, count, system=system)
        images, question = plain_question(prompt, count, mark=self.image_mark, system=system)
        return f"{self.image_mark * images}{question}"

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int] | None]:
        """Every image has the grid of the codebook's encoder; see the base class."""
        return [(self._side(), self._side()) for sample in spans for _ in sample.images]

    def feed_forward(self, layer: int) -> tuple[nn.Module, nn.Module]:
        """See the base class; with `swin_norm` (30B) the second norm stands behind the block."""
        block, last = super().feed_forward(layer)
        behind = self.text_config.swin_norm
        return block, self.layers[layer].get_submodule(
            "post_attention_layernorm"
        ) if behind else last

    def _side(self) -> int:
        encoder = self.model.config.vq_config
        return int(encoder.resolution // 2 ** (len(encoder.channel_multiplier) - 1))
