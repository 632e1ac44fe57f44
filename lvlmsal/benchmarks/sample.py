"""One question of a benchmark, and what can be wrong with many of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOWN_PROBLEMS = 10
"""How many problems of one kind a message lists before it only counts the rest."""


@dataclass(frozen=True)
class Sample:
    """One question about one or more images.

    Attributes:
        id: Unique within its benchmark.
        images: Image files, in the order in which the prompt shows them.
        prompt: The text that the model is asked, without image placeholders.
        target: What the metric compares the answer with; a JSON value.
        group: What answers have in common that makes them dependent (the image); intervals are
            drawn over groups.
        source: File and line that the sample comes from, for messages.
        is_video: Whether the images are frames of one video, which is shown as such.
        fps: Of a video, how many of all frames in their folder are of one second, if it is known.
    """

    id: str
    images: tuple[Path, ...]
    prompt: str
    target: Any
    group: str
    source: str = ""
    is_video: bool = False
    fps: float | None = None


def repeated_ids(samples: Iterable[Sample]) -> list[str]:
    """A sentence for each sample whose id an earlier one has."""
    first: dict[str, str] = {}
    texts = []
    for sample in samples:
        if sample.id in first:
            texts.append(
                f"{sample.source}: the id {sample.id!r} was already used at {first[sample.id]}"
            )
        else:
            first[sample.id] = sample.source
    return texts


def shortened(problems: list[str]) -> list[str]:
    """The first of many problems, and how many more there are."""
    rest = len(problems) - SHOWN_PROBLEMS
    return (
        problems if rest <= 0 else [*problems[:SHOWN_PROBLEMS], f"... and {rest} more like these"]
    )
