"""Scalings: risks are shares of own mentions, and files fit one model and one detector."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.detection.confidence import Entropy, LogProbability
from lvlmsal.detection.early_lens import EarlyLens
from lvlmsal.detection.habit_lens import HabitLens
from lvlmsal.detection.judge import make_judge
from lvlmsal.detection.scaling import KNOTS, Scaling
from lvlmsal.detection.scaling_files import Scalings, read_scalings
from lvlmsal.errors import ConfigError, DataError, UnknownName, UnsupportedError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model

NUMBERS = st.floats(-50, 50, allow_nan=False)


def scaling(*scores: float, **others: Any) -> Scaling:
    made = Scaling(
        detector="entropy",
        options={},
        features=("entropy",),
        mean=(0.0,),
        deviation=(1.0,),
        scores=scores,
        mentions=100,
        answers=10,
    )
    return replace(made, **others)


def two_features(count: int = 1000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, generator=generator, dtype=torch.float64) * 3 + 5


@pytest.fixture(scope="module")
def adapter() -> ModelAdapter:
    return adapter_for(*tiny_lvlm("llava", layers=3))


def file_of(adapter: ModelAdapter, path: Path, *entries: Scaling) -> Path:
    words = {"dog": ["dog", "dogs"]}
    Scalings(ModelMark.of(adapter), "tiny", "a test", words, entries).save(path)
    return path


def test_risks_of_own_mentions_are_spread_evenly() -> None:
    features = two_features()
    made = Scaling.fitted(EarlyLens(), features, 7)
    assert len(made.scores) == KNOTS
    risks = made.risk(made.score(features))
    for share in (0.02, 0.08, 0.5, 0.9):
        assert float((risks >= 1 - share).double().mean()) == pytest.approx(share, abs=0.006)


def test_a_scaled_score_is_the_sum_of_standard_scores() -> None:
    features = two_features()
    made = Scaling.fitted(EarlyLens(), features, 7)
    wanted = sum(
        (features[:, at] - features[:, at].mean()) / features[:, at].std() for at in range(2)
    )
    torch.testing.assert_close(made.score(features), wanted, rtol=1e-5, atol=1e-5)


def test_risks_by_hand() -> None:
    knots = scaling(1.0, 2.0, 2.0, 4.0)  # 1/5 of own mentions lie below the first, and so on
    risks = knots.risk(torch.tensor([1.0, 1.5, 2.0, 3.0, 4.0, math.nan], dtype=torch.float64))
    assert risks[:5].tolist() == pytest.approx([0.2, 0.3, 0.5, 0.7, 0.8])
    assert risks[5].isnan()


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.lists(NUMBERS, min_size=2, max_size=20))
def test_risks_grow_with_the_score_and_stay_within_bounds(
    knots: list[float], values: list[float]
) -> None:
    made = scaling(*sorted(knots))
    extreme = [-1e9, *sorted(values), 1e9]
    risks = made.risk(torch.tensor(extreme, dtype=torch.float64)).tolist()
    assert all(0 <= risk < 1 for risk in risks)
    assert all(b >= a - 1e-12 for a, b in pairwise(risks))


def test_what_cannot_be_scaled_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 mentions, got 1"):
        Scaling.fitted(EarlyLens(), torch.zeros(1, 2), 1)
    with pytest.raises(ValueError, match=r"mean log lens of early-lens: the same"):
        Scaling.fitted(EarlyLens(), torch.tensor([[1.0, 2.0], [3.0, 2.0]]), 1)


def test_risks_from_a_file_are_the_same_in_another_process(
    adapter: ModelAdapter, tmp_path: Path
) -> None:
    features = two_features(100)
    made = Scaling.fitted(EarlyLens(), features, 3)
    path = file_of(adapter, tmp_path / "tiny.json", made)
    code = (
        "import sys, json, torch\n"
        "from lvlmsal.detection.scaling_files import read_scalings\n"
        "made = read_scalings(sys.argv[1]).entries[0]\n"
        "values = torch.tensor(json.loads(sys.argv[2]), dtype=torch.float64)\n"
        "print(json.dumps(made.risk(made.score(values)).tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), json.dumps(features.tolist())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == made.risk(made.score(features)).tolist()
    assert read_scalings(path).entries == (made,)
    assert read_scalings(path).vocabulary().objects("Two dogs.") == [("dog", "dogs")]


def test_a_file_of_another_model_is_refused(adapter: ModelAdapter, tmp_path: Path) -> None:
    path = file_of(
        adapter, tmp_path / "tiny.json", Scaling.fitted(Entropy(), two_features()[:, :1], 1)
    )
    deeper = adapter_for(*tiny_lvlm("llava", layers=4))
    with pytest.raises(UnsupportedError, match="layers 3, not 4"):
        make_judge(str(path), deeper)
    trained = adapter_for(*tiny_lvlm("llava", layers=3, seed=1))
    with pytest.raises(UnsupportedError, match="other weights of the same shape"):
        make_judge(str(path), trained)
    half = adapter_for(tiny_model("llava", layers=3, dtype=torch.bfloat16), adapter.processor)
    assert make_judge({"name": "entropy", "scaling": str(path)}, half).scaling is not None


def test_other_columns_or_options_are_not_taken(adapter: ModelAdapter, tmp_path: Path) -> None:
    made = Scaling.fitted(EarlyLens(), two_features(), 1)
    turned = replace(made, features=made.features[::-1])
    path = file_of(adapter, tmp_path / "turned.json", turned)
    with pytest.raises(UnsupportedError, match="no scaling for this model under these options"):
        make_judge({"name": "early-lens", "scaling": str(path)}, adapter)
    path = file_of(adapter, tmp_path / "right.json", made)
    assert make_judge({"name": "early-lens", "scaling": str(path)}, adapter).scaling == made
    with pytest.raises(UnsupportedError, match="lvlmsal fit"):
        make_judge({"name": "early-lens", "layers": [0], "scaling": str(path)}, adapter)


def test_the_default_is_the_rule_that_a_file_has(adapter: ModelAdapter, tmp_path: Path) -> None:
    rule = Scaling.fitted(HabitLens(), two_features(), 1)
    judge = make_judge(str(file_of(adapter, tmp_path / "both.json", rule)), adapter)
    assert (judge.detector, judge.scaling) == (HabitLens(), rule)
    # a file of an earlier version has no such rule
    earlier = Scaling.fitted(EarlyLens(), two_features(), 1)
    judge = make_judge(str(file_of(adapter, tmp_path / "earlier.json", earlier)), adapter)
    assert (judge.detector, judge.scaling) == (LogProbability(), None)


def test_the_habit_counts_as_far_as_early_layers_know_the_words() -> None:
    # surest word: odds 4, said with 1/2 by early layers; the others with 1/4 and 1/4
    chances = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    features = torch.stack([torch.tensor([-4.0, -2.0, 0.0]).double(), chances.log()], dim=-1)
    made = Scaling.fitted(HabitLens(), features, 1)
    # scores are -logit p + m log lens with m = 1/3, but for where zero lies
    wanted = features[:, 0] + chances.log() / 3
    scores = made.score(features)
    assert (scores - scores[0]).tolist() == pytest.approx((wanted - wanted[0]).tolist(), abs=1e-5)
    # where early layers know nothing of the words it ranks as log-probability does
    far = features - torch.tensor([0.0, 30.0])
    blind = Scaling.fitted(HabitLens(), far, 1).score(far)
    gaps = (features[:, 0] - features[0, 0]).tolist()
    assert (blind - blind[0]).tolist() == pytest.approx(gaps, abs=1e-5)


def test_weights_are_kept_in_files(adapter: ModelAdapter, tmp_path: Path) -> None:
    made = Scaling.fitted(HabitLens(), two_features() - 20, 1)
    path = file_of(adapter, tmp_path / "rule.json", made)
    assert read_scalings(path).entries == (made,)
    # a file in which nothing is weighted is that of an earlier version
    assert "weights" not in Scaling.fitted(EarlyLens(), two_features(), 1).to_dict()
    content = json.loads(path.read_text())
    content["detectors"][0]["weights"] = [1.0]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="weights must be finite numbers, one for each column"):
        read_scalings(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "no file of scalings"),
        ({"version": 0}, "version 0, expected 1"),
        ({"model": {}}, "is damaged: the model is not described"),
        ({"detectors": [{}]}, "is damaged: an entry is not whole"),
    ],
)
def test_damaged_files_are_refused(
    adapter: ModelAdapter, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = file_of(adapter, tmp_path / "tiny.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=message):
        read_scalings(path)


@pytest.mark.parametrize(
    "scores", [[], [2.0, 1.0], [float("inf")]], ids=["none", "not ascending", "infinite"]
)
def test_scores_that_are_no_quantiles_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="scores must be"):
        Scaling.from_dict({**scaling(1.0).to_dict(), "scores": scores})


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_scalings(tmp_path / "absent.json")
    (tmp_path / "text.json").write_text("no JSON")
    with pytest.raises(DataError, match="is not JSON"):
        read_scalings(tmp_path / "text.json")


def test_without_a_scaling_the_default_is_plain_and_says_so(adapter: ModelAdapter) -> None:
    with pytest.warns(UserWarning, match="lvlmsal fit"):
        judge = make_judge("default", adapter)
    assert isinstance(judge.detector, LogProbability)
    assert judge.scaling is None
    assert "lvlmsal fit" in judge.note


def test_wrong_names_and_options(adapter: ModelAdapter) -> None:
    with pytest.raises((ConfigError, UnknownName), match="Did you mean 'entropy'"):
        make_judge("entropie", adapter)
    with pytest.raises(ConfigError, match="has no options"):
        make_judge({"name": "default", "layers": [1]}, adapter)
    with pytest.raises(ConfigError, match="half must be at least 1"):
        make_judge({"name": "position", "half": 0}, adapter)
    with pytest.raises(ConfigError, match="path of a file or folder, got 3"):
        make_judge({"name": "entropy", "scaling": 3}, adapter)
    detector = Entropy()
    assert make_judge(detector, adapter).detector is detector
