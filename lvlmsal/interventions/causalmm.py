"""CausalMM: contrasts with the model under counterfactual attention, to text or in the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lvlmsal.adapters.towers import TowerFeatures
from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.tower import with_features
from lvlmsal.interventions.base import AttentionIntervention, Intervention
from lvlmsal.interventions.contrast import Contrast, plausible, rows_with_images
from lvlmsal.registry import INTERVENTIONS

LanguageMap = Literal["uniform", "random", "reversed", "reversed_normalized"]
ImageMap = Literal["shuffled", "random", "uniform", "reversed"]


@dataclass(frozen=True)
class CounterfactualAttention(AttentionIntervention):
    """Attention of the text decoder that says nothing of what it reads.

    Args:
        kind: see :class:`CausalMM`.
        seed: of random maps.
        layers: where it acts.
    """

    kind: LanguageMap
    seed: int
    layers: LayerSpec

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Other weights (B, H, q, k) on the keys that each row sees."""
        assert context.scores is not None  # weights are edited
        visible = context.scores > torch.finfo(context.scores.dtype).min / 2
        keys = self._keys(context)[:, None, :, None]
        if self.kind == "uniform":
            return visible / keys.to(weights)
        if self.kind == "random":
            return visible * self._random(weights, context)
        largest = weights.amax(-1, keepdim=True)
        found = visible * (largest - weights)
        if self.kind == "reversed":
            return found
        # over all keys, those that the row does not see included, whose weight is zero
        total = keys * largest - weights.sum(-1, keepdim=True)
        return found / total.clamp_min(torch.finfo(weights.dtype).tiny)

    def _keys(self, context: AttentionContext) -> Tensor:
        """How many keys there are when a row is run: the prompt, or as many as tokens; (B, q)."""
        rows = context.query_positions
        starts = rows.new_tensor([[spans.output_start] for spans in context.spans])
        return torch.maximum(rows + 1, starts)

    def _random(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Random numbers of each row, normalized over its keys, those that it does not see too."""
        found = torch.zeros_like(weights)
        for sample, spans in enumerate(context.spans):
            for row, position in enumerate(context.query_positions[sample].tolist()):
                if position < 0:
                    continue
                count = max(position + 1, spans.output_start)
                numbers = torch.rand(
                    weights.shape[1], count, generator=self._generator(context.layer, position)
                )
                numbers = numbers / numbers.sum(-1, keepdim=True)
                keys = slice(spans.pad, min(spans.pad + count, weights.shape[-1]))
                found[sample, :, row, keys] = numbers[:, : keys.stop - keys.start].to(weights)
        return found

    def _generator(self, layer: int, position: int) -> torch.Generator:
        """Of one row of one layer, wherever it is run."""
        return torch.Generator().manual_seed(((self.seed * 1009 + layer) << 24) + position)


def counterfactual_map(attention: Tensor, kind: ImageMap, seed: int) -> Tensor:
    """Other weights in place of those of an image encoder, (n, H, T, T)."""
    if kind == "uniform":
        return attention.mean((-2, -1), keepdim=True).expand_as(attention)
    if kind == "reversed":
        return attention.amax(-1, keepdim=True) - attention
    generator = torch.Generator().manual_seed(seed)
    heads, size = attention.shape[1], attention.shape[-1]
    if kind == "random":
        numbers = 2 * torch.rand(heads, size, size, generator=generator)
        return numbers.to(attention).expand_as(attention)
    orders = [torch.randperm(size * size, generator=generator) for _ in range(heads)]
    order = torch.stack(orders).to(attention.device)[None]
    return attention.flatten(2).take_along_dim(order, dim=-1).view_as(attention)


@INTERVENTIONS.register("causalmm")
@dataclass(frozen=True)
class CausalMM(Contrast):
    """Subtracts what the model says under counterfactual attention; what attention causes stays.

    With l the logits (B, V), l_v those on an image whose features a counterfactual map of the image
    encoder's attention scales, and l_t those where layers of the text decoder attend by a
    counterfactual map, each a stream and a cache of its own; ``side`` says which there are::

        l_cd = l + alpha (l - l_v) + alpha (l - l_t),   only where p(y) >= beta max p

    **No released model does what the paper describes**, so this is a reading. Known is:

    - *Text decoder*: fragments in the README of the public code (The-Martyr/CausalMM). In a row
      of A (after the softmax) that sees some of the n keys that there are when it is run:
      ``"uniform"`` is 1 / n on the keys that it sees, ``"reversed"`` max A - A,
      ``"reversed_normalized"`` the same divided by its sum over all n, ``"random"`` numbers from 0
      to 1 divided likewise. As there, the causal mask comes behind the division, so rows of the
      prompt sum to less than one. n is the prompt's length without padding, for later rows their
      position + 1. In which layers is not said; the default, the middle third, is this library's.
    - *Image encoder*: the code changes no attention. It takes the map (H, T, T) of the last layer
      but one, ``"shuffled"`` over all of its entries head by head (the default of the code),
      ``"random"`` from 0 to 2, ``"uniform"`` (its mean) or ``"reversed"`` (of a row, max A - A;
      this library's reading), resizes it bilinearly to the grid of patches, averages over heads and
      multiplies the patches' features by it in front of the projector. All but ``"random"`` and
      ``"reversed"`` are 1 / T on average: that is nearly a model without an image.
    - *Strength and cut*: alpha (gamma there) is 1; the cut is 0.6 in the script and 0.1 among the
      arguments' defaults, as here. The sampler falls back to 0.5 and 0.1.
    - *Cache*: in the code both streams share one from the second token on, so that the method acts
      on the first token only. Here it acts on all.

    The code's shuffling is not seeded, and the same for all images of a batch; here it is the same
    for all images. ``side="vision"`` and ``"both"`` need an image encoder that can be looked into
    (LLaVA-1.5, LLaVA-NeXT and what shares their form). Rows of samples without an image are left,
    but for the cut.

    Args:
        alpha: strength of each contrast.
        beta: plausibility cut; 0 cuts nothing.
        side: which streams there are. The default runs on every family.
        language: the map in the text decoder, see above.
        vision: the map in the image encoder, see above.
        layers: of the text decoder, where its map acts.
        seed: of random maps.
    """

    side: Literal["language", "vision", "both"] = "language"
    language: LanguageMap = "uniform"
    vision: ImageMap = "shuffled"
    layers: LayerSpec = "0.33:0.67"
    seed: int = 0

    summary: ClassVar[str] = "contrasts the logits with those under counterfactual attention"
    paper: ClassVar[str] = "Mitigating Modality Prior-Induced Hallucinations (ICLR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2410.04780"
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 3.0, "beta": 0.0, "layers": None}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self.layers)
        if not 0 <= self.seed < 2**24:
            raise ValueError(f"seed must be from 0 to {2**24 - 1}, got {self.seed}")

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt for each side; none without images or without a contrast."""
        if not self.alpha or not any(spans.images for spans in prompt.spans):
            return None
        found: dict[str, Any] = {}
        if self.side != "language":
            found["vision"] = with_features(prompt, self.scaled)
        if self.side != "vision":
            found["language"] = prompt.again()
        return found

    def second_edits(self, prompt: Prompt) -> Mapping[str, Sequence[Intervention]]:
        """Counterfactual attention of the text decoder, in the stream of that side."""
        return {"language": [CounterfactualAttention(self.language, self.seed, self.layers)]}

    def scaled(self, given: TowerFeatures) -> Tensor:
        """Features (n, P, D) of patches, times a counterfactual map."""
        edited = counterfactual_map(given.attention(), self.vision, self.seed)
        side = isqrt(given.features.shape[1])
        maps = interpolate(edited, size=(side, side), mode="bilinear").mean(1)
        return given.features * maps.flatten(1)[..., None].to(given.features)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The contrasts under the cut, shape (B, r, V)."""
        found = logits
        for other in context.seconds.values():
            found = found + self.alpha * (logits - other.to(logits))
        found = torch.where(rows_with_images(context, logits), found, logits)
        return plausible(found, logits, self.beta)
