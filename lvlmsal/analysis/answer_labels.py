"""Which words of an answer are right or wrong, by the benchmark that asked for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lvlmsal.analysis.labels import Mention, Tokenized, chair_vocabulary, object_mentions
from lvlmsal.benchmarks.amber.generative_counts import (
    GENERATIVE_COUNTS,
    amber_generative_counts,
)
from lvlmsal.benchmarks.amber.metric import AmberDiscriminativeMetric, AmberGenerativeMetric
from lvlmsal.benchmarks.amber.nouns import ListedNouns
from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.benchmarks.mme.metric import MmeMetric
from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.detection.words import judged_spans
from lvlmsal.metrics.text.vocabulary import Vocabulary


class AnswerLabels(ABC):
    """Labels of a model's own answers.

    Attributes:
        words: The words that are judged, as far as they are listed.
    """

    words: Vocabulary

    @abstractmethod
    def mentions(self, answer: Tokenized, target: Any) -> list[Mention]:
        """The labeled words of an answer, in order.

        Args:
            answer: Text and tokens.
            target: Of the sample.
        """


@dataclass
class ObjectLabels(AnswerLabels):
    """Objects of descriptions, as CHAIR counts them.

    Args:
        words: The vocabulary of the benchmark.
    """

    words: Vocabulary

    def mentions(self, answer: Tokenized, target: Any) -> list[Mention]:
        """See the base class."""
        return object_mentions(answer, target, self.words)


class AmberLabels(AnswerLabels):
    """Nouns of AMBER's list in descriptions, right or wrong as AMBER counts them.

    The nouns are found as the variant ``words`` of the metric finds them, whatever the benchmark's
    own variant is, for that one knows where they stand; near-synonyms are not looked for.

    Args:
        metric: Of the benchmark.
    """

    def __init__(self, metric: AmberGenerativeMetric) -> None:
        self._metric = metric
        self.words = ListedNouns.of(metric.words).words

    def mentions(self, answer: Tokenized, target: Any) -> list[Mention]:
        """See the base class."""
        wrong = GENERATIVE_COUNTS.index("hallucinated_mentions")
        found = []
        for span in judged_spans(answer.text, answer.tokens, self.words):
            counts = amber_generative_counts(
                [[span.name]], [target], self._metric.words, self._metric.safe
            )
            found.append(Mention(span.name, span.words, *span.tokens, bool(counts[0, wrong])))
        return found


class YesNoLabels(AnswerLabels):
    """The first yes or no of an answer, wrong where the other one is right.

    That is not always what a metric counts: official parsers take some words for others, and
    AMBER's counts "yes" as wrong where "Yes" is right. An answer that says neither has no label.
    """

    words = Vocabulary(("yes", "no"), {"yes": "yes", "no": "no"}, "none", "yes and no")

    def mentions(self, answer: Tokenized, target: Any) -> list[Mention]:
        """See the base class; the target is yes or no, or has it as ``label``."""
        spans = judged_spans(answer.text, answer.tokens, self.words)
        right = target["label"] if isinstance(target, Mapping) else target
        return [
            Mention(span.name, span.words, *span.tokens, span.name != right) for span in spans[:1]
        ]


def asks_yes_or_no(benchmark: Benchmark) -> bool:
    """Whether the answers to a benchmark are yes and no."""
    return isinstance(benchmark.metric(), PopeMetric | MmeMetric | AmberDiscriminativeMetric)


def labels_of(benchmark: Benchmark) -> AnswerLabels:
    """What labels the answers to a benchmark.

    Raises:
        UnsupportedError: Its truth says nothing of single words.
    """
    metric = benchmark.metric()
    if isinstance(metric, AmberGenerativeMetric):
        return AmberLabels(metric)
    if asks_yes_or_no(benchmark):
        return YesNoLabels()
    return ObjectLabels(chair_vocabulary(benchmark))
