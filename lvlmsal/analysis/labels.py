"""Which tokens of an answer name objects, and whether those objects are in the image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.benchmarks.chair.metric import ChairMetric
from lvlmsal.detection.words import judged_spans
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary


class Tokenized(Protocol):
    """A text with the tokens that spell it; `lvlmsal.saliency.SaliencyReport` is one."""

    @property
    def text(self) -> str:
        """The text without special tokens, as metrics read it."""

    @property
    def tokens(self) -> Sequence[str]:
        """Text of each token, special tokens included."""


@dataclass(frozen=True)
class Mention:
    """An object that an answer mentions.

    Attributes:
        name: Of the object, as the vocabulary calls it.
        words: The words that named it, as `Vocabulary.scan` gives them.
        start: Index of its first token, where the model decides which object to name. Analyses
            that take one value a mention take this token's.
        stop: Index behind its last token.
        hallucinated: Whether the object is not in the image.
    """

    name: str
    words: str
    start: int
    stop: int
    hallucinated: bool


def object_mentions(
    answer: Tokenized, truth: Collection[str], vocabulary: Vocabulary
) -> list[Mention]:
    """The objects that an answer mentions, in order, as CHAIR counts them.

    Args:
        answer: A saliency report, or anything else with `text` and `tokens`.
        truth: Names of the objects that are in the image: the target of a sample of the CHAIR
            benchmark, or that of its descendant ``statements``, which has more than these.
        vocabulary: The one that the answers are scored with, see `chair_vocabulary`.

    Raises:
        TypeError: `truth` is one text instead of a collection of names.
        ValueError: The tokens do not spell the text.

    Example:
        >>> from types import SimpleNamespace
        >>> answer = SimpleNamespace(text="A hot dog", tokens=["A", " hot", " do", "g", "</s>"])
        >>> object_mentions(answer, ["car"], Vocabulary.coco())
        [Mention(name='hot dog', words='hot dog', start=1, stop=4, hallucinated=True)]
    """
    if isinstance(truth, str):
        raise TypeError(f"a truth must be a collection of names, got one text: {truth!r}")
    if isinstance(truth, Mapping):
        truth = truth["objects"]
    return [
        Mention(span.name, span.words, *span.tokens, span.name not in truth)
        for span in judged_spans(answer.text, answer.tokens, vocabulary)
    ]


def object_labels(
    answer: Tokenized, truth: Collection[str], vocabulary: Vocabulary
) -> list[bool | None]:
    """What each token of an answer is: all tokens of an object's words carry its label.

    Args:
        answer: As for `object_mentions`, and so the rest.
        truth: Names of the objects that are in the image.
        vocabulary: Finds the objects.

    Returns:
        For each token True (part of the name of an object that is not in the image), False (part
        of the name of one that is) or None (part of no object's name).

    Raises:
        TypeError: `truth` is one text instead of a collection of names.
        ValueError: The tokens do not spell the text.

    Example:
        >>> from types import SimpleNamespace
        >>> answer = SimpleNamespace(text="A dog, a car", tokens=["A", " dog", ",", " a", " car"])
        >>> object_labels(answer, ["car"], Vocabulary.coco())
        [None, True, None, None, False]
    """
    labels: list[bool | None] = [None] * len(answer.tokens)
    for mention in object_mentions(answer, truth, vocabulary):
        for index in range(mention.start, mention.stop):
            # a token that ends one name and begins another is wrong if one of them is
            labels[index] = labels[index] or mention.hallucinated
    return labels


def chair_vocabulary(benchmark: Benchmark) -> Vocabulary:
    """The vocabulary that a CHAIR benchmark scores with.

    Raises:
        UnsupportedError: The benchmark asks for no descriptions, so no token of an answer names an
            object that could be looked up.
    """
    metric = benchmark.metric()
    if not isinstance(metric, ChairMetric):
        raise UnsupportedError(
            f"the benchmark {benchmark.label} has no objects to look for in answers; labels of "
            "tokens need descriptions: add the benchmark 'chair' to the config"
        )
    return metric.words


def listed_words(vocabulary: Vocabulary) -> Vocabulary | None:
    """Judged words of which every form is known: those of a listed vocabulary.

    Args:
        vocabulary: That of a CHAIR benchmark.

    Returns:
        None for COCO's objects, however they are read: their forms are known by this library.
    """
    is_own = vocabulary.singularizer == "none" and vocabulary != Vocabulary.coco()
    return vocabulary if is_own else None
