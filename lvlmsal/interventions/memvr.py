"""MemVR: where a middle layer is unsure, the next one's feed-forward block sees the image again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import silu

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.heads import inner_logits
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers, resolve_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import FeedForwardIntervention, HiddenStateIntervention
from lvlmsal.registry import INTERVENTIONS, check_choices

_BEST = 10
"""Tokens whose logits the uncertainty is taken of."""

_SURE, _BLIND = -1, -2
"""In place of the layer that was unsure: none was so far, or the sample has no image."""


@dataclass
class _Memory:
    """What is kept of a prompt.

    Attributes:
        adapter: of the model.
        images: V of each sample, (n, D); empty before the prompt's pass.
        ratios: by layer, mean |FFN| / mean |D| over the prompt's rows, (B,).
    """

    adapter: ModelAdapter
    images: list[Tensor] = field(default_factory=list)
    ratios: dict[int, Tensor] = field(default_factory=dict)
    _means: dict[int, tuple[float, float]] = field(default_factory=dict)

    def weights(self, layer: int) -> tuple[float, float]:
        """Mean |W_up| and mean |W_down| of a layer's block.

        Raises:
            UnsupportedError: it has no such projections, or only packed ones.
        """
        if layer not in self._means:
            block = self.adapter.feed_forward(layer)[0]
            found = [getattr(block, name, None) for name in ("up_proj", "down_proj")]
            weights = [getattr(module, "weight", None) for module in found]
            if not all(isinstance(w, Tensor) and w.is_floating_point() for w in weights):
                raise UnsupportedError(
                    f"activation='silu' of MemVR goes by the weights of up_proj and down_proj, and "
                    f"{type(block).__name__} has none that can be read: use activation='identity'"
                )
            up, down = (float(cast(Tensor, w).detach().float().abs().mean()) for w in weights)
            self._means[layer] = up, down
        return self._means[layer]


@INTERVENTIONS.register("memvr")
@dataclass(frozen=True)
class MemVR(HiddenStateIntervention, FeedForwardIntervention):
    """Memory-space visual retracing: image features as a second memory of a feed-forward block.

    With h_l what leaves layer l at a row that predicts a token, z its logits through the last norm
    and the output projection::

        u_l = entropy(softmax(the 10 largest of z)) / ln 10

    The first l of ``layers`` with u_l > tau arms layer l + 1 for this row, and no further one. With
    x (D,) what enters the block there, FFN what it adds and V (n, D) the image's features, as they
    enter the first layer::

        D = phi(x V1^T) V2,   V1 = V mean|W_up| / mean|V|,   V2 = V mean|W_down| / mean|V|
        FFN' = (1 - alpha) FFN + alpha D mean|FFN| / mean|D|

    The prompt's last row decides for all rows of the prompt, which share one mean|FFN| / mean|D|;
    each generated token decides for itself. V holds all images of a sample. A sample without an
    image is left alone. Costs a product with the output projection for each of ``layers`` until
    one is unsure, and no pass.

    Where paper and public code (1zhou-Wang/MemVR) differ, or this does:

    - **phi.** The code has the identity for LLaVA, with which the scales cancel, and SiLU for
      Qwen-VL and GLM-4V; the paper is quoted with the block's own activation. The default is the
      identity; ``activation="silu"`` needs blocks with an ``up_proj`` and a ``down_proj`` whose
      weights are not packed.
    - **alpha.** The code has one for each benchmark, with LLaVA: 0.12 for MME and MM-Vet, 0.28 for
      VizWiz, 0.31 for CHAIR (whose loader ignores it and takes 0.12), 0.32 for LLaVA-Bench; 0.28
      with Qwen-VL. The default is 0.12.
    - **Layers.** The code judges layers 6 to 15 with LLaVA (10 to 15 with Qwen-VL and GLM-4V), and
      so does the default for 32 layers; the same part of other depths is a choice of this library.
    - **Batches.** The code adds entropies up over the batch, takes means over all of its tensor and
      keeps the features of the last image of the last sample. Here each sample is by itself and
      padding does not count.
    - The code's helper for GLM leaves alpha at 0 in all layers but the first, so that nothing
      happens there; its scripts set it. Here it is alpha everywhere.

    Saliency takes V and u_l as constants. Families that add features of the image in later layers
    too (Qwen3-VL) are refused.

    Args:
        alpha: strength; 0 is the plain model.
        tau: how unsure a layer must be, from 0 to 1.
        layers: that are judged; the one behind each is edited.
        activation: phi, ``"identity"`` or ``"silu"``.
    """

    alpha: float = 0.12
    tau: float = 0.75
    layers: LayerSpec = "0.1875:0.5"
    activation: Literal["identity", "silu"] = "identity"

    summary: ClassVar[str] = "shows the image to a feed-forward block where a layer is unsure"
    paper: ClassVar[str] = "Look Twice Before You Answer: MemVR (ICML 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2410.03577"
    looks_ahead: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 0.9, "tau": 0.0}
    off: ClassVar[Mapping[str, Any]] = {"alpha": 0.0}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"llava-1.5-7b": {"layers": "6:16"}}

    def __post_init__(self) -> None:
        for name in ("alpha", "tau"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {value}")
        check_choices(self)
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether alpha is zero."""
        return self.alpha == 0

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """The first, which shows the features, those that are judged, and the ones behind them."""
        judged = resolve_layers(self.layers, num_layers)
        if judged[-1] + 1 >= num_layers:
            raise ValueError(
                f"layer {judged[-1]} is the last one of the model, and none stands behind it to be "
                f"edited: give layers up to {num_layers - 2}"
            )
        return sorted({0, *judged, *(layer + 1 for layer in judged)})

    def prepare(self, prompt: Prompt) -> _Memory:
        """Room for what the prompt's pass shows.

        Raises:
            UnsupportedError: later layers are given features of the image as well.
        """
        vision = getattr(prompt.adapter.model.config, "vision_config", None)
        if getattr(vision, "deepstack_visual_indexes", None):
            raise UnsupportedError(
                f"MemVR shows a model what enters its first layer as the image's features, and "
                f"{prompt.adapter.family} adds more of them in later layers: use another method"
            )
        return _Memory(prompt.adapter)

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Keep the features of each sample in the pass that holds the images."""
        memory: _Memory = context.state(self)
        if context.layer == 0 and context.first_query_column == 0:
            seen = states.detach()
            memory.images = [
                of_sample[rows] for of_sample, rows in zip(seen, context.image_rows(), strict=True)
            ]
        return states

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Judge what leaves a layer, (B, q, D), in rows for which no earlier one was unsure."""
        layer, memory = context.layer, context.state(self)
        if layer not in resolve_layers(self.layers, context.num_layers):
            return states
        ends = _ends(context)
        if max(ends) >= states.shape[1]:
            raise UnsupportedError(
                "MemVR edits a prompt by its last row: run the prompt in one pass, without "
                "prefill_chunk_size"
            )
        first, key = max(0, min(ends)), (id(self), "unsure")
        found = context.carried.get(key)
        if found is None:
            seen = torch.tensor([len(image) > 0 for image in memory.images])
            found = torch.where(seen, _SURE, _BLIND)[:, None]
            found = found.expand(-1, states.shape[1] - first)
        found = found.to(states.device)
        if bool((found == _SURE).any()):
            with torch.no_grad():
                logits = inner_logits(memory.adapter, states[:, first:], norm=True)
                unsure = uncertainty(logits).to(found.device) > self.tau
            found = torch.where((found == _SURE) & unsure, layer, found)
        context.carried[key] = found
        return states

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        """Mix the image's memory into what a block adds, (B, q, D), in armed rows."""
        found = context.carried.get((id(self), "unsure"))
        if found is None or not bool((found == context.layer - 1).any()):
            return output
        # rows of the prompt go by its last one
        ends = torch.tensor(_ends(context), device=output.device).clamp(min=0)[:, None]
        rows = torch.arange(output.shape[1], device=output.device).clamp(min=ends)
        of_row = found.to(output.device).gather(1, rows - (output.shape[1] - found.shape[1]))
        memory: _Memory = context.state(self)
        whole = torch.promote_types(output.dtype, torch.float32)
        added = output.to(whole)
        recalled = self._recalled(inputs.to(whole), memory, context.layer)
        ratio = _ratio(added, recalled, memory, context)[..., None]
        mixed = (1 - self.alpha) * added + self.alpha * ratio * recalled
        return torch.where((of_row == context.layer - 1)[..., None], mixed.to(output), output)

    def _recalled(self, inputs: Tensor, memory: _Memory, layer: int) -> Tensor:
        """D of what enters a block, (B, q, D)."""
        found = []
        for x, image in zip(inputs, memory.images, strict=True):
            image = image.to(x)
            if self.activation == "silu" and len(image):
                up, down = memory.weights(layer)
                scaled = image / image.abs().mean()
                found.append(silu(x @ (up * scaled).T) @ (down * scaled))
            else:
                found.append(x @ image.T @ image)
        return torch.stack(found)


