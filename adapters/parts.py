"""Where a model keeps its parts: the accessors that all families of transformers share."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from torch import nn
from transformers import PreTrainedModel

from lvlmsal.errors import UnsupportedError

_NORMS_BEHIND = ("post_feedforward_layernorm", "post_mlp_layernorm")
# What Gemma 2 and 3 and OLMo 2 call a norm behind the feed-forward block, and GLM-4.


class ModelParts:
    """The text decoder of a model, its layers and their attention, and the output projection."""

    model: PreTrainedModel

    attention_name: ClassVar[str] = "self_attn"
    """What a decoder layer calls its self-attention."""

    @property
    def decoder(self) -> nn.Module:
        """The text decoder, without the output projection."""
        # transformers leaves its accessors without types
        return cast(nn.Module, cast(Any, self.model).get_decoder())

    @property
    def layers(self) -> list[nn.Module]:
        """The layers of the text decoder, first to last."""
        return list(getattr(self.decoder, "layers", ()))

    @property
    def attention_modules(self) -> list[nn.Module]:
        """The self-attention of each layer; the index is the module's `layer_idx`."""
        modules = (getattr(layer, self.attention_name, None) for layer in self.layers)
        return [module for module in modules if isinstance(module, nn.Module)]

    def feed_forward(self, layer: int) -> tuple[nn.Module, nn.Module]:
        """The feed-forward block of a layer, and the module whose output the layer adds.

        Both are the same module, but in layers that norm the output of the block before they add
        it to the residual stream.

        Args:
            layer: Its index.

        Raises:
            UnsupportedError: The layer keeps its block under another name.
        """
        module = self.layers[layer]
        block = getattr(module, "mlp", None)
        if not isinstance(block, nn.Module):
            raise UnsupportedError(
                f"{type(module).__name__} has no feed-forward block of the name `mlp`, so methods "
                f"that edit its output cannot act: override `feed_forward` in {type(self).__name__}"
            )
        norms = (getattr(module, name, None) for name in _NORMS_BEHIND)
        return block, next((norm for norm in norms if isinstance(norm, nn.Module)), block)

    @property
    def num_layers(self) -> int:
        """Depth of the text decoder."""
        return len(self.layers)

    @property
    def lm_head(self) -> nn.Module:
        """The projection from hidden states to logits."""
        return cast(nn.Module, cast(Any, self.model).get_output_embeddings())

    @property
    def text_config(self) -> Any:
        """The configuration of the text decoder; the very object that the decoder holds."""
        return self.model.config.get_text_config()

    @property
    def attention(self) -> str:
        """Name of the attention implementation that the text decoder uses."""
        return str(self.text_config._attn_implementation)

    def set_attention(self, name: str) -> None:
        """Choose the attention implementation of the text decoder; the vision tower keeps its own.

        The choice lives on the configuration object: models built from one and the same object
        share it.

        Args:
            name: One of transformers' own (``"eager"``, ``"sdpa"``) or a registered one.

        Raises:
            UnsupportedError: The choice did not take.
        """
        # transformers ignores a sub-config of another name without a word, hence the check.
        self.model.set_attn_implementation({self._attention_key(): name})
        if self.attention != name:
            raise UnsupportedError(
                f"{type(self.model).__name__} did not take the attention {name!r}: "
                f"its text decoder still uses {self.attention!r}"
            )

    def _attention_key(self) -> str:
        """Name of the sub-configuration of the text decoder; empty where there is none."""
        return "text_config" if "text_config" in self.model.config.sub_configs else ""
