"""Hallucination diagnosis and mitigation for large vision-language models.

The public names are loaded when they are first used: importing the package imports neither torch
nor transformers.

Example:
    >>> import lvlmsal
    >>> lvlmsal.__version__
    '0.2.0'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.errors import ConfigError, DataError, LvlmsalError, UnknownName, UnsupportedError
from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.adapters.spans import TokenSpans, find_spans
    from lvlmsal.adapters.videos import Video
    from lvlmsal.attention import intervene
    from lvlmsal.comparisons.comparing import compare
    from lvlmsal.decoders.sgrs.decoder import SGRS
    from lvlmsal.evaluation import evaluate, score
    from lvlmsal.interventions.locore import LocoRE
    from lvlmsal.model.conversion import convert
    from lvlmsal.model.load_check import load_check
    from lvlmsal.model.loading import load
    from lvlmsal.model.lvlm import Lvlm
    from lvlmsal.registry import (
        ADAPTERS,
        BENCHMARKS,
        CATALOG,
        DECODERS,
        DETECTORS,
        INTERVENTIONS,
        METRICS,
    )
    from lvlmsal.registry.listing import (
        list_adapters,
        list_benchmarks,
        list_checkpoints,
        list_methods,
    )
    from lvlmsal.sweeps.run import sweep

__all__ = [
    "ADAPTERS",
    "BENCHMARKS",
    "CATALOG",
    "DECODERS",
    "DETECTORS",
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
    "Video",
    "compare",
    "convert",
    "evaluate",
    "find_spans",
    "intervene",
    "list_adapters",
    "list_benchmarks",
    "list_checkpoints",
    "list_methods",
    "load",
    "load_check",
    "score",
    "sweep",
]

__version__ = "0.2.0"

# Where each public name is defined; a test compares this with the imports above.
_HOMES = {
    "ADAPTERS": ".registry",
    "BENCHMARKS": ".registry",
    "CATALOG": ".registry",
    "DECODERS": ".registry",
    "DETECTORS": ".registry",
    "INTERVENTIONS": ".registry",
    "METRICS": ".registry",
    "SGRS": ".decoders.sgrs.decoder",
    "LocoRE": ".interventions.locore",
    "Lvlm": ".model.lvlm",
    "TokenSpans": ".adapters.spans",
    "Video": ".adapters.videos",
    "compare": ".comparisons.comparing",
    "convert": ".model.conversion",
    "evaluate": ".evaluation",
    "find_spans": ".adapters.spans",
    "intervene": ".attention",
    "list_adapters": ".registry.listing",
    "list_benchmarks": ".registry.listing",
    "list_checkpoints": ".registry.listing",
    "list_methods": ".registry.listing",
    "load": ".model.loading",
    "load_check": ".model.load_check",
    "score": ".evaluation",
    "sweep": ".sweeps.run",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
