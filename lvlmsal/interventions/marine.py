"""MARINE: guidance by a prompt that names the objects of the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.adapters.messages import Prompt as Question
from lvlmsal.adapters.messages import normal_messages
from lvlmsal.adapters.videos import pictures_of
from lvlmsal.attention.asked import Asked
from lvlmsal.attention.context import LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.evidence.base import Kind, ObjectLister
from lvlmsal.evidence.opening import open_evidence
from lvlmsal.interventions.outside import AsksOutside
from lvlmsal.registry import INTERVENTIONS

OBJECTS, QUESTION = "{objects}", "{question}"


@INTERVENTIONS.register("marine")
@dataclass(frozen=True)
class MARINE(AsksOutside):
    """Image-grounded guidance: mixes in what the model says when it is told the image's objects.

    With p the probabilities of the prompt and p' those of the same prompt whose question begins
    with the objects of the image (its own stream and cache, fed with the same tokens), (B, V)::

        l_m = (1 - gamma) log p + gamma log p'

    Which objects the image shows is asked of ``evidence``.

    Checked against the public code (Linxi-ZHAO/MARINE, by way of a copy):

    - gamma is 0.7, sampling at temperature 0.6 and top-p 0.9, 64 tokens; here any decoder goes on
      from l_m.
    - the code lists what both DETR (confidence 0.95) and RAM++ (0.68) find, synonyms by WordNet
      counting as the same. RAM++ is no model of transformers: ``object-detection`` is DETR alone,
      and a ``file`` brings any list, that of both among it.
    - the code draws one of four wordings for each question, and has four stricter ones for POPE.
      Default: the first of the four for captions, for every question; ``wording`` is another.
    - a sample without an image keeps its logits, and so does one for whose images no object is
      listed: choices of this library.

    It needs raw images: ask by ``lvlm.generate``, ``ask`` or an evaluation.

    Args:
        evidence: what lists objects, such as ``{"name": "file", "path": "objects.jsonl"}``.
        gamma: weight of the guidance, from 0 (the plain model) to 1 (the other prompt alone).
        wording: of the question; it holds ``{objects}`` and ``{question}``.
        least: objects of lower scores are left out.

    >>> MARINE(evidence="stand-in").asked("Is it so?", ["cat", "dog"])
    'This image contains cat, dog. Based on this, Is it so?'
    """

    gamma: float = 0.7
    wording: str = "This image contains {objects}. Based on this, {question}"
    least: float = 0.0

    summary: ClassVar[str] = "mixes in the logits of a prompt that names the image's objects"
    paper: ClassVar[str] = "MARINE: Image-Grounded Guidance (ICML 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2402.08680"
    has_second_stream: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = True
    asks: ClassVar[Kind] = ObjectLister
    strong: ClassVar[Mapping[str, Any]] = {"evidence": "stand-in", "gamma": 1.0}
    off: ClassVar[Mapping[str, Any]] = {"gamma": 0.0}

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must be from 0 (the plain model) to 1, got {self.gamma}")
        if self.wording.count(OBJECTS) != 1 or self.wording.count(QUESTION) != 1:
            raise ValueError(
                f"wording must hold {OBJECTS} and {QUESTION}, once each, got {self.wording!r}"
            )
        super().__post_init__()

    @property
    def is_identity(self) -> bool:
        """Whether gamma is zero."""
        return self.gamma == 0

    @property
    def brings_second_stream(self) -> bool:
        """Whether there is guidance."""
        return self.gamma != 0

    def prepare(self, prompt: Prompt) -> list[list[str]]:
        """The objects of each sample, best first; none where it has no image."""
        if not any(spans.images for spans in prompt.spans):
            return [[] for _ in prompt.spans]
        return self._objects(prompt.asked)

    def _objects(self, asked: Asked) -> list[list[str]]:
        """The objects that the images of each sample show."""
        assert self.evidence is not None  # without it the method is off
        lister = open_evidence(self.evidence, ObjectLister)
        found: dict[int, list[str]] = {}
        for pictures in asked.pictures:  # those of questions about one image are one object
            if id(pictures) not in found:
                told = [pair for image in pictures_of(pictures) for pair in lister.objects(image)]
                words = [word for word, score in told if score >= self.least]
                found[id(pictures)] = list(dict.fromkeys(words))
        return [found[id(pictures)] for pictures in asked.pictures]

    def second_questions(self, asked: Asked) -> list[Question] | None:
        """The questions with the objects; None where no sample has any."""
        objects = self._objects(asked)
        if not any(objects):
            return None
        pairs = zip(asked.questions, objects, strict=True)
        return [self.asked(question, words) for question, words in pairs]

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The same images with questions that name the objects; none where there are none."""
        if not any(spans.images for spans in prompt.spans):
            return None
        questions = self.second_questions(prompt.asked)
        return None if questions is None else prompt.with_questions(questions)

    def asked(self, question: Question, words: list[str]) -> Question:
        """A question that begins with objects; as it is where there are none."""
        if not words:
            return question
        before, behind = self.wording.replace(OBJECTS, ", ".join(words)).split(QUESTION)
        if isinstance(question, str):
            return f"{before}{question}{behind}"
        messages = normal_messages(question)
        texts = [part for part in messages[-1]["content"] if part["type"] == "text"]
        if texts:
            texts[0]["text"] = before + texts[0]["text"]
            texts[-1]["text"] += behind
        return messages

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Where a sample has objects."""
        return any(context.state(self))

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """l_m, shape (B, r, V)."""
        if context.second is None:
            return logits
        objects: list[list[str]] = context.state(self)
        beams = len(logits) // len(objects)
        guided = [bool(words) for words in objects for _ in range(beams)]
        rows = torch.tensor(guided, device=logits.device)[:, None, None]
        log_probs = logits.log_softmax(-1)
        other = context.second.to(logits).log_softmax(-1)
        # a token that another method banned stays banned, whatever the weight
        moves = rows & logits.isfinite()
        return torch.where(moves, log_probs + self.gamma * (other - log_probs), logits)
