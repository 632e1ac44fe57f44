"""Costs of a cell: hand-computed cases."""

from __future__ import annotations

from typing import Any

import pytest

from lvlmsal.sweeps.costs import sweep_cost

pytestmark = pytest.mark.slow


def record(
    seconds: float, batch_size: int, new_tokens: int, tokens: Any = (), status: str = "ok"
) -> dict[str, Any]:
    return {
        "status": status,
        "seconds": seconds,
        "batch_size": batch_size,
        "new_tokens": new_tokens,
        "tokens": list(tokens),
    }


def test_a_batch_counts_as_one_reading() -> None:
    # 100 tokens in 1 s, 50 tokens in 0.2 s, 10 tokens in 0.03 s
    records = [
        *(record(0.5, 2, tokens) for tokens in (20, 80)),
        *(record(0.1, 2, 25) for _ in range(2)),
        record(0.03, 1, 10),
    ]
    cost = sweep_cost(records)
    assert cost.ms_per_token == pytest.approx(4.0)
    assert (cost.fast, cost.slow) == (pytest.approx(3.5), pytest.approx(7.0))
    assert cost.batch_size == 2


def test_a_single_batch_has_no_spread() -> None:
    cost = sweep_cost([record(0.5, 2, 30), record(0.5, 2, 20)])
    assert (cost.ms_per_token, cost.fast, cost.slow) == (pytest.approx(20.0), None, None)


def test_what_did_not_answer_costs_nothing() -> None:
    cost = sweep_cost([record(9.0, 1, 0, status="failed"), record(0.2, 1, 0)])
    assert (cost.ms_per_token, cost.tries, cost.saliency) == (None, None, None)
    assert sweep_cost([]).batch_size == 0


def test_tries_and_saliency_are_means_over_tokens() -> None:
    first = [{"tries": 1, "saliency": None}, {"tries": 3, "saliency": 0.5}]
    second = [{"tries": 2, "saliency": 0.25}]
    records = [record(0.1, 1, 2, first), record(0.1, 1, 1, second)]
    cost = sweep_cost(records)
    assert cost.tries == 2.0
    assert cost.saliency == 0.375
    assert sweep_cost(records, saliency=0.9).saliency == 0.9
