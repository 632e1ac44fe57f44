"""VISTA: what the image adds to the last token of a prompt steers what feed-forward blocks add."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lvlmsal.adapters.heads import inner_logits
from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.layers import LayerSpec, check_layers, resolve_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import (
    FeedForwardIntervention,
    HiddenStateIntervention,
    LogitsIntervention,
)
from lvlmsal.interventions.contrast import without_images
from lvlmsal.registry import INTERVENTIONS, check_choices


class _LastTokens(HiddenStateIntervention):
    """Looks on: what leaves each layer in one column of each sample, (B, D).

    Args:
        columns: one for each sample.
    """

    def __init__(self, columns: Sequence[int]) -> None:
        self._columns = columns
        self.by_layer: dict[int, Tensor] = {}

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Keep the states, in float32 or better."""
        found = states[range(len(states)), self._columns]
        self.by_layer[context.layer] = found.to(torch.promote_types(found.dtype, torch.float32))
        return states


@INTERVENTIONS.register("vista")
@dataclass(frozen=True)
class VISTA(FeedForwardIntervention, LogitsIntervention):
    """Visual information steering: a vector in every layer, and logits of the last layers.

    **Steering (VSV).** Two plain passes over the prompt, with its image and without it, give each
    layer the vector v (D,): the difference of what leaves it at the last token of the prompt. What
    a feed-forward block adds, x (D,), then keeps its norm and turns, in all rows of the prompt and
    of the answer::

        s = 1 + max(0, cos(x, -v))
        x' = |x| unit( unit(x) + steer s unit(v) ),    unit(a) = a / |a|

    A sample without an image has no such vector and is left alone.

    **Self-logits (SLA).** With l the logits of a row that predicts a token and h_j what leaves
    layer j of the late ones, W the output projection::

        l' = (1 - mix) l + mix mean_j W h_j

    Each part has a strength of its own, and is off where that is 0. SLA acts on samples without an
    image, too.

    Where the public code (LzVv123456/VISTA) and this differ:

    - **The vector.** The code hands the one difference to a principal component analysis. Its
      centered data are zero, and the component that comes back for zeros is the first unit vector,
      so that 1 is added to entry 0 of the first layer's v. The default is the difference itself;
      ``direction="code"`` adds the 1.
    - **Strengths.** The paper's steer is 0.17 for CHAIR, 0.1 for MMHal and 0.01 for POPE; its
      authors say that no one value serves all. The default here is the one in between. mix is 0.3.
    - **Layers.** The code steers all of them and mixes outputs of layers 25 to 30 of 32, that is
      inputs of layers 26 to 31, which is how ``late`` counts; the same part of other depths is a
      choice of this library.
    - **Norm.** The code does not apply the last norm to h_j, so W sees states of another size than
      those it was trained on; ``norm`` applies it (ours).

    The passes that find v are two prefills more for each prompt; the vectors are kept with its
    cache. They run without the other interventions of the scope.

    Args:
        steer: lambda, strength of the steering.
        mix: gamma, share of the late layers in the logits.
        direction: ``"difference"`` or ``"code"``, see above.
        layers: that are steered.
        late: whose inputs SLA reads, see :data:`~lvlmsal.attention.layers.LayerSpec`.
        norm: whether SLA applies the last norm.
    """

    steer: float = 0.1
    mix: float = 0.3
    direction: Literal["difference", "code"] = "difference"
    layers: LayerSpec = None
    late: LayerSpec = "0.8:1.0"
    norm: bool = False

    summary: ClassVar[str] = "steers feed-forward blocks to the image, and mixes in late layers"
    paper: ClassVar[str] = "The Hidden Life of Tokens: VISTA (ICML 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2502.03628"
    looks_ahead: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"steer": 1.0, "mix": 0.5, "late": [1]}
    off: ClassVar[Mapping[str, Any]] = {"steer": 0.0, "mix": 0.0}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"llava-1.5-7b": {"late": "26:32"}}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.steer) and self.steer >= 0):
            raise ValueError(f"steer must be at least 0 (no steering), got {self.steer}")
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix must be from 0 (no late layers) to 1, got {self.mix}")
        check_choices(self)
        check_layers(self.layers)
        check_layers(self.late)

    @property
    def is_identity(self) -> bool:
        """Whether both strengths are zero."""
        return self.steer == 0 and self.mix == 0

    @property
    def shares_prefix(self) -> bool:  # type: ignore[override]  # depends on an option here
        """Whether nothing is steered: the vectors are those of the prompt's last token."""
        return self.steer == 0

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """Those that are steered; none without a strength. The late ones must be there, too."""
        self.exits(num_layers)
        return super().acting_layers(num_layers) if self.steer else ()

    def prepare(self, prompt: Prompt) -> Mapping[int, Tensor] | None:
        """The v of each layer, (B, D), zero where a sample has no image."""
        seeing = [bool(spans.images) for spans in prompt.spans]
        if not self.steer or not any(seeing):
            return None
        # an answer, or tokens that were drafted, may stand behind the prompt in the first pass
        seen = _LastTokens([spans.output_column - 1 for spans in prompt.spans])
        unseen = _LastTokens([-1] * len(prompt.spans))
        prompt.run(seen, plain=True)
        prompt.run(unseen, inputs=without_images(prompt), plain=True)
        vectors = {layer: v - unseen.by_layer[layer] for layer, v in seen.by_layer.items()}
        if self.direction == "code":
            vectors[0][:, 0] += 1
        return {
            layer: v * torch.tensor(seeing, device=v.device)[:, None]
            for layer, v in vectors.items()
        }

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        """Turn what a block adds, (B, q, D), to the image."""
        vectors = context.state(self)
        if vectors is None:
            return output
        vector = vectors[context.layer].to(output.device)[:, None]
        added = output.to(torch.promote_types(output.dtype, torch.float32))
        return torch.where(
            vector.any(-1, keepdim=True), steered(added, vector, self.steer).to(output), output
        )

    def exits(self, num_layers: int) -> Sequence[int]:
        """The late layers, where they count."""
        return resolve_layers(self.late, num_layers) if self.mix else ()

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The l' of logits (B, r, V), one late layer at a time."""
        late = self.exits(context.adapter.num_layers)
        if not late:
            return logits
        total = torch.zeros_like(logits)
        for layer in late:
            total += inner_logits(context.adapter, context.hidden[layer], norm=self.norm).to(total)
        mixed = (1 - self.mix) * logits + self.mix * total / len(late)
        # a token that another method banned stays banned, also where mix is 1
        return mixed.masked_fill(logits.isneginf(), -torch.inf)


def steered(added: Tensor, vector: Tensor, strength: float) -> Tensor:
    """Vectors (..., D) turned to another one, their norms kept.

    >>> x = torch.tensor([3.0, 4.0])
    >>> steered(x, torch.tensor([0.0, 2.0]), 0.1), steered(x, torch.tensor([0.0, -2.0]), 0.1)
    (tensor([2.7735, 4.1603]), tensor([3.4771, 3.5930]))
    """
    here, there = normalize(added, dim=-1), normalize(vector.to(added), dim=-1)
    against = (here * -there).sum(-1, keepdim=True).clamp_min(0)
    turned = normalize(here + strength * (1 + against) * there, dim=-1)
    size: Tensor = added.norm(dim=-1, keepdim=True)
    return size * turned
