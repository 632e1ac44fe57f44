"""A detector that asks how many different things the model says to the same question."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lvlmsal.detection.asking import Respondent, SamplingDetector
from lvlmsal.detection.base import Level
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.registry import DETECTORS


@DETECTORS.register("semantic-entropy")
@dataclass(frozen=True)
class SemanticEntropy(SamplingDetector):
    """The discrete semantic entropy of the answer, of log N: the same risk for all its words.

    N sampled answers are put into clusters of one meaning; with the share p_k of each::

        risk = -(1 / log N) sum over k of p_k log p_k

    The paper takes two answers for one meaning where a language model says that each entails the
    other. Here they are one where they name the same set of objects, whichever words they use: what
    the judged words say, and nothing else. That suits short answers, yes and no among them. **It
    hardly applies to free descriptions**: two of them seldom name the very same objects, so nearly
    every answer is a meaning of its own and the entropy is log N whether one word or all of them
    are wrong. There `sampled-consistency` is its form for a single word: of each object it counts
    the answers that name it.

    Args:
        samples: N; 10 as published.
        temperature: that they are sampled at, from the whole distribution.
    """

    summary: ClassVar[str] = "entropy of what sampled answers mean, by the objects that they name"
    paper: ClassVar[str] = "Semantic entropy (Nature 2024), with clusters by vocabulary"
    url: ClassVar[str] = "https://doi.org/10.1038/s41586-024-07421-0"
    level: ClassVar[Level] = "answer"
    passes: ClassVar[str] = "10 sampled answers"

    def ask(self, model: Respondent, names: Sequence[str], vocabulary: Vocabulary) -> list[float]:
        """See the class."""
        counts = Counter(self.named(model, vocabulary)).values()
        total = sum(counts)
        # the same sum over counts in place of shares: 0 and 1 are exact, so nothing is cut off
        same = sum(count * math.log(count) for count in counts)
        return [1 - same / (total * math.log(total))] * len(names)
