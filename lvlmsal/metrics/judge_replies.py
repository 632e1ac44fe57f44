"""How a judge's reply such as ``{'pred': 'yes', 'score': 4}`` is read: named rules.

Video-ChatGPT's scripts ask for a Python dictionary. What they do with replies that are something
else moves the figures, so each way is a rule with a name, as with the answers to POPE.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lvlmsal.metrics.answer_parsers import rule_named


@dataclass(frozen=True)
class Judgment:
    """What a reply says.

    Attributes:
        score: The score, as the rule counts it.
        verdict: True for yes, False for no, None for neither.
    """

    score: float
    verdict: bool | None = None


@dataclass(frozen=True)
class ReplyRule:
    """A rule that reads a judge's replies.

    Attributes:
        name: What configurations and results call it.
        summary: The rule in one line.
        read: From a reply, and whether it must hold a yes or no, to what it says; None where the
            rule cannot use the reply, which is then asked for again.
        last: What counts where no reply of all attempts can be used; None: it stays unjudged.
    """

    name: str
    summary: str
    read: Callable[[str, bool], Judgment | None]
    last: Judgment | None = None


def literal_dict(text: str) -> dict[Any, Any] | None:
    """The dictionary that a text spells in Python, or None.

    Example:
        >>> literal_dict("{'pred': 'yes', 'score': 4}"), literal_dict("[4]"), literal_dict("yes")
        ({'pred': 'yes', 'score': 4}, None, None)
    """
    try:
        with warnings.catch_warnings():
            # odd escapes in a reply do not concern the user
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _official(reply: str, with_verdict: bool) -> Judgment | None:
    """The whole reply is a dictionary; scores lose their fraction, "yes" may be part of a word."""
    found = literal_dict(reply)
    if found is None:
        return None
    try:
        score = float(int(found["score"]))
    except (KeyError, ValueError, TypeError, OverflowError):
        # the official script stops here, once all replies are there
        return None
    if not with_verdict:
        return Judgment(score)
    said = found.get("pred")
    if not isinstance(said, str):
        return None
    text = said.lower()
    return Judgment(score, True if "yes" in text else False if "no" in text else None)


def _lmms_eval(reply: str, with_verdict: bool) -> Judgment | None:
    """From the first opening brace to the next closing one; what lacks is no and 0."""
    start = reply.find("{")
    end = reply.find("}", start)
    found = literal_dict(reply[start : end + 1]) if 0 <= start < end else None
    if found is None:
        return None
    try:
        score = float(found.get("score", 0))
    except (ValueError, TypeError, OverflowError):
        return None
    if not math.isfinite(score):
        return None
    return Judgment(score, found.get("pred", "no") == "yes" if with_verdict else None)


def _strict(reply: str, with_verdict: bool) -> Judgment | None:
    """Exactly yes or no, and a score from 0 to 5 with its fraction, inside a fence or not."""
    found = literal_dict(reply[reply.find("{") : reply.rfind("}") + 1])
    score = None if found is None else _number(found.get("score"))
    if found is None or score is None or not 0 <= score <= 5:
        return None
    if not with_verdict:
        return Judgment(score)
    said = str(found.get("pred")).strip().lower()
    return Judgment(score, said == "yes") if said in ("yes", "no") else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


_ALL = (
    ReplyRule(
        "official",
        "the whole reply must be a dictionary; 'yes' anywhere in pred is yes, else 'no' anywhere "
        "is no, else neither; the score loses its fraction",
        _official,
    ),
    ReplyRule(
        "lmms-eval",
        "from the first '{' to the next '}'; pred must equal 'yes', all else is no; the score "
        "keeps its fraction; no and 0 where no reply can be used",
        _lmms_eval,
        Judgment(0.0, False),
    ),
    ReplyRule(
        "strict",
        "from the first '{' to the last '}'; pred must be yes or no and the score a number from "
        "0 to 5, which keeps its fraction",
        _strict,
    ),
)

REPLY_RULES: Final[dict[str, ReplyRule]] = {rule.name: rule for rule in _ALL}
"""Every rule by name."""


def get_reply_rule(name: str) -> ReplyRule:
    """The rule of that name.

    Raises:
        UnknownName: There is none; the message lists all.
    """
    return rule_named("rule", name, REPLY_RULES)
