"""SID: contrast with the model as it is where it sees its least attended image tokens alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import Intervention
from lvlmsal.interventions.contrast import Contrast
from lvlmsal.interventions.least_attended import LeastAttended, check_layer, image_pool
from lvlmsal.registry import INTERVENTIONS


@dataclass(frozen=True)
class LeastOfImage(LeastAttended):
    """So many of a sample's image tokens stay.

    Args:
        kept: how many.
    """

    kept: int

    def pool(self, context: AttentionContext) -> tuple[Tensor, Tensor]:
        """The image's keys, and the same number for all rows."""
        keys = image_pool(context)
        return keys, keys.new_full(keys.shape[:2], self.kept, dtype=torch.long)


@INTERVENTIONS.register("sid")
@dataclass(frozen=True)
class SID(Contrast):
    """Self-introspective decoding: subtracts what the model says on its least attended image.

    The second stream has the same prompt and a cache of its own. Its layers before i are the
    model's. With A (B, H, q, k) the weights of its layer i - 1, in each row that predicts, the
    ``kept`` image columns with the smallest mean over heads of A stay; the others are hidden from
    layer i to the last. They are chosen again in each step, and rows of the prompt go by the choice
    of its last row. Text is always seen. With l and l' the logits (B, V) of both streams::

        l_cd = (1 + alpha) l - alpha l',   only where p(y) >= beta max p

    Where the paper, as others quote it, and the public code (huofushuo/SID) differ, or say nothing:

    - **Strength.** The code's flag says alpha = 1 and is not passed on: 0.5 acts, the default here.
    - **Cut.** All commands of the code's README are greedy, and its greedy search takes the highest
      logit before the cut: ``beta=0`` is that. Under sampling the cut of 0.1 acts; here it acts
      under any decoder.
    - **Tokens.** The code keeps 100 of LLaVA's 576 in its command for POPE (the default), 50 for
      CHAIR, and 16 with i = 10 for SHR; the paper's own numbers were not found. Where an image
      has no more than are kept, both streams are the same.
    - **Image.** For InstructBLIP the code takes the whole prompt behind its first token for the
      image. Here columns are the visual tokens of each sample, of all of its images together.
    - **Padding.** The code's layers before i see it. Here they do not.
    - The code can also drop the tokens from the prompt for good, without a cache; that is not
      offered.

    Tokens that the second stream runs together, after it was not wanted for a while, are chosen for
    row by row, as if each had been run by itself. A sample without an image has nothing to contrast
    with; the cut still acts on it.

    Args:
        alpha: strength of the contrast.
        beta: plausibility cut; 0 cuts nothing.
        kept: visual tokens of a sample that its second stream still sees.
        layer: i, from 1 on: the first layer that sees no others.
    """

    alpha: float = 0.5
    kept: int = 100
    layer: int = 2

    summary: ClassVar[str] = "contrasts the logits with those on the least attended image tokens"
    paper: ClassVar[str] = "Self-Introspective Decoding (ICLR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2408.02032"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"alpha": 3.0, "beta": 0.0, "kept": 1, "layer": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kept < 1:
            raise ValueError(f"kept must be at least 1, got {self.kept}")
        check_layer(self.layer)

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt; none without images or without a contrast."""
        seen = any(spans.images for spans in prompt.spans)
        return prompt.again() if self.alpha and seen else None

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """Those of the second stream that are edited."""
        return LeastOfImage(self.layer, self.kept).acting_layers(num_layers)

    def second_edits(self, prompt: Prompt) -> Sequence[Intervention]:
        """What hides image tokens there."""
        return (LeastOfImage(self.layer, self.kept),)
