"""Warnings of a run for its report: what is said of many rows is said once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lvlmsal.evaluation.results.schema import Results


@dataclass
class MergedWarning:
    """A warning with everything that it is about.

    Attributes:
        text: What is to be known.
        count: How often the results say so.
        places: Model, method and benchmark of each time; empty for one about the whole run.
    """

    text: str
    count: int = 0
    places: list[str] = field(default_factory=list)


def merged_warnings(results: Results) -> list[MergedWarning]:
    """The warnings of a run, equal ones once, in the order of their first.

    Args:
        results: The content of ``results.json``. Its warnings name what they are about first, such
            as ``pocket-llava with VCD on chair (seed 3): no answer differs from 'greedy'``.
    """
    names = {f"{cell['model']} with {cell['method']}" for cell in results["cells"]}
    names |= {
        f"{cell['model']} with {cell['method']} on {cell['benchmark']}" for cell in results["cells"]
    }
    about = re.compile(
        rf"((?:{'|'.join(map(re.escape, names))})(?: \(seed [^)]*\))?): (.*)", re.DOTALL
    )
    found: dict[str, MergedWarning] = {}
    for warning in results["warnings"]:
        match = about.fullmatch(warning) if names else None
        place, text = match.groups() if match else ("", warning)
        merged = found.setdefault(text, MergedWarning(text))
        merged.count += 1
        merged.places += [place] if place else []
    return list(found.values())
