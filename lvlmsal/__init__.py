"""Hallucination diagnosis and mitigation for large vision-language models.

The public names are loaded when they are first used: importing the package imports neither torch
nor transformers.

Example:
    >>> import lvlmsal
    >>> lvlmsal.__version__
    '0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lvlmsal.errors import ConfigError, DataError, LvlmsalError, UnknownName, UnsupportedError

if TYPE_CHECKING:
    from lvlmsal.attention import intervene
    from lvlmsal.decoders.sgrs import SGRS
    from lvlmsal.evaluation import evaluate
    from lvlmsal.interventions.locore import LocoRE
    from lvlmsal.lvlm import Lvlm, load
    from lvlmsal.registry import (
        ADAPTERS,
        BENCHMARKS,
        CATALOGUE,
        DECODERS,
        INTERVENTIONS,
        METRICS,
    )
    from lvlmsal.spans import TokenSpans, find_spans

__all__ = [
    "ADAPTERS",
    "BENCHMARKS",
    "CATALOGUE",
    "DECODERS",
    "INTERVENTIONS",
    "METRICS",
    "SGRS",
    "ConfigError",
    "DataError",
    "LocoRE",
    "Lvlm",
    "LvlmsalError",
    "TokenSpans",
    "UnknownName",
    "UnsupportedError",
    "evaluate",
    "find_spans",
    "intervene",
    "load",
]

__version__ = "0.1.0"

# Where each public name is defined; a test compares this with the imports above.
_HOMES = {
    "ADAPTERS": "lvlmsal.registry",
    "BENCHMARKS": "lvlmsal.registry",
    "CATALOGUE": "lvlmsal.registry",
    "DECODERS": "lvlmsal.registry",
    "INTERVENTIONS": "lvlmsal.registry",
    "METRICS": "lvlmsal.registry",
    "SGRS": "lvlmsal.decoders.sgrs",
    "LocoRE": "lvlmsal.interventions.locore",
    "Lvlm": "lvlmsal.lvlm",
    "TokenSpans": "lvlmsal.spans",
    "evaluate": "lvlmsal.evaluation",
    "find_spans": "lvlmsal.spans",
    "intervene": "lvlmsal.attention",
    "load": "lvlmsal.lvlm",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
