"""Values that a config takes from the environment, kept out of messages and logs.

A config may hold a token as ``${oc.env:TOKEN}``. Whatever is written of a config keeps that text
(`lvlmsal.evaluation.config.unresolved`); a message is made of values that have lost their place, so
there the value itself is looked for.
"""

from __future__ import annotations

import re

SHORTEST = 4
"""Shorter values are left alone: they are not secrets, and parts of many words."""

_KNOWN: dict[str, str] = {}


def remember(value: str, shown: str) -> None:
    """Note that a value is a secret of this process.

    Args:
        value: What the environment holds.
        shown: What stands in the config in its place.

    Example:
        >>> remember("hunter-2", "${oc.env:PASSWORD}")
        >>> hide("status 401: wrong key hunter-2")
        'status 401: wrong key ${oc.env:PASSWORD}'
    """
    # a message may hold the value as Python spells it, or one line of it
    for form in {value, repr(value)[1:-1], *value.splitlines()}:
        if len(form) >= SHORTEST:
            _KNOWN.setdefault(form, shown)


def hide(text: str) -> str:
    """A text with what stands in the config in place of every value of the environment."""
    if not _KNOWN:
        return text
    # in one pass, so that nothing is looked for in what was put in; the longest first
    longest = sorted(_KNOWN, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest)), lambda found: _KNOWN[found[0]], text)
