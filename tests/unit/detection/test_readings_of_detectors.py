"""Detectors of attention, inner layers and saliency, on columns that are written out."""

from __future__ import annotations

import math

import pytest
import torch

from lvlmsal.detection.attention_detectors import PAS, RAUQ, SVAR, Lookback
from lvlmsal.detection.base import ReadingDetector
from lvlmsal.detection.columns import READINGS, Columns
from lvlmsal.detection.lens_detectors import ContextualLens, InternalConfidence, RowLens
from lvlmsal.detection.saliency_detectors import Saliency, SaliencyMagnitude
from lvlmsal.registry import DETECTORS, options_of

# Two tokens, four layers, two heads.
BY_HEAD = torch.arange(16.0).reshape(2, 4, 2) / 16
BY_LAYER = BY_HEAD[..., 0] / 4
HALF = math.log(0.5)


def columns(detector: ReadingDetector, **values: torch.Tensor) -> Columns:
    layered = BY_HEAD if len(READINGS[detector.reading].shape) == 2 else BY_LAYER
    if detector.reading.endswith("lens"):
        layered = HALF * layered
    return Columns({detector.reading: layered, **values}, {detector.reading: [0, 1, 2, 3]}, 4)


@pytest.mark.parametrize(
    ("detector", "wanted"),
    [
        (SVAR(), [1 - 2.5 / 16, 1 - 10.5 / 16]),  # layer 1 of 4
        (SVAR(layers=[0, 1]), [1 - 1.5 / 16, 1 - 9.5 / 16]),
        (PAS(), [0.5 / 16, 8.5 / 16]),
        (Lookback(), [1 - 3.5 / 16, 1 - 11.5 / 16]),
        (RowLens(), [1 - 0.5 ** (5 / 64), 1 - 0.5 ** (13 / 64)]),
        (InternalConfidence(), [0.0, 1 - 0.5 ** (8 / 64)]),  # the largest is the nearest to 0
        (ContextualLens(), [(1 - 4 / 64) / 2, (1 - 12 / 64) / 2]),
        (Saliency(), [1 - 5 / 64, 1 - 13 / 64]),
        (SaliencyMagnitude(), [6 / 70, 14 / 78]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_features_by_hand(detector: ReadingDetector, wanted: list[float]) -> None:
    found = detector.features(columns(detector))
    assert found.shape == (2, 1)
    assert found[:, 0].tolist() == pytest.approx(wanted)


def test_rauq_hands_confidence_on() -> None:
    previous = torch.zeros(3, 4, 2)
    previous[1, 1], previous[2, 1] = torch.tensor([0.2, 0.4]), torch.tensor([0.2, 0.6])  # head 1
    previous[1, 2], previous[2, 2] = torch.tensor([0.9, 0.0]), torch.tensor([0.9, 0.9])  # head 0
    chances = torch.tensor([0.8, 0.5, 0.1])
    detector = RAUQ(alpha=0.5)
    found = detector.features(
        columns(detector, log_probability=chances.log(), attention_previous=previous)
    )
    low = [0.8]
    low.append(0.5 * 0.5 + 0.5 * 0.4 * low[0])
    low.append(0.5 * 0.1 + 0.5 * 0.6 * low[1])  # layer 1 is the less confident one throughout
    assert found[:, 0].tolist() == pytest.approx([1 - value for value in low])
    one = detector.features(
        columns(detector, log_probability=chances[:1].log(), attention_previous=previous[:1])
    )
    assert one[:, 0].tolist() == pytest.approx([0.2])
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        RAUQ(alpha=2)


@pytest.mark.parametrize(
    "name", [n for n in DETECTORS if not (DETECTORS.get(n).scaled or DETECTORS.get(n).supervised)]
)
def test_features_are_risks(name: str) -> None:
    """As they stand they lie in [0, 1], whatever the columns, and tokens keep their shape."""
    detector = DETECTORS.build(name)
    generator = torch.Generator().manual_seed(0)
    values, layers = {}, {}
    for need in detector.needs:
        shape = {1: (4,), 2: (4, 2)}.get(len(READINGS[need.reading].shape), ())
        draw = torch.rand(5, 6, *shape, generator=generator)
        logs = need.reading in ("log_probability", "row_lens", "patch_lens")
        values[need.reading] = draw.log() if logs else draw
        if shape:
            layers[need.reading] = [0, 1, 2, 3]
    found = detector.features(Columns(values, layers, 4))
    assert found.shape == (5, 6, 1)
    assert bool(((found >= 0) & (found <= 1)).all())


@pytest.mark.parametrize("name", list(DETECTORS))
def test_options_come_back_from_json(name: str) -> None:
    import json

    options = options_of(DETECTORS.build(name))
    assert json.loads(json.dumps(options)) == options
