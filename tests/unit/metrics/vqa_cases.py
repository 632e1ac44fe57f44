"""What `test_conformance` checks of the metrics over short answers, choices and captions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lvlmsal.metrics import CountMetric
from lvlmsal.metrics.cider import Cider
from lvlmsal.metrics.scienceqa import Scienceqa
from lvlmsal.metrics.vizwiz import Vizwiz
from tests.unit.metrics import test_cider, test_scienceqa, test_vizwiz

CASES: dict[str, tuple[Callable[[], CountMetric], list[tuple[str, Any]], Callable[..., Any]]] = {
    "captions": (Cider, test_cider.SAMPLES, test_cider.reference),
    "scienceqa": (Scienceqa, test_scienceqa.SAMPLES, test_scienceqa.reference),
    "vizwiz": (Vizwiz, test_vizwiz.SAMPLES, test_vizwiz.reference),
}
