"""Detectors that ask the model more than the one pass tells, and how they reach it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lvlmsal.detection.base import Detector, Row
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary


class Respondent(ABC):
    """A model with the images and the question of one answer, which detectors ask more.

    It remembers what it has said, so that detectors that need the same samples share them.
    """

    @property
    @abstractmethod
    def has_images(self) -> bool:
        """Whether the question is about an image."""

    @abstractmethod
    def yes_odds(self, questions: Sequence[str]) -> list[float]:
        """Log P(yes) - log P(no) of the first token that answers each question about the images.

        The probabilities are the model's own, before edits of the logits.
        """

    @abstractmethod
    def samples(self, count: int, temperature: float) -> list[str]:
        """Answers to the question, sampled from the model's whole distribution."""


@dataclass(frozen=True)
class AskingDetector(Detector):
    """A detector that makes its risks of words from what the model says to more questions."""

    row: ClassVar[Row] = "asked"
    asks_more: ClassVar[bool] = True
    of_objects: ClassVar[bool] = False
    """Whether the words must name objects; "yes" and "no" do not."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """Nothing of the pass."""
        return ()

    @abstractmethod
    def ask(self, model: Respondent, names: Sequence[str], vocabulary: Vocabulary) -> list[float]:
        """The risk of each word, in [0, 1]; nan where it cannot tell.

        Args:
            model: to be asked.
            names: what the vocabulary calls the object that each word names, in their order.
            vocabulary: of judged words, which other answers are read with.
        """

    def features(self, columns: Columns) -> Tensor:
        """What was asked, as it stands."""
        return columns.asked[self].double()[..., None]


@dataclass(frozen=True)
class SamplingDetector(AskingDetector):
    """A detector that holds an answer against other answers to the same question.

    Args:
        samples: number of sampled answers.
        temperature: that they are sampled at.
    """

    samples: int = 10
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, got {self.samples}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def named(self, model: Respondent, vocabulary: Vocabulary) -> list[frozenset[str]]:
        """The objects that each sampled answer names; synonyms are one object."""
        answers = model.samples(self.samples, self.temperature)
        return [objects_in(answer, vocabulary) for answer in answers]


def objects_in(answer: str, vocabulary: Vocabulary) -> frozenset[str]:
    """The objects that an answer names; synonyms are one object."""
    return frozenset(name for name, _ in vocabulary.objects(answer))


@dataclass(frozen=True)
class Asking:
    """The judged words of one answer, and the model that is asked about them.

    Attributes:
        model: which.
        names: what the vocabulary calls the object of each word.
        places: index of the first token of each word, and the one behind its last.
        vocabulary: of judged words.
        are_objects: whether they name objects; "yes" and "no" do not.
    """

    model: Respondent
    names: Sequence[str]
    places: Sequence[tuple[int, int]]
    vocabulary: Vocabulary
    are_objects: bool = True

    def risks(self, detectors: Iterable[Detector], length: int) -> dict[Hashable, Tensor]:
        """What those of some detectors that ask say of each token of an answer.

        Args:
            detectors: of any kind.
            length: of the answer, in tokens.

        Returns:
            Shape (length,) by detector, float64: the risk of a word at its first token, once, so
            that no way of putting tokens together counts it several times; nan at all others.
            Detectors that do not ask, or ask of objects where the words are none, are left out.
        """
        found: dict[Hashable, Tensor] = {}
        for detector in detectors:
            if not isinstance(detector, AskingDetector):
                continue
            if detector.of_objects and not self.are_objects:
                continue
            values = torch.full((length,), torch.nan, dtype=torch.float64)
            if self.names:
                risks = detector.ask(self.model, self.names, self.vocabulary)
                for (first, _), risk in zip(self.places, risks, strict=True):
                    values[first] = risk
            found[detector] = values
        return found


def refuse_asking(detectors: Iterable[Detector], why: str) -> None:
    """Refuse detectors that ask the model more, where nobody can be asked.

    Args:
        detectors: of any kind.
        why: nobody can.

    Raises:
        UnsupportedError: one of them asks.
    """
    if names := [detector.name for detector in detectors if detector.asks_more]:
        raise UnsupportedError(
            f"{', '.join(names)} ask{'s' * (len(names) == 1)} the model more than one pass tells, "
            f"and {why}: leave {'it' if len(names) == 1 else 'them'} out"
        )
