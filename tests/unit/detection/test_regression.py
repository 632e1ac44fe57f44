"""Detectors fitted on labels: thresholds, files, chances, and what `default` takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from lvlmsal import load
from lvlmsal.adapters import ModelAdapter
from lvlmsal.detection.columns import Columns
from lvlmsal.detection.confidence import Entropy
from lvlmsal.detection.ensemble import Ensemble
from lvlmsal.detection.judge import make_judge
from lvlmsal.detection.regression import (
    Regression,
    threshold_for_false_alarms,
    threshold_for_precision,
)
from lvlmsal.detection.scaling import Scaling
from lvlmsal.detection.scaling_files import Scalings, read_scalings
from lvlmsal.errors import UnsupportedError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.statistics.logistic import fit_logistic
from lvlmsal.testing.tiny import tiny_lvlm

CONFIDENCE = Ensemble(parts=["confidence"])


def labeled(count: int = 800) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, 4, generator=generator).double()
    chances = torch.sigmoid(features @ torch.tensor([2.0, -1.0, 0.0, 0.5]).double() - 2)
    return features, torch.rand(count, generator=generator) < chances


def regression() -> Regression:
    features, wrong = labeled()
    made = fit_logistic(features, wrong)
    return Regression.fitted(CONFIDENCE, made, made.logits(features), wrong, 200)


@pytest.fixture(scope="module")
def lvlm() -> Lvlm:
    return load(tiny_lvlm("llava", layers=4))


def file_of(adapter: ModelAdapter, path: Path) -> Path:
    entropy = Scaling.fitted(Entropy(), torch.rand(50, 1), 5)
    mark = ModelMark.of(adapter)
    Scalings(mark, "tiny", "a test", {"dog": ["dog"]}, (entropy, regression())).save(path)
    return path


def test_features_by_hand() -> None:
    values = {
        "odds": torch.tensor([2.0]),
        "entropy": torch.tensor([0.5]),
        "margin": torch.tensor([0.25]),
        "position": torch.tensor([3.0]),
        "row_lens": torch.tensor([[-1.0, -2.0, -3.0, -4.0]]),
        **{
            f"attention_{name}": torch.full((1, 4, 2), share)
            for name, share in (("image", 0.1), ("prompt", 0.2), ("output", 0.3))
        },
    }
    held = [name for name in values if "lens" in name or "attention" in name]
    columns = Columns(values, {key: [0, 1, 2, 3] for key in held}, 4)
    detector = Ensemble(parts=["confidence", "lens", "attention", "position"])
    found = detector.features(columns)
    rest = 1 / (1 + torch.tensor(2.0).exp())  # 1 - p
    wanted = [-2, float(rest.log()), float(torch.tensor(0.5).log()), -0.25]
    wanted += [-1, -2, -3, -4, -0.1, -0.2, -0.3, float(torch.tensor(4.0).log())]
    assert found[0].tolist() == pytest.approx(wanted)
    assert len(detector.feature_names) == len(wanted)
    assert Ensemble().streams
    assert not detector.streams


def test_parts_are_checked() -> None:
    for parts in ([], ["lense"], "lens"):
        with pytest.raises(ValueError, match="parts must be a list of confidence, lens"):
            Ensemble(parts=parts)


def test_thresholds_by_hand() -> None:
    right = torch.linspace(0, 0.99, 100).double()
    for share, flagged in ((0.0, 0), (0.05, 5), (0.2, 20), (1.0, 100)):
        threshold = threshold_for_false_alarms(right, share)
        assert int((right >= threshold).sum()) == flagged
    tied = torch.full((10,), 0.5)
    assert int((tied >= threshold_for_false_alarms(tied, 0.5)).sum()) == 0  # all or none
    risks, wrong = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 1, 0, 1]).bool()
    assert threshold_for_precision(risks, wrong, 0.5) == pytest.approx(0.1)
    assert threshold_for_precision(risks, wrong, 0.9) == pytest.approx(0.4)
    assert threshold_for_precision(risks, ~wrong, 0.9) is None


def test_a_false_alarm_threshold_holds_on_other_data() -> None:
    """Exchangeable right mentions: 5 % of new ones are flagged, within what chance allows."""
    generator = torch.Generator().manual_seed(3)
    shares = []
    for _ in range(200):
        old, new = torch.rand(2, 400, generator=generator).double()
        shares.append(float((new >= threshold_for_false_alarms(old, 0.05)).double().mean()))
    mean = sum(shares) / len(shares)
    assert mean == pytest.approx(0.05, abs=0.005)


def test_chances_and_contributions() -> None:
    features, wrong = labeled()
    made = regression()
    risks = made.risk(made.score(features))
    assert float(risks.mean()) == pytest.approx(float(wrong.double().mean()), abs=0.01)
    assert bool(((risks >= 0) & (risks < 1)).all())
    torch.testing.assert_close(made.contributions(features).sum(-1), made.score(features))
    flagged = risks >= made.false_alarms["0.05"]
    assert float(flagged[~wrong].double().mean()) <= 0.05
    assert float(wrong[risks >= made.precisions["0.8"]].double().mean()) >= 0.8 - 1e-9


def test_files_hold_fits_of_both_kinds(lvlm: Lvlm, tmp_path: Path) -> None:
    path = file_of(lvlm.adapter, tmp_path / "tiny.json")
    held = read_scalings(path)
    assert held.entries[1] == regression()
    judge = make_judge(
        {"name": "ensemble", "parts": ["confidence"], "scaling": str(path)}, lvlm.adapter
    )
    assert (judge.scaling, judge.regression) == (None, regression())
    assert held.best() == ("ensemble", {"parts": ["confidence"]})
    assert make_judge(str(path), lvlm.adapter).regression == regression()
    assert make_judge({"name": "entropy", "scaling": str(path)}, lvlm.adapter).scaling is not None
    with pytest.raises(UnsupportedError, match="lvlmsal fit --labels"):
        make_judge({"name": "ensemble", "scaling": str(path)}, lvlm.adapter)
    with pytest.raises(ValueError, match="a finite weight for each column"):
        Regression.from_dict({**regression().to_dict(), "weights": [1.0]})
    with pytest.raises(ValueError, match="not whole"):
        Regression.from_dict({**regression().to_dict(), "weights": None})


def test_flags_of_a_fitted_detector(lvlm: Lvlm, tmp_path: Path) -> None:
    path = file_of(lvlm.adapter, tmp_path / "tiny.json")
    spec = {"name": "ensemble", "parts": ["confidence"], "scaling": str(path)}
    found = lvlm.detect(Image.new("RGB", (30, 30)), "What is it?", "a dog", detector=spec)
    made = regression()
    assert (found.scaled, found.calibrated) == (False, True)
    assert found.threshold == made.false_alarms["0.05"]
    assert found.flag(precision=0.8).threshold == made.precisions["0.8"]
    assert found.flag(false_positive_rate=0.01).threshold == made.false_alarms["0.01"]
    assert set(found.words[0].reasons) == set(CONFIDENCE.feature_names)
    with pytest.raises(UnsupportedError, match="choose one of"):
        found.flag(precision=0.81)
    with pytest.raises(UnsupportedError, match="lvlmsal fit"):
        found.flag(share=0.1)
    assert "chance of being wrong" in found.html()
    with pytest.raises(UnsupportedError, match="--labels"):
        replace(found, calibrated=False).flag(precision=0.8)
