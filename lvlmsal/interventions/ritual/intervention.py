"""RITUAL: adds what the model says of a transformed copy of the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

from PIL import Image

from lvlmsal.attention.prompt import Prompt
from lvlmsal.interventions.contrast import AddedView
from lvlmsal.interventions.ritual.transforms import TRANSFORMS
from lvlmsal.pictures import digest_of
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("ritual")
@dataclass(frozen=True)
class RITUAL(AddedView):
    """Random image transformations: adds the logits of one transformed copy of the image.

    With l the logits on the image and l' those on its copy (its own stream and cache, fed with the
    same tokens), both (B, V)::

        l_r = l + alpha l',   only where p(y) >= beta max p

    The copy is made of the raw image, once for the whole answer, by one of six transformations,
    each as likely: left and right change places, top and bottom do, a rotation by up to 180 degrees
    either way with black corners, color jitter (factors of brightness, contrast and saturation from
    0 to 2, any hue), a Gaussian blur of sigma 1.5 to 2 by a kernel of 13, and a crop of 8 to 100 %
    of the area at a ratio of 3/4 to 4/3.

    **The sum sharpens.** Where the copy changes nothing, l_r is (1 + alpha) l, a temperature of
    1/4 at the default. So show it next to ``control=True``, which is just that, and next to greedy.

    Choices and differences, checked against the public code (sangminwoo/RITUAL):

    - its sampler samples at temperature 1; here any decoder goes on from l_r.
    - its crop is scaled to 336 x 336 whatever the image's ratio was; here to the image's own size,
      so that the prompt keeps its number of visual tokens.
    - its random numbers are those of the global generator; here they are those of the image and
      ``transform_seed``, so that no answer depends on the batch and all questions on an image see
      the same copy. Frames of a video are transformed each by itself.
    - a sample without an image keeps its logits; the code has none.
    - RITUAL+, where the model chooses the transformation, is in no public code and not here.

    It needs raw images: ask by ``lvlm.generate``, ``ask`` or an evaluation.

    Args:
        alpha: weight of the copy's logits.
        beta: plausibility cut; 0 cuts nothing.
        control: take l' = l, without a second stream.
        transform: ``"random"``, or one of them for every image: ``"flip"``, ``"turn-over"``,
            ``"rotate"``, ``"color"``, ``"blur"``, ``"crop"``.
        transform_seed: of the choice and of what it draws.

    >>> RITUAL().changed(Image.new("RGB", (40, 30))).size
    (40, 30)
    """

    alpha: float = 3.0
    transform: Literal["random", "flip", "turn-over", "rotate", "color", "blur", "crop"] = "random"
    transform_seed: int = 0

    summary: ClassVar[str] = "adds the logits of a randomly transformed image"
    paper: ClassVar[str] = "RITUAL: Random Image Transformations as a Universal Lever (2024)"
    url: ClassVar[str] = "https://arxiv.org/abs/2405.17821"
    shares_prefix: ClassVar[bool] = True
    shares_second: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {"transform": "color"}

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt about transformed images; none without images or for the control."""
        return prompt.with_images(self.changed) if self.brings_second_stream else None

    def changed(self, picture: Image.Image) -> Image.Image:
        """The copy of one image in RGB, of its size."""
        rng = Random(f"{self.transform_seed} {digest_of(picture)}")
        name = rng.choice(list(TRANSFORMS)) if self.transform == "random" else self.transform
        return TRANSFORMS[name](picture, rng)
