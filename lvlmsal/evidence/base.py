"""What evidence is: a small class for each question that a method may ask about an image."""

from __future__ import annotations

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


class Evidence:
    """Base of everything in the ``evidence`` registry. Subclasses are dataclasses.

    Derive from :class:`ObjectLister`, :class:`RelevanceMap` or both, which say what it tells.
    Images are in RGB. The same image and text must give the same answer, whatever was asked before.

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


Kind = type[ObjectLister] | type[RelevanceMap]

KINDS: tuple[Kind, ...] = (ObjectLister, RelevanceMap)
"""What evidence can tell."""
