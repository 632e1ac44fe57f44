"""AllPath: heads that write what is there are made louder, others are silenced."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.kernel import PlainAttention
from lvlmsal.interventions.listed_heads import NO_LISTS, ListedHeads
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("allpath")
@dataclass(frozen=True)
class AllPath(ListedHeads):
    """Intervention on all causal paths: outputs of listed heads times 2 or times 0.

    With o the output of a query head (B, q, d) before the output projection, in every row of the
    prompt and of the answer::

        o <- enhance  * o   for heads of the list good
        o <- suppress * o   for heads of the list bad, unless good holds them as well

    which is done on the weights, A <- s A: rows of those heads then sum to s. Grouped queries share
    keys and values, and a list names query heads. Images do not matter: samples without one are
    edited as well.

    The public code (SooLab/AllPath) makes its lists from two scores of each head: what its output
    adds to the log-probability of right words minus that of wrong ones (text to text), and its
    attention to the objects' regions, or to the whole image for absent ones (image to text). It
    takes 40 good and 40 bad heads by the first and 50 good ones by the second for CHAIR, 20, 20 and
    10 for everything else; lists for LLaVA-1.5-7B and Qwen-VL-Chat come with it. This library does
    not compute these scores: ``good`` is the union of the good heads, ``bad`` that of the bad ones,
    from whoever has scored them. The paper's POPE and MME are sampled at temperature 1.

    Args:
        enhance: factor on heads of ``good``; 2 in the code.
        suppress: factor on heads of ``bad``; 0 in the code.
        good: heads as ``[layer, head]``, where no file holds them.
        bad: likewise.

    The control of the heads is ``random``, with the same factors.
    """

    enhance: float = 2.0
    suppress: float = 0.0
    good: Sequence[Sequence[int]] = ()
    bad: Sequence[Sequence[int]] = ()

    names: ClassVar[tuple[str, ...]] = ("good", "bad")
    by_position: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    summary: ClassVar[str] = "doubles the outputs of listed heads and silences those of others"
    paper: ClassVar[str] = "Intervene on all causal paths (NeurIPS 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2511.17254"
    strong: ClassVar[Mapping[str, Any]] = {**NO_LISTS, "good": [], "bad": [], "enhance": 4.0}
    off: ClassVar[Mapping[str, Any]] = {"enhance": 1.0, "suppress": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("enhance", "suppress"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be at least 0 (1 changes nothing), got {value}")

    @property
    def is_identity(self) -> bool:
        """Whether both factors are 1."""
        return self.enhance == self.suppress == 1

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Each head's rows times its factor."""
        return weights * self._factors(context).to(weights.dtype)

    @property
    def has_closed_form(self) -> bool:
        """Always: the factor belongs to the head."""
        return True

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Tensor:
        """The plain output times the factor."""
        return plain.output * self._factors(context).to(plain.output.dtype)

    def _factors(self, context: AttentionContext) -> Tensor:
        """Of the layer's heads, float32 (1, H, 1, 1)."""

        def make() -> Tensor:
            chosen = self._chosen.to(context.key_columns.device)
            good, bad = chosen[0], chosen[1]
            factors = good.float() * self.enhance + (bad & ~good).float() * self.suppress
            return factors + (~good & ~bad).float()

        return context.cached(self, make)[context.layer][None, :, None, None]
