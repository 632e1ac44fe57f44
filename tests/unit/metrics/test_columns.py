"""Which figures tables show: what the class of the metric says, or else every one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from lvlmsal.evaluation.report.entries import columns_of


def cells(*figures: str) -> list[dict[str, Any]]:
    return [{"figures": dict.fromkeys(figures)}]


def test_a_metric_names_its_columns_and_their_titles() -> None:
    shown = columns_of("pope", cells("n", "f1", "precision", "accuracy"))
    assert [(c.figure, c.title, c.percent) for c in shown] == [
        ("accuracy", "accuracy", True),
        ("f1", "F1", True),
    ]


def test_every_figure_is_shown_of_a_metric_without_columns_or_without_its_package() -> None:
    for metric in ("hallusionbench", "of-a-package-that-is-not-installed"):
        shown = columns_of(metric, cells("n", "accuracy"))
        assert [(c.figure, c.title, c.percent) for c in shown] == [
            ("n", "n", False),
            ("accuracy", "accuracy", False),
        ]


@pytest.mark.slow
def test_benchmarks_metrics_and_scorers_need_no_lightning() -> None:
    code = (
        "import sys\n"
        "from lvlmsal.registry import BENCHMARKS, METRICS, SCORERS\n"
        "for registry in (BENCHMARKS, METRICS, SCORERS):\n"
        "    for name in registry.names():\n"
        "        registry.get(name)\n"
        "print('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
