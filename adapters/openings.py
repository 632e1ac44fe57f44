"""How a prompt begins, and how it would begin with other words in front: in token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvlmsal.adapters.encoding import Encoding
from lvlmsal.adapters.prompts import begins, behind_mark
from lvlmsal.errors import DataError, UnsupportedError

# Any two words do; what both prompts begin with does not depend on the question.
_QUESTIONS = ("?", "Is")


@dataclass(frozen=True)
class Opening:
    """What prompts begin with, and what they are to begin with instead.

    Attributes:
        written: token ids that a prompt begins with.
        wanted: token ids that take their place.
    """

    written: tuple[int, ...]
    wanted: tuple[int, ...]

    @classmethod
    def between(cls, written: Sequence[int], wanted: Sequence[int]) -> Opening:
        """The two beginnings of sequences that end alike.

        >>> Opening.between([1, 8, 9], [1, 5, 6, 8, 9])
        Opening(written=(1,), wanted=(1, 5, 6))
        """
        alike = 0
        for left, right in zip(reversed(written), reversed(wanted), strict=False):
            if left != right:
                break
            alike += 1
        heads = (tuple(ids[: len(ids) - alike]) for ids in (written, wanted))
        return cls(*heads)

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """A prompt with the other beginning.

        Raises:
            UnsupportedError: it begins otherwise.
        """
        count = len(self.written)
        if tuple(ids[:count]) != self.written:
            raise UnsupportedError(
                f"this prompt begins with the token ids {list(ids[:count])}, where the chat "
                f"template writes {list(self.written)}: words can be put in front of prompts only "
                "that the chat template made, without a system message of their own"
            )
        return [*self.wanted, *ids[count:]]


def system_opening(adapter: Encoding, words: str, *, images: bool) -> Opening:
    """Put words where a system message stands, in the place of the template's own, if it has one.

    Args:
        adapter: with a processor.
        words: the system message.
        images: whether the prompt has images.

    Raises:
        UnsupportedError: the chat template knows no system messages.
    """
    try:
        texts = [
            [adapter.render(text, int(images), system=system) for system in (None, words)]
            for text in _QUESTIONS
        ]
    except DataError as error:
        raise UnsupportedError(f"the template has no system messages: {error}") from error
    if words.strip() not in texts[0][1]:
        raise UnsupportedError("the chat template drops system messages")
    found, other = (_opening(adapter, *pair) for pair in texts)
    if found != other:
        raise UnsupportedError("the chat template writes system messages into the question")
    return found


def question_opening(adapter: Encoding, words: str) -> Opening:
    """Put words in front of the question of a prompt without images.

    Args:
        adapter: with a processor.
        words: to be put there, as a line of their own where the tokenizer keeps lines apart.

    Raises:
        UnsupportedError: the first word of a question melts with what stands before it.
    """
    for joint in ("\n", " "):
        found, other = (
            _opening(adapter, *(adapter.render(text, 0) for text in (q, words + joint + q)))
            for q in _QUESTIONS
        )
        if found == other:
            return found
    raise UnsupportedError(
        "the tokenizer melts the first word of a question with what stands before it, so no words "
        "can be put between them"
    )


def words_behind_image(adapter: Encoding, words: str) -> list[int]:
    """Token ids of words that stand between an image and the question about it.

    They are a line of their own: some templates write the line break behind an image themselves.

    Args:
        adapter: with a processor.
        words: to be put there.
    """
    mark = adapter.image_mark
    text = adapter.render(_QUESTIONS[0], 1)
    between = text.rpartition(mark)[2].partition(_QUESTIONS[0])[0]
    line = f"\n{words}" if between.endswith("\n") else f"{words}\n"
    return behind_mark(adapter.tokenizer, mark, line)


def _opening(adapter: Encoding, written: str, wanted: str) -> Opening:
    tokenizer = adapter.tokenizer
    special = not begins(tokenizer, written)
    texts = (written, wanted)
    ids = [tokenizer(text, add_special_tokens=special)["input_ids"] for text in texts]
    return Opening.between(*ids)
