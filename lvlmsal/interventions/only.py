"""ONLY: text-heavy heads of one layer, sent past all others, say what the text alone would say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.heads import final_norm, inner_logits
from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.explicit import apply
from lvlmsal.attention.layers import resolve_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import (
    AttentionIntervention,
    HiddenStateIntervention,
    LogitsIntervention,
)
from lvlmsal.interventions.contrast import plausible
from lvlmsal.registry import INTERVENTIONS

_PARTS = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_LEAST = 1e-6
"""Added to shares under the logarithm, and the least entropy that is divided by."""


@INTERVENTIONS.register("only")
@dataclass(frozen=True)
class ONLY(AttentionIntervention, HiddenStateIntervention, LogitsIntervention):
    """One-layer intervention: adds or takes off the logits of a stream of one layer's heads.

    In a row that predicts a generated token, with A (H, k) the weights of layer ``layer``, T its
    keys of text but the first token of the sequence and I its visual tokens::

        A~_h = A_h, but 0 for keys of T with A_h > mean + std of A_h over T; for those of I likewise
        r_h  = entropy of A~_h on T / entropy of A~_h on I, each made to sum to one
        A~_h = 0 in heads with r_h below the mean of r over the heads
        o    = W_o concat_h(A~_h v)

    With x what enters the last layer, norm_1, norm_2 and FFN its parts and h what leaves it, norm
    the decoder's last norm and l the logits::

        u  = norm_1(o) + residual x,   y = u + FFN(norm_2(u))
        l' = lm_head(norm(y) + state norm(h)),   d = sum over the vocabulary of |p - p'|
        l <- l + agree l'  where d < gate,   (1 + differ) l - differ l'  elsewhere
        y is banned where p(y) < beta max p

    The standard deviation is the unbiased one, over the keys of the group that the row sees; of one
    key there is none, and nothing is zeroed. d has no factor of 1/2 and is between 0 and 2. Nothing
    of the model's own stream is changed, so this costs one layer's weights, one FFN and one product
    with the vocabulary for each token, and no pass. A sample without an image is left alone, for
    the sum of two logits is not neutral.

    **The sum sharpens.** Were l' the same as l, it would be (1 + agree) l, a temperature of 1/4 at
    the default. So show it next to ``control=True``, which is just that, and next to greedy.

    This follows the public code (zifuwan/ONLY, LLaVA part). Where that is at odds with other
    accounts, with itself or with models that are not LLaVA-1.5-7B:

    - the constants 0.2 and 0.5 (``residual`` and ``state``) are in no text that was found.
    - the gate's commands are 0.2 (POPE) and 0.25 (captions), the defaults of its arguments 0.6 and
      0.1. MME's command, with a beta of 0.4, is one of InstructBLIP. Default: POPE's.
    - it adds d over the batch; here it is each row's.
    - image columns are 35 to 610 and the last layer is 31, always; here they are read off the
      sample and the model.
    - its figures are of sampling at temperature 1. Give the decoder ``sample`` to compare.
    - an entropy of the image below 1e-6 is taken for that, one of no weight at all for infinite.
      The code has infinite for the latter as well, and no rule for the former.

    Decoder layers must be made of attention, an FFN and a norm before each, as in Llama and Qwen2;
    others (Gemma, Cohere) are refused with an :class:`~lvlmsal.errors.UnsupportedError`.

    Args:
        agree: a1, weight of l' where both agree.
        differ: a2, strength of the contrast elsewhere.
        gate: g, the distance from which on they differ.
        beta: plausibility cut; 0 cuts nothing. With agree = differ = 0 as well it is the plain
            model, bit for bit; these two alone leave the cut.
        residual: of what enters the last layer.
        state: of what leaves the last layer.
        layer: whose heads are taken.
        control: take l' = l, whatever the heads say.

    >>> ONLY(agree=0.0, differ=0.0, beta=0.0).is_identity
    True
    """

    agree: float = 3.0
    differ: float = 1.0
    gate: float = 0.2
    beta: float = 0.1
    residual: float = 0.2
    state: float = 0.5
    layer: int = 0
    control: bool = False

    summary: ClassVar[str] = "adds or contrasts logits of one layer's text-heavy heads"
    paper: ClassVar[str] = "ONLY: One-Layer Intervention Mitigates Hallucinations (ICCV 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2507.00898"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"differ": 4.0, "gate": 0.0}
    off: ClassVar[Mapping[str, Any]] = {"agree": 0.0, "differ": 0.0, "beta": 0.0}

    def __post_init__(self) -> None:
        for name in ("agree", "differ", "gate", "residual", "state"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be at least 0, got {value}")
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta must be from 0 (no cut) to 1, got {self.beta}")

    @property
    def is_identity(self) -> bool:
        """Whether neither sum, contrast nor cut is left."""
        return self.agree == self.differ == self.beta == 0

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """It looks on in its layer and behind the last one."""
        return sorted({*resolve_layers([self.layer], num_layers), num_layers - 1})

    def exits(self, num_layers: int) -> Sequence[int]:
        """What enters the last layer."""
        return [num_layers - 1]

    def prepare(self, prompt: Prompt) -> None:
        """Refuse models whose layers are made otherwise."""
        for module in (prompt.adapter.layers[self.layer], prompt.adapter.layers[-1]):
            _check_plain(module, prompt.adapter)

    def first_row(self, context: AttentionContext) -> int:
        """Rows that predict in its own layer; none in others or without an image."""
        looks = self._is_here(context) and any(spans.images for spans in context.spans)
        looks = looks and not self.control
        return context.first_predicting_row if looks else len(context.query_columns)

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Leave concat_h(A~_h v), (B, r, H d), for the logits; (B, H, q, k) stays as it is."""
        if self._is_here(context):
            with torch.no_grad():
                rows = textual(weights[:, :, context.first_predicting_row :].detach(), context)
                heads = apply(rows, context.values.detach())
                context.carried[id(self), "heads"] = heads.transpose(1, 2).flatten(2)
        return weights

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Leave h (B, q, D) for the logits; nothing is changed."""
        if context.layer == context.num_layers - 1:
            context.carried[id(self), "state"] = states.detach()
        return states

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The sum or the contrast under the cut, (B, r, V)."""
        seeing = [bool(spans.images) for spans in context.spans]
        if not any(seeing):
            return logits
        combined = logits
        if self.agree or self.differ:
            other = logits
            if not self.control:
                other = self._other(logits.shape[1], context).to(logits)
            distance = (logits.softmax(-1) - other.softmax(-1)).abs().sum(-1, keepdim=True)
            contrast = (1 + self.differ) * logits - self.differ * other
            combined = torch.where(distance < self.gate, logits + self.agree * other, contrast)
            combined = torch.where(logits.isneginf(), logits, combined)  # banned tokens stay so
        cut = plausible(combined, logits, self.beta)
        return torch.where(torch.tensor(seeing, device=logits.device)[:, None, None], cut, logits)

    def _is_here(self, context: AttentionContext) -> bool:
        """Whether this is the layer whose heads are taken."""
        return context.layer == self.layer % context.num_layers

    def _other(self, count: int, context: LogitsContext) -> Tensor:
        """The other logits l' of the last rows, (B, count, V)."""
        adapter = context.adapter
        heads, state = (context.carried[id(self), kind][:, -count:] for kind in ("heads", "state"))
        entering, last = context.hidden[adapter.num_layers - 1], adapter.layers[-1]
        attention: Any = adapter.attention_modules[self.layer]
        parts: Any = last
        output = attention.o_proj(heads.to(entering.dtype)).to(entering.device)
        states = parts.input_layernorm(output) + self.residual * entering
        # Not the module's call: hooks on it are for what the model itself runs.
        states = states + parts.mlp.forward(parts.post_attention_layernorm(states))
        norm = final_norm(adapter)
        return inner_logits(adapter, norm(states) + self.state * norm(state), norm=False)


