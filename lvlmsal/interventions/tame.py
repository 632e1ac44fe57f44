"""TAME: one factor on the scores of attention, from the size of queries and keys or of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.kernel import PlainAttention, plain_attention
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS, check_choices

_XI = 1e-6
"""What the paper adds to eta under the logarithm."""

_FOUND: WeakKeyDictionary[PreTrainedModel, Tensor] = WeakKeyDictionary()


def etas(adapter: ModelAdapter) -> Tensor:
    """The trace of the square of W_QK of each query head, float32 (layers, heads).

    With W_Q and W_K (d, D) of a head, W_QK = W_Q^T W_K; biases do not count. A head's trace may be
    negative, for W_QK is not symmetric.

    Raises:
        UnsupportedError: the scores of a layer are not the product of two plain projections.
    """
    return torch.stack([_etas_of(module) for module in adapter.attention_modules])


def _etas_of(module: nn.Module) -> Tensor:
    """Those of one layer, (H,) on the CPU."""
    query, key = (_weight(module, name) for name in ("q_proj", "k_proj"))
    width = int(getattr(module, "head_dim", 0) or 0)
    if not width or len(query) % width or len(key) % width or hasattr(module, "q_norm"):
        raise UnsupportedError(
            f"in {type(module).__name__} the scores are not the product of two projections of "
            "heads (a norm stands between, or heads have no one width), which reading='paper' "
            "takes the traces of: use reading='code'"
        )
    query, key = (weight.reshape(-1, width, weight.shape[1]) for weight in (query, key))
    key = key.repeat_interleave(len(query) // len(key), dim=0)
    inner = key @ query.mT  # (H, d, d); its square has the trace that of the (D, D) one has
    found: Tensor = (inner * inner.mT).sum((1, 2)).cpu()
    return found


def _weight(module: nn.Module, name: str) -> Tensor:
    """The weight of a plain projection in float32."""
    projection = getattr(module, name, None)
    if type(projection) is not nn.Linear or projection.weight.is_meta:
        raise UnsupportedError(
            f"{type(module).__name__} has no plain {name} in memory (it is quantized, adapted, "
            "offloaded or of another name), whose weights reading='paper' needs: use reading='code'"
        )
    return projection.weight.detach().float()


@INTERVENTIONS.register("tame")
@dataclass(frozen=True)
class TAME(AttentionIntervention):
    """Anchor tokens are tamed by a factor on the scores before the softmax, in all layers and rows.

    The paper's formula and its public code (Everlyn-Labs/ANTRP) share no term; both can be had, and
    neither reproduces the paper's figures.

    **``reading="code"``**, with q and k the queries and keys behind the rotary embedding and the
    mean over heads::

        S <- (1 + g / ln Tq) (1 + g / ln Tk) S
        Tq = mean over h of sum over the rows t of the pass of |q_ht|^2
        Tk = mean over h of sum over all keys j so far of |k_hj|^2

    A pass of the code is the prompt, then one token at a time. So all rows of the prompt have one
    factor here, whatever pass they are run in, and a generated row has that of itself and the keys
    up to it: the numbers of the code, with a cache and without, in blocks of drafted tokens too.
    The factor is above 1: attention becomes sharper. Generated rows, of smaller Tq, get more of it.
    Rows of the prompt get a factor that depends on all of it, hence ``looks_ahead``. Where this
    differs from the code:

    - the code averages over the batch, beams included; here each sample has its own T.
    - padding counts in neither sum. It does in the code.
    - T is summed in float32. In float16, as the code runs, Tk of a long prompt exceeds 65504: then
      its factor is 1.
    - a T below e is taken for e, so that no logarithm is near zero: this library's. The T of models
      in use are in the hundreds and more.
    - its switches ``expansion`` and ``suppression`` are 1 in the code and left out.

    The code has no switch that turns it off: other methods that were run in its repository (VCD,
    OPERA and so on as baselines) were run with this factor.

    **``reading="paper"``**, as others quote the paper, which was not read: the weights' product is
    scaled, which is a constant of each head::

        S <- gamma ln(eta + 1e-6) / sqrt(eta) S,   eta = tr(W_QK^2)

    Whether eta is a head's or a layer's is not known, nor is gamma: it must be given, and figures
    with it are nobody's. ``1 / (etas(adapter).log() / etas(adapter).sqrt()).mean()`` would keep the
    scores as they are on average. For eta below 1 the factor is negative. Where eta is not positive
    there is none, and the head is left as it is: this library's choice, as is one eta a head. It is
    computed once for a model object.

    Default: the code's, for it is the one of which all numbers are known. Saliency takes the
    factors as constants. Samples without an image are edited like others, as in the code.

    Args:
        reading: ``"code"`` or ``"paper"``, see above.
        strength: g of the code, 0.8 there; 0 is the plain model, bit for bit.
        gamma: of the paper's formula; for that reading alone.
        layers: where it acts; all by default.

    >>> TAME(strength=0.0).is_identity
    True
    """

    reading: Literal["code", "paper"] = "code"
    strength: float = 0.8
    gamma: float | None = None
    layers: LayerSpec = None

    summary: ClassVar[str] = "scales attention scores by the size of queries and keys"
    paper: ClassVar[str] = "Intervening Anchor Token: Decoding Strategy (ICLR 2025)"
    url: ClassVar[str] = "https://openreview.net/forum?id=zGb4WgCW5i"
    looks_ahead: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"strength": 5.0}
    off: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"strength must be at least 0 (no edit), got {self.strength}")
        check_choices(self)
        if (self.gamma is None) == (self.reading == "paper"):
            raise ValueError(
                f"gamma is for reading='paper', and must be given there: got gamma={self.gamma} "
                f"with reading={self.reading!r}"
            )
        if self.gamma is not None and not math.isfinite(self.gamma):
            raise ValueError(f"gamma must be a finite number, got {self.gamma}")
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether the code's reading has no strength; the paper's has none that is off."""
        return self.reading == "code" and self.strength == 0

    @property
    def shares_prefix(self) -> bool:  # type: ignore[override]  # depends on an option here
        """Whether factors are those of the weights, whatever the prompt."""
        return self.reading == "paper"

    def prepare(self, prompt: Prompt) -> dict[int, Tensor]:
        """By layer, factors of the prompt's rows: (B, 1, 1, 1), noted as it runs; or (H, 1, 1)."""
        if self.reading == "code" or self.gamma is None:
            return {}
        model = prompt.adapter.model
        if model not in _FOUND:
            _FOUND[model] = etas(prompt.adapter)
        found = _FOUND[model]
        positive = found > 0
        safe = torch.where(positive, found, 1.0)
        factors = self.gamma * (safe + _XI).log() / safe.sqrt()
        factors = torch.where(positive, factors, 1.0)
        return {layer: factor[:, None, None] for layer, factor in enumerate(factors)}

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Multiply scores (B, H, q, k) by the factor of their row or head."""
        return scores * self._factor(context.queries, context.keys, context).to(scores)

    @property
    def has_closed_form(self) -> bool:
        """Always: scores that are multiplied by row and head are those of scaled queries."""
        return True

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Tensor:
        """Plain attention of scaled queries, (B, H, q, d)."""
        factor = self._factor(plain.query, plain.key, context).to(plain.query.device)
        query = (plain.query * factor).to(plain.query)
        seen, scale = plain.visible, plain.scale
        return plain_attention(query, plain.key, plain.value, seen, scale, plain.sink).output

    def _factor(self, query: Tensor, key: Tensor, context: AttentionContext) -> Tensor:
        """What scores are multiplied by, from queries (B, H, q, d) and keys (B, H or Hkv, k, d)."""
        factors: dict[int, Tensor] = context.state(self)
        if self.reading == "paper":
            return factors[context.layer]
        query, key = query.detach().float(), key.detach().float()
        place, starts = context.query_positions, [[s.output_start] for s in context.spans]
        prompt = (place >= 0) & (place < place.new_tensor(starts))
        rows = query.square().sum(-1).mean(1)
        keys = key.square().sum(-1).mean(1)
        if context.layer not in factors:
            if context.first_query_column:
                raise UnsupportedError(
                    "TAME sums over all rows of the prompt: run the prompt as a whole"
                )
            known = context.key_positions
            mine = (known >= 0) & (known < known.new_tensor(starts))
            sums = [(rows * prompt).sum(1), (keys * mine).sum(1)]
            factors[context.layer] = self._scaled(*sums)[:, None, None, None]
        of_prompt = factors[context.layer].to(rows.device)
        if context.first_query_column + len(place[0]) <= context.spans[0].output_column:
            return of_prompt
        known = context.key_positions[:, None]
        seen = (known >= 0) & (known <= place[:, :, None])
        own = self._scaled(rows, (seen * keys[:, None]).sum(-1))
        return torch.where(prompt[:, None, :, None], of_prompt, own[:, None, :, None])

    def _scaled(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The factor of Tq and Tk, of any shape.

        >>> wanted = TAME()._scaled(torch.tensor(math.e**2), torch.tensor(math.e**4))
        >>> round(wanted.item(), 4)
        1.68
        """
        logs = (total.clamp(min=math.e).log() for total in (queries, keys))
        first, second = (1 + self.strength / log for log in logs)
        return first * second
