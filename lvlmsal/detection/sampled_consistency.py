"""A detector that looks for a word's object in other answers of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lvlmsal.detection.asking import Respondent, SamplingDetector
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.registry import DETECTORS


@dataclass(frozen=True)
class SampledAnswers:
    """What the sampled answers to one question name.

    Attributes:
        named: the objects of each.
    """

    named: Sequence[frozenset[str]]

    def risk(self, objects: Iterable[str]) -> float:
        """Share of the answers that name none of some objects; nan where there are no objects.

        Of a token with which several names begin it is the risk of the most frequent one: which
        one it is to be is judged when the word is complete.

        >>> SampledAnswers([frozenset({"dog"}), frozenset({"cat", "dog"})]).risk(["cat", "cow"])
        0.5
        """
        missing = [sum(one not in said for said in self.named) for one in objects]
        return min(missing) / len(self.named) if missing else float("nan")


@DETECTORS.register("sampled-consistency")
@dataclass(frozen=True)
class SampledConsistency(SamplingDetector):
    """The share of sampled answers that do not name the word's object, by whatever word of it.

    With the answers s_1 ... s_N that are sampled for the same question, and a word for the object
    o::

        risk = 1 - (1 / N) sum over n of [o is among the objects of s_n]

    SelfCheckGPT measures how much sampled passages support a sentence by likeness of words, by
    questions, entailment or a prompt. Where a vocabulary says which words name an object, support
    is to name it, and nothing has to be estimated. An answer that ends without it does not support
    it, and one that says "no dog" does: words are looked for, as CHAIR looks for them.

    Args:
        samples: N; 20 as published.
        temperature: that they are sampled at, from the whole distribution.
    """

    samples: int = 20

    summary: ClassVar[str] = "whether sampled answers name the object as well"
    paper: ClassVar[str] = "SelfCheckGPT (EMNLP 2023), of objects"
    url: ClassVar[str] = "https://arxiv.org/abs/2303.08896"
    passes: ClassVar[str] = "20 sampled answers"

    def ask(self, model: Respondent, names: Sequence[str], vocabulary: Vocabulary) -> list[float]:
        """See the class."""
        answers = SampledAnswers(self.named(model, vocabulary))
        return [answers.risk([name]) for name in names]
