"""Risk-coverage figures against the definition: every order of ties, written out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlmsal.metrics.risk_coverage import (
    aurc,
    excess_aurc,
    prediction_rejection_ratio,
    selective_risks,
)
from lvlmsal.metrics.torch_risk_coverage import AURC, ExcessAURC, PredictionRejectionRatio

ITEMS = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), min_size=1, max_size=6)


def every_order(items: list[tuple[float, bool]]) -> float:
    """Mean AURC over all orders that the risks allow."""
    areas = []
    for order in itertools.permutations(items):
        risks = [risk for risk, _ in order]
        if risks == sorted(risks):
            wrong = [label for _, label in order]
            shares = [sum(wrong[:k]) / k for k in range(1, len(wrong) + 1)]
            areas.append(sum(shares) / len(shares))
    return sum(areas) / len(areas)


def tensors(items: list[tuple[float, bool]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([risk for risk, _ in items]), torch.tensor([label for _, label in items])


@settings(max_examples=40, deadline=None)
@given(ITEMS)
def test_ties_stand_in_every_order(items: list[tuple[float, bool]]) -> None:
    assert aurc(*tensors(items)) == pytest.approx(every_order(items))


def test_by_hand() -> None:
    risks, wrong = torch.tensor([0.9, 0.1, 0.4, 0.6]), torch.tensor([1, 0, 1, 0])
    # in order of risk: right, wrong, right, wrong
    assert selective_risks(risks, wrong).tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    area = (0 + 1 / 2 + 1 / 3 + 1 / 2) / 4
    best = (0 + 0 + 1 / 3 + 1 / 2) / 4
    assert aurc(risks, wrong) == pytest.approx(area)
    assert excess_aurc(risks, wrong) == pytest.approx(area - best)
    assert prediction_rejection_ratio(risks, wrong) == pytest.approx((0.5 - area) / (0.5 - best))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=12))
def test_fixed_points(labels: list[bool]) -> None:
    wrong = torch.tensor(labels)
    base = sum(labels) / len(labels)
    assert aurc(torch.full((len(labels),), 0.3), wrong) == pytest.approx(base)
    assert excess_aurc(wrong.float(), wrong) == 0
    if 0 < base < 1:
        assert prediction_rejection_ratio(wrong.float(), wrong) == pytest.approx(1)
        assert prediction_rejection_ratio(torch.zeros(len(labels)), wrong) == pytest.approx(0)
    else:
        assert math.isnan(prediction_rejection_ratio(wrong.float(), wrong))


def test_nothing_and_nonsense() -> None:
    none = torch.zeros(0)
    assert math.isnan(aurc(none, none))
    with pytest.raises(ValueError, match="one shape"):
        aurc(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="nan"):
        aurc(torch.tensor([math.nan]), torch.tensor([1]))


@pytest.mark.parametrize(
    ("metric", "figure"),
    [
        (AURC, aurc),
        (ExcessAURC, excess_aurc),
        (PredictionRejectionRatio, prediction_rejection_ratio),
    ],
)
def test_batches_add_up_to_the_whole(metric: type, figure: object) -> None:
    generator = torch.Generator().manual_seed(3)
    risks, wrong = torch.rand(50, generator=generator), torch.rand(50, generator=generator) < 0.3
    made = metric()
    for part in (slice(0, 7), slice(7, 30), slice(30, 50)):
        made.update(risks[part], wrong[part])
    assert float(made.compute()) == pytest.approx(figure(risks.double(), wrong))  # type: ignore[operator]
    made.reset()
    made.update(risks[:20], wrong[:20])
    assert float(made.compute()) == pytest.approx(figure(risks[:20], wrong[:20]))  # type: ignore[operator]
