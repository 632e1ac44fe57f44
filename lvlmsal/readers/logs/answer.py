"""One answer of a log."""

from __future__ import annotations

from dataclasses import dataclass

from lvlmsal.readers.rows import Row


@dataclass(frozen=True)
class LoggedAnswer:
    """What a log says of one question.

    Attributes:
        row: What stands there, with its place for messages.
        place: Number of the question in its data set, from 0; None where the data set was shuffled.
        answer: What the model said.
        prompt: What was asked, with whatever the tool adds to a question; empty where it is not
            logged.
        images: Paths or data URLs, as far as they are logged.
    """

    row: Row
    place: int | None
    answer: str
    prompt: str = ""
    images: tuple[str, ...] = ()
