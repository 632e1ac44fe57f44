"""A detector that asks the model whether what it has named is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from lvlmsal.detection.asking import AskingDetector, Respondent
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.registry import DETECTORS

_PLACE: Final = "{object}"


@DETECTORS.register("self-question")
@dataclass(frozen=True)
class SelfQuestion(AskingDetector):
    """1 - P(yes) / (P(yes) + P(no)), asked whether there is such an object in the image.

    Both are probabilities of the first token of the answer to a new question about the same images,
    each summed over "Yes" and "yes", "No" and "no". Each object is asked about once, however often
    it is named; the questions share the keys and values of the images, so each costs a pass over
    a dozen tokens. The model is not shown the answer: only its objects, under the names that the
    vocabulary has for them.

    P(True) is asked of a whole answer and has the model choose between (A) true and (B) false; of a
    single object the question of POPE is the same, and models are trained on it. The normalization
    leaves out what is neither yes nor no.

    Args:
        question: ``{object}`` stands for the object with its article.
    """

    question: str = f"Is there {_PLACE} in the image?"

    summary: ClassVar[str] = "what the model says to: is there such an object in the image?"
    paper: ClassVar[str] = "P(True) (Kadavath et al. 2022), with the questions of POPE (2023)"
    url: ClassVar[str] = "https://arxiv.org/abs/2207.05221"
    passes: ClassVar[str] = "1 short pass an object"
    of_objects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if _PLACE not in self.question:
            raise ValueError(
                f"question must contain {_PLACE}, where the object goes; got {self.question!r}"
            )

    def ask(self, model: Respondent, names: Sequence[str], vocabulary: Vocabulary) -> list[float]:
        """See the class; nan without an image."""
        if not model.has_images:
            return [math.nan] * len(names)
        objects = list(dict.fromkeys(names))
        odds = model.yes_odds(
            [self.question.replace(_PLACE, with_article(name)) for name in objects]
        )
        # 1 - sigmoid(odds), without overflow
        risks = {
            name: 0.5 - 0.5 * math.tanh(value / 2)
            for name, value in zip(objects, odds, strict=True)
        }
        return [risks[name] for name in names]


def with_article(name: str) -> str:
    """The name of an object behind "a" or "an", by its first letter, as POPE has it.

    >>> with_article("dog"), with_article("Umbrella")
    ('a dog', 'an Umbrella')
    """
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"
