"""How an answer to a multiple-choice question is read: rules by name.

Example:
    >>> answers = ["A", "A.", "A. cat", "(A)", "The answer is A.", "A cat", "a"]
    >>> for name in CHOICE_RULES:
    ...     print(f"{name:9}", [CHOICE_RULES[name].parse(answer, 4) for answer in answers])
    llava     [0, None, 0, None, 0, None, None]
    lmms-eval [0, 0, 0, None, None, None, 0]
    strict    [0, 0, 0, 0, 0, None, 0]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LETTERS: Final = "ABCDE"


@dataclass(frozen=True)
class ChoiceRule:
    """A rule that reads which of some lettered choices an answer means.

    Attributes:
        name: What configurations and results call it.
        summary: The rule in one line.
        url: The code that it restates, or an empty string.
        letter: From an answer to a letter; None where the rule finds none.
    """

    name: str
    summary: str
    url: str
    letter: Callable[[str], str | None]

    def parse(self, answer: str, choices: int) -> int | None:
        """Index of the choice that an answer means.

        Args:
            answer: Any text.
            choices: How many choices there are, up to five.

        Returns:
            The index; None where the rule finds no letter or one beyond the choices.
        """
        letter = self.letter(answer)
        if letter is None or letter not in _LETTERS[:choices]:
            return None
        return _LETTERS.index(letter)


# The dot is any character, so a full stop is not needed but something is; and any capital counts.
_LLAVA: Final = re.compile(r"The answer is ([A-Z]).")


def _llava(answer: str) -> str | None:
    """A bare letter; a letter, full stop and blank at the start; one "The answer is A" and more."""
    if len(answer) == 1 and answer in _LETTERS:
        return answer
    if len(answer) >= 3 and answer[0] in _LETTERS and answer[1:3] == ". ":
        return answer[0]
    found = _LLAVA.findall(answer)
    return found[0] if len(found) == 1 else None


def _lmms_eval(answer: str) -> str | None:
    """The stripped text is a letter in any case, or starts with a capital and a full stop."""
    text = answer.strip()
    if len(text) == 1:
        return text.upper()
    return text[0] if text[1:2] == "." and text[0].isupper() else None


_OPEN, _CLOSE = r"[\s\"'`*_(\[{<]*", r"[\s\"'`*_)\]}>]"
_ALONE: Final = re.compile(rf"{_OPEN}([A-Za-z]){_CLOSE}*[.:,;!)]*{_CLOSE}*")
_FIRST: Final = re.compile(
    rf"{_OPEN}([A-Z])(?:[\"'`*_]*[.:,;)\]}}]+{_CLOSE}*(?=\s|$)|[*\"'`_]+(?=\s)|[^\S\n]*\n)",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(rf"{_OPEN}(?:option|choice)\s+{_OPEN}([A-Z])(?![^\W_])", re.IGNORECASE)
_STATED: Final = re.compile(
    rf"(?i:\banswer\b(?:\s+is\b|\s*:)\s*:?\s*(?:option\s+|choice\s+)?){_OPEN}([A-Z])(?![^\W_]|['\u2019])"
)


def _strict(answer: str) -> str | None:
    """The one letter that the answer states: by itself, first and marked off, or as "the answer".

    "(A)", "A) cat", "**A**", "a." and "Option A" start with a letter; "A cat" does not. After
    "answer is" and "answer:" the letter must be a capital. Letters that disagree are not an answer.
    """
    if alone := _ALONE.fullmatch(answer):
        return alone[1].upper()
    first = _FIRST.match(answer) or _OPTION.match(answer)
    letters = {first[1].upper()} if first else set()
    letters.update(_STATED.findall(answer))
    return letters.pop() if len(letters) == 1 else None


_ALL = (
    ChoiceRule(
        "llava",
        "a bare capital; 'A. ' at the start; or one 'The answer is A' with something after it",
        "https://github.com/haotian-liu/LLaVA",
        _llava,
    ),
    ChoiceRule(
        "lmms-eval",
        "the stripped answer is a letter in any case, or starts with a capital and a full stop",
        "https://github.com/EvolvingLMMs-Lab/lmms-eval",
        _lmms_eval,
    ),
    ChoiceRule(
        "strict",
        "the one letter that the answer states, alone, marked off at the start, or as 'the answer'",
        "",
        _strict,
    ),
)

CHOICE_RULES: Final[dict[str, ChoiceRule]] = {rule.name: rule for rule in _ALL}
"""Every rule by name."""
