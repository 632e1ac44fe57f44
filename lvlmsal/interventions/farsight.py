"""FarSight: registers above the diagonal take up attention that no token deserves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.kernel import PlainAttention
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS, check_choices


@INTERVENTIONS.register("farsight")
@dataclass(frozen=True)
class FarSight(AttentionIntervention):
    """Attention registers: scores above the diagonal that count in the softmax and carry nothing.

    With S the scaled scores (B, H, n, n) of a prompt of n tokens, C the lower triangle and
    P(i, j) = -c (j - i) for j > i, else 0::

        A = softmax(S * C + P) * C

    Rows then sum to less than one, the more so the less a row finds. As registers have no values,
    with Z = sum of exp S(i, j) over the keys that row i sees, this is plain attention times a
    factor, which is how it is computed::

        factor(i) = Z / (Z + R),   R = sum over m = 1 .. M of exp(-c m),   M = n - 1 - i

    The last row of the prompt has no register behind it (M = 0), nor has a generated token at its
    own step: by default both are plain, and act on what the rows before them have become.

    Where paper and public code (FeilongTangmonash/FarSight, ``Shell/farsight_patch.py``) differ:

    - the paper's equation has a decay c = sigma, the same for all heads, though its pseudo-code
      takes slopes for each head and multiplies the scores by sigma; the code's is
      c = sigma (1 - i / (4 (n - 1))) + 2^(-8 (h + 1) / H) for head h of H: half of it gets weaker
      along the rows, and there is a slope for each head. Default: the paper's; ``form="code"`` is
      the other, with its switch ``alibi`` for the slopes.
    - the code's patch adds the causal mask on top of the registers where it is handed one of four
      dimensions, as for every padded batch and under eager attention; it is plain attention then.
      Here registers count always, and padding never does. The repository's ``FarSight.py`` is
      another algorithm, without registers, and is not offered.
    - the code has no cache of keys and values: at each step it runs the whole sequence, so
      that rows of the prompt meet one register more with each token, and rows of generated tokens
      meet some later. Here every row keeps what it had at its own step, with and without a cache:
      this reading is ours. R is its limit within 5% from M = 5 on (in the code's form too), so it
      matters for generated tokens and the last few rows of the prompt.

    Args:
        sigma: decay; ln 256 / ln 1024 = 0.8 in paper and code.
        form: ``"paper"`` or ``"code"``, see above.
        alibi: the slopes for each head, in the code's form.
        horizon: ``"prompt"``: registers up to the prompt's end, as in the equation; ``"endless"``:
            M without limit in all rows of the prompt but the last, so that they do not depend on
            how long the prompt is (in the paper's form).
        generated: whether the rows that predict generated tokens (the prompt's last, and those of
            generated tokens) meet registers too, endless ones: the same for a row however it is
            run. In the code's form they have the decay of the last row of the prompt. Ours.
        strength: ours: a factor on R. 1 is the method; 0 is the plain model, bit for bit.
        layers: see :data:`~lvlmsal.attention.layers.LayerSpec`; all by default.

    >>> FarSight().sigma
    0.8
    """

    sigma: float = 0.8
    form: Literal["paper", "code"] = "paper"
    alibi: bool = True
    horizon: Literal["prompt", "endless"] = "prompt"
    generated: bool = False
    strength: float = 1.0
    layers: LayerSpec = None

    summary: ClassVar[str] = "lets registers above the diagonal take up idle attention"
    paper: ClassVar[str] = "Seeing Far and Clearly (CVPR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2505.16652"
    looks_ahead: ClassVar[bool] = True  # only to count what is there
    strong: ClassVar[Mapping[str, Any]] = {"strength": 20.0}
    off: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"sigma must be above 0, got {self.sigma}")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"strength must be at least 0 (no registers), got {self.strength}")
        check_choices(self)
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether there are no registers."""
        return self.strength == 0

    @property
    def shares_prefix(self) -> bool:  # type: ignore[override]  # depends on an option here
        """Whether no row of the prompt counts how many stand behind it."""
        return self.form == "paper" and self.horizon == "endless"

    def first_row(self, context: AttentionContext) -> int:
        """All rows of a prompt; those that predict generated tokens only where they are edited."""
        if self.generated or context.first_predicting_row:
            return 0
        return len(context.query_columns)

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Multiply each row by what the registers leave of it."""
        return weights * self._factor(context.log_sum_exp, context)[..., None]

    @property
    def has_closed_form(self) -> bool:
        """Always: the factor belongs to the row."""
        return True

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Tensor:
        """The plain output times the factor."""
        factor = self._factor(plain.log_sum_exp, context)[..., None]
        return (plain.output * factor).to(plain.output.dtype)

    def _factor(self, log_sum_exp: Tensor, context: AttentionContext) -> Tensor:
        """Z / (Z + R) from the logarithm of Z, shape (B, H, q)."""
        registers = context.cached(self, lambda: self._log_registers(log_sum_exp, context))
        return torch.sigmoid(log_sum_exp - registers)

    def _log_registers(self, like: Tensor, context: AttentionContext) -> Tensor:
        """Logarithm of R, shape (B, 1 or H, q); -inf where there is no register."""
        row = context.query_positions.to(like.dtype)
        starts = [[spans.output_start] for spans in context.spans]
        last = row.new_tensor(starts) - 1
        decay = torch.full_like(row, self.sigma)[:, None]
        if self.form == "code":
            along = (row / last.clamp(min=1)).clamp(0, 1)
            decay = self.sigma * (1 - 0.25 * along)[:, None]
            if self.alibi:
                heads = like.shape[1]
                head = torch.arange(1, heads + 1, dtype=row.dtype, device=row.device)[:, None]
                decay = decay + 2.0 ** (-8 * head / heads)
        behind = (last - row).clamp(min=0)
        if self.horizon == "endless":
            behind = behind.masked_fill(behind > 0, torch.inf)
        if self.generated:
            behind = behind.masked_fill(row >= last, torch.inf)
        # a geometric sum, exp(-c) (1 - exp(-c M)) / (1 - exp(-c))
        total = torch.log(-torch.expm1(-decay * behind[:, None]))
        return math.log(self.strength) + total - decay - torch.log(-torch.expm1(-decay))
