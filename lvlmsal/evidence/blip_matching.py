"""What a text has to do with an image, by BLIP's image-text matching: where, and how much."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from lvlmsal.errors import UnsupportedError
from lvlmsal.evidence.base import Relevance, RelevanceMap, TextScorer
from lvlmsal.evidence.from_model import Arrays, ModelEvidence
from lvlmsal.registry import EVIDENCE

WORDS, TOKENS = 50, 35
"""Of a text, so many are read."""


@EVIDENCE.register("blip-matching")
@dataclass(frozen=True)
class BlipMatching(ModelEvidence, RelevanceMap, TextScorer):
    """Grad-CAM of a BLIP model that was trained to match images and texts.

    With A the cross-attention of one layer of the text encoder, (heads, tokens, patches), and s the
    logit of "they match"::

        map        = mean over tokens of the text of mean over heads of A * relu(ds / dA)
        similarity = cosine of the two embeddings that the model compares images and texts by

    The first and the last token, which begin and end every text, do not count, nor does the image's
    class token. The map has a value for each patch: 24 x 24 in the large model.

    It is that of LAVIS, which AGLA takes; the text is prepared as there: in lower case, without
    ``. ! " ( ) * # : ; ~``, of 50 words and 35 tokens at most. LAVIS puts a token of its own in
    front of the text for the match; transformers' class leaves the tokenizer's, and so does this.

    The score of a text is the same cosine. There the text is taken as it is, however long: of one
    that the encoder has no positions for, the last tokens are read, in which continuations of one
    text differ.

    Args:
        model: a folder or hub id of a `BlipForImageTextRetrieval`.
        layer: of the text encoder.
    """

    model: str = "Salesforce/blip-itm-large-coco"
    layer: int = 6

    summary: ClassVar[str] = "Grad-CAM of BLIP's image-text matching, and its similarity"
    paper: ClassVar[str] = "BLIP: Bootstrapping Language-Image Pre-training (ICML 2022)"
    url: ClassVar[str] = "https://arxiv.org/abs/2201.12086"
    model_class: ClassVar[str] = "BlipForImageTextRetrieval"

    def relevance(self, image: Image.Image, text: str) -> Relevance:
        """See the base class.

        Raises:
            UnsupportedError: the text encoder has no such layer, or the text no words.
        """
        words = prepared(text)
        if not words:
            raise UnsupportedError(f"the text {text!r} has no words, so nothing can be about it")
        made = self.kept(image, [words, self.layer], lambda: self._asked(image, words))
        return Relevance(made["map"], float(made["similarity"]))

    def scores(self, image: Image.Image, texts: Sequence[str]) -> list[float]:
        """See the base class."""
        asked = ["scores", *texts]
        found: list[float] = self.kept(image, asked, lambda: self._scored(image, texts))[
            "scores"
        ].tolist()
        return found

    def _scored(self, image: Image.Image, texts: Sequence[str]) -> Arrays:
        model, processor = self.loaded
        most = int(model.config.text_config.max_position_embeddings)
        with torch.no_grad():
            pixels = processor(images=image, return_tensors="pt").to(self.device)["pixel_values"]
            seen = model.vision_model(pixel_values=pixels).last_hidden_state[:, 0]
            one = normalize(model.vision_proj(seen), dim=-1)
            found = []
            for text in texts:
                first, *rest = processor.tokenizer(text)["input_ids"]
                ids = torch.tensor([[first, *rest[-(most - 1) :]]], device=self.device)
                given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                other = normalize(model.text_proj(_read(model, given)), dim=-1)
                found.append(float((one * other).sum()))
        return {"scores": np.array(found, dtype=np.float32)}

    def _asked(self, image: Image.Image, text: str) -> Arrays:
        model, processor = self.loaded
        layers = model.text_encoder.encoder.layer
        if not 0 <= self.layer < len(layers):
            raise UnsupportedError(
                f"evidence {self.name!r}: layer must be from 0 to {len(layers) - 1} in "
                f"{self.model}, got {self.layer}"
            )
        weights: list[Tensor] = []
        attention = layers[self.layer].crossattention.self
        # outside of inference mode, whose tensors know no gradients, wherever this is asked
        with torch.inference_mode(False), torch.enable_grad():
            cut = {"truncation": True, "max_length": TOKENS}
            given = processor(images=image, text=text, **cut, return_tensors="pt").to(self.device)
            seen = model.vision_model(pixel_values=given["pixel_values"]).last_hidden_state
            handle = attention.register_forward_hook(lambda *of: weights.append(of[2][1]))
            try:
                read = _read(model, given, encoder_hidden_states=seen)
            finally:
                handle.remove()
            (gradient,) = torch.autograd.grad(model.itm_head(read)[0, 1], weights[0])
            cam = (weights[0] * gradient.relu())[0].mean(0)  # (tokens, class token and patches)
            tokens = int(given["attention_mask"].sum())
            side = round((cam.shape[1] - 1) ** 0.5)
            places = cam[1 : tokens - 1, 1:].mean(0).reshape(side, side)
            one = normalize(model.vision_proj(seen[:, 0]), dim=-1)
            other = normalize(model.text_proj(_read(model, given)), dim=-1)
        found = {"map": places, "similarity": (one * other).sum()}
        return {name: value.detach().float().cpu().numpy() for name, value in found.items()}


def _read(model: Any, given: Any, **image: Tensor) -> Tensor:
    """What the text encoder makes of the text's first token, with an image or without, (1, D)."""
    output = model.text_encoder(
        input_ids=given["input_ids"], attention_mask=given["attention_mask"], **image
    )
    first: Tensor = output.last_hidden_state[:, 0]
    return first


def prepared(text: str) -> str:
    """A text as BLIP was trained on it.

    >>> prepared('Is there a (big) Dog?  Say "yes".')
    'is there a big dog? say yes'
    """
    words = re.sub(r"[.!\"()*#:;~]", " ", text.lower()).split()
    return " ".join(words[:WORDS])
