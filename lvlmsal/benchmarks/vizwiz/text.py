"""How the scripts of visual question answering bring answers into one form.

The VQA script's way of normalizing a short answer lives on in several copies that differ. What is
here restates them, quirks included, because every quirk decides some answers:

- A mark is deleted if a blank stands next to it anywhere in the text, or if the text holds a number
  such as 1,000 anywhere, which then deletes all marks; otherwise it becomes a blank. So "a-b" is
  two words and "a-b c -" is "ab c".
- A full stop is deleted unless a digit follows it, but at most 32 of them: a flag of the regular
  expression stands where the count belongs.
- Apostrophes, colons and dollar signs stay.
- Number words from none and zero to ten become digits; a, an and the are dropped.
- Contractions without their apostrophe get it back: "dont" is "don't".
"""

from __future__ import annotations

import re
from typing import Final

_MARKS: Final = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT: Final = re.compile(r"\d,\d")
_FULL_STOP: Final = re.compile(r"\.(?!\d)")
_MOST_FULL_STOPS: Final = 32
_ARTICLES: Final = frozenset({"a", "an", "the"})
_NUMBERS: Final = "zero one two three four five six seven eight nine ten"
_DIGITS: Final = {
    "none": "0",
    **{word: str(number) for number, word in enumerate(_NUMBERS.split())},
}
_CONTRACTIONS: Final = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't "
    "haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't "
    "mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've "
    "should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've "
    "someone'll someone's something'd something'd've something'll that's there'd there'd've "
    "there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't "
    "what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
    "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've "
    "you'd you'd've you'll you're you've"
)


def _without_one(word: str) -> list[str]:
    """The word without one of its apostrophes, in every way."""
    places = [place for place, letter in enumerate(word) if letter == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


CONTRACTIONS: Final = {
    **{short: word for word in _CONTRACTIONS.split() for short in _without_one(word)},
    "somebody'd": "somebodyd",  # the scripts have this one the wrong way round
}
"""From a contraction that lacks an apostrophe to the whole one."""

# Nearly all quotes of VizWiz's table are grave accents, a mark that answers have lost by then. So a
# key with two apostrophes matches only where its own is straight, and of what comes out only eight
# words look as people write them.
_STRAIGHT: Final = frozenset(
    {"ain't", "aren't", "can't", "could've", "couldn't", "we've", "where's", "who've"}
)
VIZWIZ_CONTRACTIONS: Final = {
    **{
        short: word if word in _STRAIGHT else word.replace("'", "`")
        for short, word in CONTRACTIONS.items()
        if "'" not in short
    },
    "couldn'tve": "couldn`t`ve",
    "hadn'tve": "hadn`t`ve",
}
"""The same in the scorer of VizWiz."""


def one_line(text: str) -> str:
    r"""The text with line breaks and tabs as blanks, stripped.

    Example:
        >>> one_line(" no\tidea\n")
        'no idea'
    """
    return text.replace("\n", " ").replace("\t", " ").strip()


def unmarked(text: str) -> str:
    """The text without marks, as the module's description says.

    Example:
        >>> unmarked("a-b"), unmarked("a-b, c"), unmarked("a-b c -"), unmarked("1,000 a-b")
        ('a b', 'a b c', 'ab c ', '1000 ab')
        >>> unmarked("2.5 l."), unmarked("it's 5:30")
        ('2.5 l', "it's 5:30")
    """
    deletes_all = _DIGIT_COMMA_DIGIT.search(text) is not None
    result = text
    for mark in _MARKS:
        deleted = deletes_all or f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if deleted else " ")
    return _FULL_STOP.sub("", result, count=_MOST_FULL_STOPS)


def plain_answer(text: str, contractions: dict[str, str] = CONTRACTIONS) -> str:
    """The text in lower case with digits for number words, without articles, contractions repaired.

    Args:
        text: Any text.
        contractions: Words and what becomes of them.

    Returns:
        Words separated by single spaces.

    Example:
        >>> plain_answer("The  Two dogs dont bark")
        "2 dogs don't bark"
    """
    words = [_DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(contractions.get(word, word) for word in words if word not in _ARTICLES)


def vqa_answer(text: str, contractions: dict[str, str] = CONTRACTIONS) -> str:
    """An answer as the VQA script normalizes it.

    Example:
        >>> vqa_answer("A Coca-Cola can."), vqa_answer("none"), vqa_answer("What's this?")
        ('coca cola can', '0', "what's this")
    """
    return plain_answer(unmarked(one_line(text)), contractions)


def evalai_answer(text: str) -> str:
    """An answer as the EvalAI processor does it, which LLaVA and lmms-eval use.

    Before the VQA script's rule, commas and question marks are deleted and "'s" is separated from
    its word.

    Example:
        >>> evalai_answer("What's this, a bird?"), evalai_answer("1,000")
        ("what 's this bird", '1000')
    """
    parted = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return plain_answer(unmarked(one_line(parted)))