def textual(weights: Tensor, context: AttentionContext) -> Tensor:
    """A~ of rows that predict, (B, H, r, k); see :class:`ONLY`.

    Args:
        weights: of the last r rows of the pass.
        context: of the pass.
    """
    row = context.query_positions[:, None, -weights.shape[2] :, None]
    key, visual = context.key_positions[:, None, None], context.image_keys()[:, None, None]
    seen = key <= row
    entropies = []
    for group in (seen & (key > 0) & ~visual, seen & visual):
        count = group.sum(-1, keepdim=True)
        mean = (weights * group).sum(-1, keepdim=True) / count.clamp(min=1)
        square = ((weights - mean).square() * group).sum(-1, keepdim=True)
        bound = mean + (square / (count - 1).clamp(min=1)).sqrt()
        weights = weights.masked_fill(group & (weights > bound) & (count > 1), 0)
        total = (weights * group).sum(-1, keepdim=True)
        share = weights * group / torch.where(total > 0, total, 1)
        entropy = -(share * (share + _LEAST).log()).sum(-1, keepdim=True)
        entropies.append(torch.where(total > 0, entropy, torch.inf))
    text, image = entropies
    ratio = text.nan_to_num(posinf=0.0) / image.clamp(min=_LEAST)
    return weights.masked_fill(ratio < ratio.mean(1, keepdim=True), 0)


def _check_plain(layer: nn.Module, adapter: ModelAdapter) -> None:
    """Refuse a layer that is not attention and an FFN with a norm before each.

    Raises:
        UnsupportedError: it has other parts, or scales or orders them otherwise.
    """
    parts = {name for name, _ in layer.named_children()}
    swaps = getattr(adapter.text_config, "swin_norm", False)
    if parts != _PARTS or hasattr(layer, "residual_multiplier") or swaps:
        raise UnsupportedError(
            f"ONLY runs parts of {type(layer).__name__} by themselves, which are {sorted(parts)}, "
            f"expected {sorted(_PARTS)} with a norm before attention and one before the FFN: use "
            "another method for this model"
        )
    if not hasattr(layer.self_attn, "o_proj"):
        raise UnsupportedError(
            f"the attention of {type(layer).__name__} has no projection of the name o_proj, "
            "which ONLY needs: use another method for this model"
        )
