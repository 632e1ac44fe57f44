"""What can be named in a configuration: the eight registries and the catalog of checkpoints.

Importing this package imports neither torch nor any of the registered classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.registry.catalog import CATALOG, Catalog, CheckpointCard
from lvlmsal.registry.core import Registry
from lvlmsal.registry.options import Option, check_choices, declared_options, options_of

if TYPE_CHECKING:
    from lvlmsal.adapters.base import ModelAdapter
    from lvlmsal.benchmarks.base import Benchmark
    from lvlmsal.benchmarks.scorer import Scorer
    from lvlmsal.decoders.base import Decoder
    from lvlmsal.detection.base import Detector
    from lvlmsal.evidence.base import Evidence
    from lvlmsal.interventions.base import Intervention
    from lvlmsal.metrics.base import CountMetric

__all__ = [
    "ADAPTERS",
    "BENCHMARKS",
    "CATALOG",
    "DECODERS",
    "DETECTORS",
    "EVIDENCE",
    "INTERVENTIONS",
    "METRICS",
    "SCORERS",
    "Catalog",
    "CheckpointCard",
    "Option",
    "Registry",
    "check_choices",
    "declared_options",
    "options_of",
]

ADAPTERS: Registry[ModelAdapter] = Registry(
    "adapter",
    base="lvlmsal.adapters.base:ModelAdapter",
    packages=("lvlmsal.adapters",),
    entry_points="lvlmsal.adapters",
)
DECODERS: Registry[Decoder] = Registry(
    "decoder",
    base="lvlmsal.decoders.base:Decoder",
    packages=("lvlmsal.decoders",),
    entry_points="lvlmsal.decoders",
)
INTERVENTIONS: Registry[Intervention] = Registry(
    "intervention",
    base="lvlmsal.interventions.base:Intervention",
    packages=("lvlmsal.interventions",),
    entry_points="lvlmsal.interventions",
)
DETECTORS: Registry[Detector] = Registry(
    "detector",
    base="lvlmsal.detection.base:Detector",
    packages=("lvlmsal.detection",),
    entry_points="lvlmsal.detectors",
)
EVIDENCE: Registry[Evidence] = Registry(
    "evidence",
    base="lvlmsal.evidence.base:Evidence",
    packages=("lvlmsal.evidence",),
    entry_points="lvlmsal.evidence",
)
METRICS: Registry[CountMetric] = Registry(
    "metric",
    base="lvlmsal.metrics.base:CountMetric",
    packages=("lvlmsal.metrics", "lvlmsal.benchmarks", "lvlmsal.pocket.statements"),
    entry_points="lvlmsal.metrics",
)
BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark",
    base="lvlmsal.benchmarks.base:Benchmark",
    packages=("lvlmsal.benchmarks", "lvlmsal.pocket.statements"),
    entry_points="lvlmsal.benchmarks",
)
SCORERS: Registry[Scorer] = Registry(
    "scorer",
    base="lvlmsal.benchmarks.scorer:Scorer",
    packages=("lvlmsal.benchmarks",),
    entry_points="lvlmsal.scorers",
)
