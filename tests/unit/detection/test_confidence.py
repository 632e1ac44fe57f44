"""The detectors that read the distribution alone, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lvlmsal.detection.base import Detector
from lvlmsal.detection.columns import READINGS, Columns
from lvlmsal.detection.confidence import Entropy, LogProbability, Margin, Perplexity, Position
from lvlmsal.detection.early_lens import EarlyLens
from lvlmsal.detection.rows import logit_readings
from lvlmsal.registry import DETECTORS


def columns(*probabilities: list[float], tokens: list[int]) -> Columns:
    values = logit_readings(torch.tensor(probabilities).double().log(), torch.tensor(tokens))
    values["position"] = torch.arange(len(tokens))
    return Columns(values, {}, 4)


TWO = columns([0.7, 0.2, 0.1], [0.25, 0.25, 0.5], tokens=[0, 1])


@pytest.mark.parametrize(
    ("detector", "wanted"),
    [
        (LogProbability(), [0.3, 0.75]),
        (
            Entropy(),
            [
                1 - math.exp(sum(p * math.log(p) for p in (0.7, 0.2, 0.1))),
                1 - math.exp(math.log(0.25) / 2 + math.log(0.5) / 2),
            ],
        ),
        (Margin(), [0.5, 0.75]),
        (Perplexity(), [0.3, 1 - math.sqrt(0.7 * 0.25)]),
        (Position(half=4), [0.0, 0.2]),
    ],
)
def test_features_by_hand(detector: Detector, wanted: list[float]) -> None:
    found = detector.features(TWO)
    assert found.shape == (2, 1)
    assert found[:, 0].tolist() == pytest.approx(wanted)


def test_sure_tokens_are_told_apart() -> None:
    values = logit_readings(torch.tensor([[60.0, 0.0], [80.0, 0.0]]), torch.tensor([0, 0]))
    risks = LogProbability().features(Columns(values, {}, 4))[:, 0]
    assert 0 < risks[1] < risks[0] < 1e-20


def test_the_rule_takes_the_lower_half() -> None:
    lens = torch.tensor([[-1.0, -3.0, -100.0, -100.0]])
    values = {"odds": torch.tensor([2.0]), "row_lens": lens}
    found = EarlyLens().features(Columns(values, {"row_lens": [0, 1, 2, 3]}, 4))
    assert found.tolist() == [[-2.0, -2.0]]
    assert EarlyLens().needs[1].resolved(6) == [0, 1, 2]


def test_candidates_are_judged_as_tokens_are() -> None:
    """The columns of K candidates of a batch: (B, K), with layers behind them."""
    values = {"odds": torch.zeros(2, 3), "row_lens": torch.zeros(2, 3, 2)}
    found = EarlyLens().features(Columns(values, {"row_lens": [0, 1]}, 4))
    assert found.shape == (2, 3, 2)


@pytest.mark.parametrize("name", list(DETECTORS))
def test_detectors_say_what_they_cost(name: str) -> None:
    detector = DETECTORS.build(name)
    readings = [READINGS[need.reading] for need in detector.needs]
    assert (detector.passes == "1 backward") == any(r.part == "saliency" for r in readings)
    assert (detector.row == "own") == any(r.own for r in readings)
    assert detector.asks_more == (detector.row == "asked") == (not readings)
    assert bool(detector.passes) == (
        detector.asks_more or any(r.part in ("saliency", "blank") for r in readings)
    )
    if detector.streams:
        assert all(r.part in ("logits", "states") and not r.own for r in readings)
    assert detector.summary
    assert detector.paper
