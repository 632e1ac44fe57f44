"""Hallucination diagnosis and mitigation for large vision-language models.

The public names are loaded when they are first used: importing the package imports neither torch
nor transformers.

Example:
    >>> import lvlmsal
    >>> lvlmsal.__version__
    '0.1.0'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.errors import ConfigError, DataError, LvlmsalError, UnknownName, UnsupportedError
from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.adapters.spans import TokenSpans, find_spans
    from lvlmsal.attention import intervene
    from lvlmsal.decoders.sgrs.decoder import SGRS
    from lvlmsal.evaluation import evaluate
    from lvlmsal.interventions.locore import LocoRE
    from lvlmsal.model.lvlm import Lvlm, load
    from lvlmsal.registry import ADAPTERS, BENCHMARKS, CATALOG, DECODERS, INTERVENTIONS, METRICS

__all__ = [
    "ADAPTERS",
    "BENCHMARKS",
    "CATALOG",
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
    "ADAPTERS": ".registry",
    "BENCHMARKS": ".registry",
    "CATALOG": ".registry",
    "DECODERS": ".registry",
    "INTERVENTIONS": ".registry",
    "METRICS": ".registry",
    "SGRS": ".decoders.sgrs.decoder",
    "LocoRE": ".interventions.locore",
    "Lvlm": ".model.lvlm",
    "TokenSpans": ".adapters.spans",
    "evaluate": ".evaluation",
    "find_spans": ".adapters.spans",
    "intervene": ".attention",
    "load": ".model.lvlm",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
