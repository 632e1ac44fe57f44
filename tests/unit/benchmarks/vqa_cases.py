"""What `test_conformance` checks of the metrics over short answers, choices and captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lvlmsal.benchmarks.captions.metric import CaptionsMetric
from lvlmsal.benchmarks.scienceqa.metric import ScienceqaMetric
from lvlmsal.benchmarks.vizwiz.metric import VizwizMetric
from lvlmsal.metrics.base import CountMetric
from tests.unit.benchmarks.captions import test_metric as test_cider
from tests.unit.benchmarks.scienceqa import test_metric as test_scienceqa
from tests.unit.benchmarks.vizwiz import test_metric as test_vizwiz

CASES: dict[str, tuple[Callable[[], CountMetric], list[tuple[str, Any]], Callable[..., Any]]] = {
    "captions": (CaptionsMetric, test_cider.SAMPLES, test_cider.reference),
    "scienceqa": (ScienceqaMetric, test_scienceqa.SAMPLES, test_scienceqa.reference),
    "vizwiz": (VizwizMetric, test_vizwiz.SAMPLES, test_vizwiz.reference),
}
