"""VORD: bans what becomes more probable once the image is noised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.base import HiddenStateIntervention, LogitsIntervention
from lvlmsal.interventions.contrast import rows_with_images
from lvlmsal.interventions.vcd import VCD
from lvlmsal.registry import INTERVENTIONS


class _ImageMeans(HiddenStateIntervention):
    """Looks on: the mean (B, D) of what the visual tokens carry into the first layer."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []  # which the copy that a session makes shares

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Keep it; zero where a sample has none."""
        if context.layer == 0:
            visual = context.image_rows()[:, :, None]
            self.found.append((states.float() * visual).sum(1) / visual.sum(1).clamp_min(1))
        return states


@INTERVENTIONS.register("vord")
@dataclass(frozen=True)
class VORD(LogitsIntervention):
    """Visual ordinal calibration: bans tokens that a noised image makes more probable.

    With p the probabilities on the image v and p' those on v', noised as VCD does it (its own
    stream and cache, fed with the same tokens), both (B, V), and f the mean over the visual tokens
    of what enters the first layer of the decoder, (B, D)::

        m = arccos(cos(f(v), f(v'))) / pi
        l(y) = -inf   where min(p(y) + m, 1) < p'(y),   else l(y) as it is

    An image that shows y must make it at least as probable as noise does, up to a margin m for how
    much the noise has changed. The logits themselves are not contrasted. Where all tokens of a row
    would be banned, which rounding alone can do, none is.

    What could not be checked: the code of the paper was not reached. This form is that of its first
    author's later repository, and

    - there the rule acts on sampling alone, and greedy decoding ignores it; here no decoder does.
    - there a plausibility cut at 0.1 is computed and never applied; here is none.
    - there the noise is that of step 500. For LLaVA and other models that is a choice of this
      library; so is taking f where it can be taken in every family, behind the projector.
    - a sample with several images has one margin, that of the mean over all of its visual tokens: a
      choice of this library. A sample without an image keeps its logits.

    Args:
        margin: a number in the place of m; 1 bans nothing and is the plain model.
        noise_step: of VCD's schedule, 0 to 999.
        schedule: ``"code"`` or ``"paper"``, those of VCD.
        noise_seed: of the noise.

    >>> p, noised = torch.tensor([[[0.6, 0.3, 0.1]]]), torch.tensor([[[0.2, 0.7, 0.1]]])
    >>> banned(p.log(), noised.log(), torch.tensor([0.2])).tolist()
    [[[False, True, False]]]
    """

    margin: float | None = None
    noise_step: int = 500
    schedule: Literal["code", "paper"] = "code"
    noise_seed: int = 0

    summary: ClassVar[str] = "bans tokens that a noised image makes more probable"
    paper: ClassVar[str] = "VORD: Visual Ordinal Calibration (2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2412.15739"
    has_second_stream: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"margin": 0.0, "noise_step": 999}
    off: ClassVar[Mapping[str, Any]] = {"margin": 1.0}

    def __post_init__(self) -> None:
        if self.margin is not None and not 0 <= self.margin <= 1:
            raise ValueError(f"margin must be from 0 to 1 (bans nothing), got {self.margin}")
        self._noise()

    def _noise(self) -> VCD:
        """VCD's noise under these options, which that checks."""
        return VCD(noise_step=self.noise_step, schedule=self.schedule, noise_seed=self.noise_seed)

    @property
    def is_identity(self) -> bool:
        """Whether the margin is 1."""
        return self.margin == 1

    @property
    def brings_second_stream(self) -> bool:
        """Whether the margin leaves anything to ban."""
        return self.margin != 1

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt with noised pixels; none without images."""
        return self._noise().second_inputs(prompt)

    def prepare(self, prompt: Prompt) -> Tensor:
        """The margin of each sample, float32 (B,)."""
        noised = None if self.margin is not None else self.second_inputs(prompt)
        if noised is None:
            return torch.full((len(prompt.spans),), self.margin or 0.0)
        looks = _ImageMeans(), _ImageMeans()
        prompt.run(looks[0], layers=1, plain=True)
        prompt.run(looks[1], layers=1, plain=True, inputs=noised)
        one, other = (normalize(look.found[-1], dim=-1) for look in looks)
        # the arc cosine of nearly 1 is next to no angle at all: this one is exact there
        angle = 2 * torch.atan2((one - other).norm(dim=-1), (one + other).norm(dim=-1))
        return angle / math.pi

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where a row has an image."""
        return bool(rows_with_images(context, logits).any())

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """The logits (B, r, V) less what is banned."""
        if context.second is None:
            return logits
        margin = context.state(self).to(logits)
        bans = banned(logits, context.second.to(logits), margin)
        return logits.masked_fill(bans & rows_with_images(context, logits), -torch.inf)


def banned(logits: Tensor, noised: Tensor, margin: Tensor) -> Tensor:
    """Which tokens a noised image makes more probable by more than a margin, boolean (B, r, V).

    Args:
        logits: on the image, (B, r, V).
        noised: on the noised image.
        margin: of each sample, (B,).
    """
    one, other = logits.softmax(-1), noised.softmax(-1)
    found = (one + margin[:, None, None]).clamp(max=1.0) < other
    kept = logits.isfinite() & ~found
    return found & kept.any(-1, keepdim=True)
