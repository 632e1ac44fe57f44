"""CICD: contrast with another image, the harder the more both agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor

from lvlmsal.adapters.images import open_image
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import DataError
from lvlmsal.interventions.base import LogitsIntervention
from lvlmsal.interventions.contrast import (
    check_contrast,
    plausible,
    rows_with_images,
    undecided,
)
from lvlmsal.pictures import digest_of
from lvlmsal.registry import INTERVENTIONS, check_choices

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
"""Of files that are taken for images of the pool."""

STAND_IN = "stand-in"
"""In the place of a folder: images of colored blocks, for dry runs and tests."""

NEAR = 1e-4
"""Divergence up to which both are taken for the same, and the logits stay."""


@INTERVENTIONS.register("cicd")
@dataclass(frozen=True)
class CICD(LogitsIntervention):
    """Cross-image contrast: subtracts what the model says of another, unrelated image.

    With l the logits on the image and l' those on the other one (its own stream and cache, fed with
    the same tokens), both (B, V), p and p' after the softmax, and d the divergence of these, at
    most 1, for each row by itself::

        a = min(max_alpha, 1 - log10 d)
        l_c = l + a (l - l')   where d > 1e-4, else l;   only where p(y) >= beta max p

    What both images agree on is taken for a habit of language, so the contrast is hardest where d
    is small: at the default a runs from 1 (d = 1) to 3 (d = 0.01 and less).

    Where paper and public code differ, and what is a choice of this library:

    - both speak of the Jensen-Shannon divergence; the code calls a KL function with its arguments
      turned round, which gives (KL(m||p) + KL(m||p')) / 2 with m the mean: larger, and without a
      bound but for the cap at 1. Default: ``divergence="js"``; ``"code"`` is the other one.
    - the other image is drawn from the data set that is evaluated, at random or as the least
      similar by CLIP. Here it comes from a folder of your own (``images``), which must not be the
      benchmark: an image about which the next question asks is no unrelated one. Which one of the
      folder is a matter of the image's pixels and ``image_seed``, so no answer depends on the
      batch. It is scaled to the image's size, so that the number of visual tokens stays.
    - the cut is 0.25 for yes-no questions and 0.1 for captions, in the code; default: 0.1.
    - the code averages d over the batch; here each row has its own. It samples; here any decoder
      goes on from l_c.
    - a sample without an image keeps its logits, without the cut.

    It needs raw images: ask by ``lvlm.generate``, ``ask`` or an evaluation.

    Args:
        images: folder of the other images (PNG, JPEG, WebP, BMP; not below it), at least two. Must
            be given unless ``max_alpha`` is 0. ``"stand-in"`` takes images of random blocks, for
            dry runs and tests: what comes of them is no result.
        max_alpha: largest strength of the contrast; 0 is no contrast.
        beta: plausibility cut; 0 cuts nothing. The cut alone (``max_alpha=0``) is the control.
        divergence: ``"js"`` or ``"code"``, see above.
        image_seed: of the choice.
    """

    images: str | None = None
    max_alpha: float = 3.0
    beta: float = 0.1
    divergence: Literal["js", "code"] = "js"
    image_seed: int = 0

    summary: ClassVar[str] = "contrasts the logits with those of another image"
    paper: ClassVar[str] = "Cross-Image Contrastive Decoding (2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2505.10634"
    has_second_stream: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"images": STAND_IN}
    off: ClassVar[Mapping[str, Any]] = {"max_alpha": 0.0, "beta": 0.0}

    def __post_init__(self) -> None:
        if not self.max_alpha >= 0:
            raise ValueError(f"max_alpha must be at least 0 (no contrast), got {self.max_alpha}")
        check_contrast(0, self.beta)
        check_choices(self)
        if self.max_alpha and self.images is None:
            raise ValueError(
                "images is missing: give a folder with images that are none of the benchmark's, "
                "images: FOLDER"
            )

    @property
    def is_identity(self) -> bool:
        """Whether neither contrast nor cut is left."""
        return self.max_alpha == 0 and self.beta == 0

    @property
    def brings_second_stream(self) -> bool:
        """Whether there is a contrast."""
        return self.max_alpha != 0

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt about other images; none without images or without a contrast.

        Raises:
            DataError: the folder holds fewer than two images, or one that cannot be read.
        """
        return prompt.with_images(self.other) if self.max_alpha else None

    def other(self, picture: Image.Image) -> Image.Image:
        """The image that stands in the place of another one, scaled to its size."""
        assert self.images is not None  # a contrast has a folder
        rng = Random(f"{self.image_seed} {digest_of(picture)}")
        if self.images == STAND_IN:
            blocks = Image.frombytes("RGB", (8, 8), rng.randbytes(8 * 8 * 3))
            return blocks.resize(picture.size, Image.Resampling.NEAREST)
        files = _pool(self.images)
        first = rng.randrange(len(files))
        for file in (files[first], files[first - 1]):
            found = open_image(file)
            if digest_of(found) != digest_of(picture):
                break
        return found.resize(picture.size, Image.Resampling.BICUBIC)

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where the cut leaves more than one token of a row with an image."""
        seen = rows_with_images(context, logits).flatten()
        return bool(seen.any()) and undecided(logits[seen], self.beta)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """l_c under the cut, shape (B, r, V)."""
        contrasted = logits if context.second is None else self.combined(logits, context.second)
        cut = plausible(contrasted, logits, self.beta)
        return torch.where(rows_with_images(context, logits), cut, logits)

    def combined(self, logits: Tensor, second: Tensor) -> Tensor:
        """The contrast of two logits (B, r, V)."""
        distance = divergence(logits, second.to(logits), turned=self.divergence == "code")
        distance = distance.clamp(max=1.0)[..., None]
        weight = (1 - distance.clamp_min(NEAR).log10()).clamp(max=self.max_alpha)
        # a token that another method banned stays banned
        moves = (distance > NEAR) & logits.isfinite()
        return torch.where(moves, logits + weight * (logits - second), logits)


def divergence(first: Tensor, second: Tensor, *, turned: bool) -> Tensor:
    """How far the distributions of two logits (..., V) are apart, in nats, shape (...).

    Args:
        first: one.
        second: the other.
        turned: take the mean of KL(m||p), which public codes call the Jensen-Shannon divergence, in
            place of that of KL(p||m), which is it; m is the mean of both.

    >>> p, q = torch.tensor([0.9, 0.1]).log(), torch.tensor([0.5, 0.5]).log()
    >>> tuple(round(divergence(p, q, turned=turned).item(), 4) for turned in (False, True))
    (0.1017, 0.118)
    """
    logs = [first.log_softmax(-1), second.log_softmax(-1)]
    mean = torch.logaddexp(*logs) - torch.log(first.new_tensor(2.0))
    parts = []
    for log in logs:
        left, right = (mean, log) if turned else (log, mean)
        # where nothing is left nothing is lost; a token that one of both bans is not compared
        known = left.isfinite() & right.isfinite()
        gap = torch.where(known, left - torch.where(known, right, 0.0), 0.0)
        parts.append((torch.where(known, left.exp(), 0.0) * gap).sum(-1))
    return (parts[0] + parts[1]) / 2


@cache
def _pool(folder: str) -> list[Path]:
    """Images in a folder, by name.

    Raises:
        DataError: there are fewer than two.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError("there is no such folder; cicd takes other images from it", path=path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if len(files) < 2:
        raise DataError(
            f"the folder holds {len(files)} images ({', '.join(sorted(SUFFIXES))}); cicd needs at "
            "least two, so that one is another than that of the question",
            path=path,
        )
    return files
