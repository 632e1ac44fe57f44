"""DAMRO: contrast with the model on the few patches that the image encoder itself attends to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.adapters.towers import TowerFeatures
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.tower import with_features
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.contrast import Contrast
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("damro")
@dataclass(frozen=True)
class DAMRO(Contrast):
    """Subtracts what the model says on the image encoder's own outliers alone.

    With q and k the queries and keys (T, H, d) of the encoder's last layer but one, and its class
    token in front, each image keeps the ``kept`` patches j with the highest::

        q[class] . k[j]          over all heads and dimensions, as one wide head

    The second prompt is the same text with these visual tokens alone, in their order, and no
    placeholders for the others; it has a cache of its own. With l and l' the logits (B, V)::

        l_cd = (1 + alpha) l - alpha l',   only where p(y) >= beta max p

    What the sources leave open, or do in another way:

    - the public code (coder-gx/DAMRO) takes queries and keys as one head as wide as the encoder,
      ``heads="one"``, the default. ``"mean"`` is the mean over heads of the attention weights of
      the class token, as an encoder computes them; the paper does not seem to say which.
    - the order of the kept tokens in the prompt is a choice of this library: that of the image.
    - values are those of LLaVA for MME: 10 tokens, alpha 2. For InstructBLIP the code has 4 tokens
      and alpha 0.5 (POPE) or 1.5 (CHAIR).
    - the code samples from the raw contrast, past temperature and logits processors. Here these
      come behind it, as for all methods.

    It takes an encoder with a class token, as CLIP has one, and images of one picture each:
    LLaVA-1.5 and what shares its form. Others are refused. A sample without an image has nothing to
    contrast with; the cut still acts on it.

    Args:
        alpha: strength of the contrast.
        beta: plausibility cut; 0 cuts nothing.
        kept: visual tokens of each image that the second stream sees; all, where it has fewer.
        heads: ``"one"`` or ``"mean"``, see above.
    """

    alpha: float = 2.0
    kept: int = 10
    heads: Literal["one", "mean"] = "one"

    summary: ClassVar[str] = "contrasts the logits with those on the image encoder's outliers"
    paper: ClassVar[str] = "DAMRO: Dive into the Attention Mechanism of LVLM (EMNLP 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2410.04514"
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 3.0, "beta": 0.0, "kept": 2}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kept < 1:
            raise ValueError(f"kept must be at least 1, got {self.kept}")

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The prompt with these visual tokens; none without images or without a contrast."""
        return with_features(prompt, self.outliers) if self.alpha else None

    def outliers(self, given: TowerFeatures) -> Tensor:
        """Features (n, kept, D) of the patches that the class token attends to most.

        Raises:
            UnsupportedError: the encoder has no class token.
        """
        if not given.has_class_token:
            raise UnsupportedError(
                "DAMRO goes by the class token of the image encoder, and this one has none: use "
                "another contrast, such as vcd"
            )
        if self.heads == "one":
            shares = torch.einsum("nhd,nkhd->nk", given.queries[:, 0], given.keys)
        else:
            shares = given.attention()[:, :, 0].mean(1)
        count = min(self.kept, given.features.shape[1])
        chosen = shares[:, 1:].topk(count).indices.sort().values
        return given.features.take_along_dim(chosen[..., None], dim=1)