def uncertainty(logits: Tensor) -> Tensor:
    """Entropy of the best tokens of logits (..., V), from 0 to 1.

    Example:
        >>> rows = torch.stack([torch.zeros(12), torch.arange(12) * 9.0])
        >>> [round(unsure, 4) for unsure in uncertainty(rows).tolist()]
        [1.0, 0.0005]
    """
    best = logits.to(torch.promote_types(logits.dtype, torch.float32)).topk(_BEST).values
    entropy: Tensor = torch.special.entr(best.softmax(-1)).sum(-1)
    return entropy / math.log(_BEST)


def _ends(context: AttentionContext) -> list[int]:
    """Index of the row of each prompt's last token; negative where it lies before the pass."""
    return [spans.output_column - 1 - context.first_query_column for spans in context.spans]


def _ratio(added: Tensor, recalled: Tensor, memory: _Memory, context: AttentionContext) -> Tensor:
    """Mean |FFN| / mean |D|, (B, q): one for the rows of a prompt, of each later row its own."""
    sizes = added.abs().mean(-1), recalled.abs().mean(-1)
    place = context.query_positions
    last = place.new_tensor([[spans.output_start] for spans in context.spans])
    prompt = (place >= 0) & (place < last)
    if context.first_query_column == 0:
        totals = [(size * prompt).sum(-1) for size in sizes]
        memory.ratios[context.layer] = _over(*totals)
    own = _over(*sizes)
    of_prompt = memory.ratios.get(context.layer)
    return own if of_prompt is None else torch.where(prompt, of_prompt.to(own)[:, None], own)


def _over(one: Tensor, other: Tensor) -> Tensor:
    """A quotient; what is divided by zero is kept."""
    return one / torch.where(other > 0, other, 1.0)
