"""What a benchmark's own class says of its data: ``lvlmsal data show`` and ``list``."""

from __future__ import annotations

import inspect
import re
from typing import Any

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.cli.score import argument_helps
from lvlmsal.registry import BENCHMARKS


def describe(name: str) -> dict[str, Any]:
    """Everything that is known about a benchmark without its files.

    Args:
        name: A registered benchmark.

    Returns:
        ``name``, ``summary``, ``paper``, ``url``, ``description`` (with the expected layout),
        ``options`` (name -> default and what it means; a required one has no default) and
        ``expected`` (label -> counts).

    Raises:
        UnknownName: There is no such benchmark.

    Example:
        >>> "coco_pope_random.json" in describe("pope")["description"]
        True
    """
    cls: type[Benchmark] = BENCHMARKS.get(name)
    bases = [base for base in reversed(cls.__mro__) if issubclass(base, Benchmark)]
    helps = {name: text for base in bases for name, text in argument_helps(base).items()}
    options = {}
    for option in BENCHMARKS.options(name).values():
        entry: dict[str, Any] = {"help": helps.get(option.name, "")}
        if not option.required:
            entry["default"] = option.default
        options[option.name] = entry
    return {
        "name": name,
        "summary": cls.summary,
        "paper": cls.paper,
        "url": cls.url,
        "description": description(cls),
        "options": options,
        "expected": cls.expected,
    }


def description(cls: type) -> str:
    """A docstring without its sections: what the class is, and the expected layout of its files."""
    text = inspect.getdoc(cls) or ""
    return re.split(r"\n(?:Args|Attributes|Example|Raises):\n", text)[0].strip()
