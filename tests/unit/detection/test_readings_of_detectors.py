"""Detectors of attention, inner layers and saliency, on columns that are written out."""

from __future__ import annotations

import math

import pytest
import torch

from lvlmsal.detection.attention_detectors import PAS, RAUQ, SVAR, Lookback
from lvlmsal.detection.base import ReadingDetector
from lvlmsal.detection.blank_image import BlankImage
from lvlmsal.detection.columns import READINGS, Columns
from lvlmsal.detection.lens_detectors import ContextualLens, InternalConfidence, RowLens
from lvlmsal.detection.metatoken import MetaToken
from lvlmsal.detection.probes import DHCP, HiddenStateProbe, LookbackLens
from lvlmsal.detection.saliency_detectors import Saliency, SaliencyMagnitude
from lvlmsal.detection.similarity_detectors import GLSim, InstructionLens
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


def test_glsim_by_hand() -> None:
    values = {
        "prompt_similarity": torch.tensor([[0.5], [-1.0]]),
        "grounded_similarity": torch.tensor([[0.25], [-1.0]]),
    }
    found = GLSim().features(Columns(values, {name: [2] for name in values}, 4))
    # 1 - (0.6 * 0.5 + 0.4 * 0.25) = 0.6
    assert found[:, 0].tolist() == pytest.approx([0.3, 1.0])
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        GLSim(weight=2)


def test_the_instruction_lens_by_hand() -> None:
    values = {
        "question_lens": torch.tensor([[0.5, 0.25]]).log(),
        "grounded_similarity": torch.tensor([[0.5, 1.0]]),
        "question_fit": torch.tensor([[0.1, 0.3]]),
    }
    detector = InstructionLens(layers=[1, 2])
    found = detector.features(Columns(values, {name: [1, 2] for name in values}, 4))
    # layer 1: 0.6 * 0.25 + 0.4 * 0.1 = 0.19; layer 2: 0.6 * 0.25 + 0.4 * 0.3 = 0.27
    assert found.flatten().tolist() == pytest.approx([1 / (1 + math.exp(0.23))])
    with pytest.raises(ValueError, match="from 0 to 1, got -1"):
        InstructionLens(weight=-1)


def test_a_blank_image_by_hand() -> None:
    chances = {"log_probability": [0.6, 0.2, 0.5], "blank_log_probability": [0.2, 0.2, 1.0]}
    values = {name: torch.tensor(held).log() for name, held in chances.items()}
    found = BlankImage().features(Columns(values, {}, 4))
    assert found[:, 0].tolist() == pytest.approx([0.25, 0.5, 2 / 3])


def test_the_features_of_metatoken_by_hand() -> None:
    half, quarter = math.log(0.5), math.log(0.25)
    values = {
        "position": torch.tensor([0.0, 1.0]),
        "occurrence": torch.tensor([0.0, 1.0]),
        "attention_image": torch.tensor([[[0.5, 0.25]], [[0.0, 1.0]]]),
        "log_probability": torch.tensor([half, quarter]),
        "entropy": torch.tensor([0.7, 0.9]),
        "margin": torch.tensor([0.1, 0.3]),
        "largest": torch.tensor([half, half]),
    }
    found = MetaToken().features(Columns(values, {"attention_image": [0]}, 1))
    assert found[0].tolist() == pytest.approx(
        [0, 0, 0, -0.375, -half, -half, -half, 0.7, 0.5, -0.1, 0], abs=1e-6
    )
    both = -half - quarter
    assert found[1].tolist() == pytest.approx(
        [0.5, 1, 0.5, -0.5, -quarter, both, both / 2, 0.9, 0.5, -0.3, 0.25], abs=1e-6
    )
    assert len(MetaToken().feature_names) == found.shape[-1]


def test_probes_have_a_feature_for_each_unit_and_head() -> None:
    found = LookbackLens().features(columns(LookbackLens()))
    assert found.tolist() == [BY_HEAD[row].flatten().tolist() for row in (0, 1)]
    states = torch.arange(24.0).reshape(2, 4, 3)
    held = Columns({"state": states}, {"state": [0, 1, 2, 3]}, 4)
    assert HiddenStateProbe().features(held).tolist() == states[:, 2].tolist()
    cells = torch.arange(2 * 4 * 2 * 3.0).reshape(2, 4, 2, 3)  # three in place of sixteen
    held_cells = Columns({"attention_cells": cells}, {"attention_cells": [0, 1, 2, 3]}, 4)
    assert DHCP().features(held_cells).tolist() == [cells[row].flatten().tolist() for row in (0, 1)]
    assert DHCP(layers=[1]).features(held_cells)[1].tolist() == [30, 31, 32, 33, 34, 35]
    assert HiddenStateProbe(layers=[0, 3]).features(held)[1].tolist() == [12, 13, 14, 21, 22, 23]


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
        kinds = ("log_probability", "blank_log_probability", "question_lens")
        logs = need.reading in (*kinds, "row_lens", "patch_lens")
        values[need.reading] = draw.log() if logs else draw
        if shape:
            layers[need.reading] = [0, 1, 2, 3]
    columns = Columns(values, layers, 4)
    columns.asked[detector] = torch.rand(5, 6, generator=generator)
    found = detector.features(columns)
    assert found.shape == (5, 6, 1)
    assert bool(((found >= 0) & (found <= 1)).all())


@pytest.mark.parametrize("name", list(DETECTORS))
def test_options_come_back_from_json(name: str) -> None:
    import json

    options = options_of(DETECTORS.build(name))
    assert json.loads(json.dumps(options)) == options
