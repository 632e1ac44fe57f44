"""VCD: contrast with a noised image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.contrast import Contrast
from lvlmsal.registry import INTERVENTIONS

STEPS = 1000
"""Length of the code's diffusion schedule."""


@INTERVENTIONS.register("vcd")
@dataclass(frozen=True)
class VCD(Contrast):
    """Visual contrastive decoding: subtracts what the model says of a noised image.

    With l the logits on the image v and l' those on v' (its own stream and cache, fed with the same
    tokens), both (B, V)::

        v' = sqrt(abar) v + sqrt(1 - abar) eps,   eps ~ N(0, 1) once per image
        l_cd = (1 + alpha) l - alpha l',   only where p(y) >= beta max p

    v are the processed pixels, after resizing and normalization. Beam search, sampling and SGRS go
    on from l_cd; the paper samples at temperature 1.

    Where paper and public code (DAMO-NLP-SG/VCD) differ:

    - the paper's forward process has a constant gamma = 0.1 a step, abar = 0.9^T, which is pure
      noise from a few dozen steps on; the code's abar follows a sigmoid schedule of 1000 steps,
      which keeps 0.863 v at T = 500. Default: the code's; ``schedule="paper"`` is the other.
    - the paper has T = 999 for POPE, 500 for MME and LLaVA-Bench; the code's POPE script has 500.
    - the paper has beta = 0.1, the code's POPE script 0.2; alpha is 1 in both, but the code falls
      back to 0.5 where it is not passed, as in its InstructBLIP script.
    - the code replaces transformers' sampling loop alone: with the version that it pins, greedy
      decoding and beam search run without the contrast and say nothing. Here no decoder does.

    The noise belongs to the image (our choice): it depends on ``noise_seed`` and the pixels alone,
    so that an answer does not depend on the batch and all questions on an image see the same one.
    Each tile of an image has its own. A sample without an image has nothing to contrast with; the
    cut still acts on it.

    The sum of VCD and ICD that ICD's code knows is not offered: it takes two second streams.

    Args:
        alpha: strength of the contrast.
        beta: plausibility cut; 0 cuts nothing. The cut alone (``alpha=0``) is the control that
            shows how much of a gain under sampling is due to it.
        noise_step: T, an index into the schedule, 0 to 999.
        schedule: ``"code"`` or ``"paper"``, see above.
        noise_seed: of eps.

    >>> VCD().signal  # doctest: +ELLIPSIS
    0.863...
    """

    noise_step: int = 500
    schedule: Literal["code", "paper"] = "code"
    noise_seed: int = 0

    summary: ClassVar[str] = "contrasts the logits with those of a noised image"
    paper: ClassVar[str] = "Visual Contrastive Decoding (CVPR 2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2311.16922"
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"noise_step": 999}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.noise_step < STEPS:
            raise ValueError(f"noise_step must be from 0 to {STEPS - 1}, got {self.noise_step}")

    @property
    def signal(self) -> float:
        """sqrt(abar), what is left of the image."""
        if self.schedule == "paper":
            return math.sqrt(0.9**self.noise_step)
        low, high = 1e-5, 5e-3
        points = torch.linspace(-6, 6, STEPS, dtype=torch.float64).sigmoid() * (high - low) + low
        return float((1 - points).cumprod(0)[self.noise_step].sqrt())

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt with noised pixels; none without images or without a contrast."""
        return prompt.with_pixels(self._noised) if self.alpha else None

    def _noised(self, image: Tensor) -> Tensor:
        """Noise one image or tile."""
        content = hashlib.sha256(f"{self.noise_seed} ".encode())
        content.update(image.detach().float().cpu().numpy().tobytes())
        # the generator takes no more than 63 bits
        seed = int.from_bytes(content.digest()[:8], "little") >> 1
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(image.shape, generator=generator).to(image)
        return self.signal * image + math.sqrt(1 - self.signal**2) * noise
