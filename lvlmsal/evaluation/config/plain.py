"""The first look at a config: whether it is made of values that a config can hold at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 40
"""No config is nested more deeply; one that contains itself is."""

LARGEST = 2**63 - 1


def plain_problems(content: Mapping[Any, Any]) -> list[str]:
    """What in a config would break whatever looks at it, one sentence each.

    Args:
        content: The config as plain Python objects.

    Example:
        >>> plain_problems({"seed": 10**30, "bootstrap": {"samples": 100}})
        ['seed: a number beyond 9223372036854775807']
    """
    return list(dict.fromkeys(f"{place}: {text}" for place, text in _found(content)))


def _found(content: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    # no recursion: what is nested too deeply is what is looked for
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    while waiting:
        place, value, depth = waiting.pop(0)
        if depth > DEEPEST:
            yield f"{place[:40]}...", f"nested more deeply than {DEEPEST} levels"
            return
        if isinstance(value, Mapping):
            for key, entry in value.items():
                name = key if isinstance(key, str) else repr(key)[:80]
                waiting.append((f"{place}.{name}" if place else name, entry, depth + 1))
        elif isinstance(value, list | tuple):
            waiting += [(f"{place}[{n}]", entry, depth + 1) for n, entry in enumerate(value)]
        elif isinstance(value, bool):
            continue
        elif isinstance(value, int) and abs(value) > LARGEST:
            yield place, f"a number beyond {LARGEST}"
        elif isinstance(value, float) and math.isnan(value):
            yield place, "not a number (nan)"
        elif isinstance(value, str) and not _can_be_written(value):
            yield place, "holds a NUL or half of a character pair, which no file can hold"


def _can_be_written(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
