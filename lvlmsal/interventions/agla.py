"""AGLA: adds what the model says of the image without what the question is not about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from lvlmsal.adapters.messages import question_of
from lvlmsal.attention.prompt import Prompt, changed
from lvlmsal.evidence.base import Kind, Relevance, RelevanceMap
from lvlmsal.evidence.opening import open_evidence
from lvlmsal.interventions.contrast import AddedView
from lvlmsal.interventions.outside import AsksOutside
from lvlmsal.registry import INTERVENTIONS

BLUR = 0.02
"""Sigma of the map's blur, as a share of the image's longer side."""


@INTERVENTIONS.register("agla")
@dataclass(frozen=True)
class AGLA(AddedView, AsksOutside):
    """Assembly of global and local attention: adds the logits of the image's relevant part.

    With l the logits on the image and l' those on the image in which all that has nothing to do
    with the question is black (its own stream and cache, fed with the same tokens), both (B, V)::

        l_a = l + alpha l',   only where p(y) >= beta max p

    How much each place has to do with the question, and how similar s image and question are, is
    asked of ``evidence``. The map is scaled to the image's N pixels by cubic splines, blurred by a
    sigma of 0.02 of the longer side, and sorted from the highest value down; what is below entry
    floor(N r) becomes black, with::

        r = min(1 - s / 2, 1 - 1e-5)

    So the more similar both are, the less is kept, and floor(N r) + 1 pixels or more always are.

    **The sum sharpens**: see :class:`~lvlmsal.interventions.ritual.RITUAL`, and show it next to
    ``control=True``.

    Checked against the public code (Lackel/AGLA):

    - its evidence is ``blip-matching``, the large model, layer 6. It is given the question without
      what an evaluation puts behind it ("Please answer this question with one word."); here it is
      given the whole question. With other evidence this is "AGLA-style".
    - its sampler hands the second stream the first one's cache from the second token on, so that
      only the first token sees the changed image, and the rest of an answer is (1 + alpha) l. Here
      the stream has its own cache; figures on long answers will differ from the paper's.
    - it squeezes the image to 384 x 384 before it is changed, while the first stream's is cropped:
      two geometries. Here the image is changed at its own size.
    - it samples at temperature 1; here any decoder goes on from l_a.
    - a sample without an image keeps its logits; of a video each frame is changed by itself.

    It needs raw images: ask by ``lvlm.generate``, ``ask`` or an evaluation.

    Args:
        evidence: what maps relevance, such as ``"blip-matching"`` or ``{"name": "file", "path":
            "maps.jsonl"}``.
        alpha: weight of the changed image's logits.
        beta: plausibility cut; 0 cuts nothing.
        control: take l' = l, without a second stream and without evidence.
    """

    alpha: float = 2.0
    beta: float = 0.5

    summary: ClassVar[str] = "adds the logits of the image without what is irrelevant"
    paper: ClassVar[str] = "AGLA: Assembly of Global and Local Attention (CVPR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2406.12718"
    shares_prefix: ClassVar[bool] = True
    asks: ClassVar[Kind] = RelevanceMap
    strong: ClassVar[Mapping[str, Any]] = {"evidence": "stand-in"}

    def __post_init__(self) -> None:
        AddedView.__post_init__(self)
        if self.brings_second_stream or self.evidence is not None:
            AsksOutside.__post_init__(self)

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same prompt about changed images; none without images or for the control."""
        if not self.brings_second_stream or not any(spans.images for spans in prompt.spans):
            return None
        assert self.evidence is not None  # the constructor has asked for it
        evidence = open_evidence(self.evidence, RelevanceMap)
        found = []
        for pictures, question in zip(prompt.asked.pictures, prompt.asked.questions, strict=True):
            change = partial(relevant_part, evidence=evidence, question=question_of(question))
            found.append([changed(picture, change) for picture in pictures])
        return prompt.with_pictures(found)


def relevant_part(image: Image.Image, *, evidence: RelevanceMap, question: str) -> Image.Image:
    """An image in RGB in which what a question is not about is black."""
    found = evidence.relevance(image, question)
    values = np.asarray(image)
    kept = kept_places(scaled(found, image.size), found.similarity)
    return Image.fromarray(np.where(kept[..., None], values, 0).astype(np.uint8))


def scaled(found: Relevance, size: tuple[int, int]) -> NDArray[np.float64]:
    """A map over each pixel of an image of (width, height), blurred, float64 (height, width)."""
    values = found.map.astype(np.float64)
    values = values - values.min()
    values = values / (values.max() or 1.0)
    width, height = size
    factors = height / values.shape[0], width / values.shape[1]
    grown = zoom(values, factors, order=3, mode="grid-constant", grid_mode=True)
    blurred: NDArray[np.float64] = gaussian_filter(grown.clip(0, 1), BLUR * max(size))
    return blurred


def kept_places(values: NDArray[np.float64], similarity: float) -> NDArray[np.bool_]:
    """Which places of a map stay, of its shape.

    >>> kept_places(np.array([5.0, 4, 3, 2, 1]), 0.8).tolist()
    [True, True, True, True, False]
    """
    ratio = min(1 - similarity / 2, 1 - 1e-5)
    ordered = np.sort(values, axis=None)[::-1]
    kept: NDArray[np.bool_] = values >= ordered[int(values.size * ratio)]
    return kept
