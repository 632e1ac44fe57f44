"""What evidence is: a small class for each question that a method may ask about an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Relevance(NamedTuple):
    """How much each place of an image has to do with a text.

    Attributes:
        map: float32 (h, w) over the whole image, in any scale.
        similarity: of image and text, from -1 to 1.
    """

    map: NDArray[np.float32]
    similarity: float


class Box(NamedTuple):
    """Where something is in an image, in shares of its width and height, from its top left.

    Attributes:
        left: from 0 to 1, as the other edges.
        top: of its top edge.
        right: of its right edge.
        bottom: of its bottom edge.
        score: how sure that is.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    @property
    def area(self) -> float:
        """Its share of the image."""
        return (self.right - self.left) * (self.bottom - self.top)


class Evidence:
    """Base of everything in the ``evidence`` registry. Subclasses are dataclasses.

    Derive from one or several of :data:`KINDS`, which say what it tells. Images are in RGB. The
    same image and text must give the same answer, whatever was asked before.

    Attributes:
        name: set by the registry.
        summary: one line for listings.
        paper: title and year of the source.
        url: where to read it.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""

    @property
    def version(self) -> str:
        """Which version of a model or file answers; records of a run hold it."""
        return ""

    @classmethod
    def tells(cls) -> tuple[str, ...]:
        """What it tells, read off its base classes.

        >>> class Both(ObjectLister, RelevanceMap): ...
        >>> Both.tells()
        ('objects', 'relevance of places')
        """
        return tuple(kind.told for kind in KINDS if issubclass(cls, kind))


class ObjectLister(Evidence):
    """Lists the objects that an image shows."""

    told: ClassVar[str] = "objects"

    def objects(self, image: Image.Image) -> list[tuple[str, float]]:
        """Words, each once, with scores; the best first."""
        raise NotImplementedError(f"{type(self).__name__} does not define objects(image)")


class RelevanceMap(Evidence):
    """Says which parts of an image a text is about."""

    told: ClassVar[str] = "relevance of places"

    def relevance(self, image: Image.Image, text: str) -> Relevance:
        """The map of an image for a text, and how similar they are."""
        raise NotImplementedError(f"{type(self).__name__} does not define relevance(image, text)")


class Detector(Evidence):
    """Finds where an image shows what a word names."""

    told: ClassVar[str] = "boxes of words"

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        """Where it is, once for each time that it is there; the best first."""
        raise NotImplementedError(f"{type(self).__name__} does not define boxes(image, word)")


class TextScorer(Evidence):
    """Says how well texts fit an image."""

    told: ClassVar[str] = "scores of texts"

    def scores(self, image: Image.Image, texts: Sequence[str]) -> list[float]:
        """One for each text, in any scale; the higher, the better it fits."""
        raise NotImplementedError(f"{type(self).__name__} does not define scores(image, texts)")


Kind = type[ObjectLister] | type[RelevanceMap] | type[Detector] | type[TextScorer]

KINDS: tuple[Kind, ...] = (ObjectLister, RelevanceMap, Detector, TextScorer)
"""What evidence can tell."""
