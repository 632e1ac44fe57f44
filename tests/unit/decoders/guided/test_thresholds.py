"""From which risk on guided decoding replaces a word, by what is known of the detector."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.decoders import Guided
from lvlmsal.decoders.guide import Guide
from lvlmsal.detection.confidence import Entropy
from lvlmsal.detection.ensemble import Ensemble
from lvlmsal.detection.regression import Regression
from lvlmsal.detection.scaling import Scaling
from lvlmsal.detection.scaling_files import Scalings
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.testing.tiny import tiny_lvlm

FALSE_ALARMS = {"0.01": 0.9, "0.02": 0.8, "0.05": 0.6}


@pytest.fixture(scope="module")
def adapter() -> ModelAdapter:
    return adapter_for(*tiny_lvlm("llava", layers=4))


def regression(detector: Ensemble) -> Regression:
    count = len(detector.feature_names)
    return Regression(
        detector="ensemble",
        options={"parts": list(detector.parts)},
        features=detector.feature_names,
        mean=(0.0,) * count,
        deviation=(1.0,) * count,
        mentions=100,
        answers=10,
        weights=(1.0,) * count,
        offset=0.0,
        slope=1.0,
        shift=0.0,
        false_alarms=FALSE_ALARMS,
        precisions={},
        wrong=10,
    )


def folder_of(adapter: ModelAdapter, folder: Path) -> Path:
    """Files of two models, as `lvlmsal fit --labels` writes them."""
    entropy = Scaling.fitted(Entropy(), torch.rand(50, 1), 5)
    entries = (entropy, *map(regression, (Ensemble(), Ensemble(["confidence", "position"]))))
    mark, words = ModelMark.of(adapter), {"dog": ["dog"]}
    other = ModelMark.of(adapter_for(*tiny_lvlm("llava", layers=3)))
    Scalings(other, "another", "a test", words, entries).save(folder / "another.json")
    Scalings(mark, "tiny", "a test", words, entries).save(folder / "tiny.json")
    return folder


def guide(adapter: ModelAdapter, decoder: Guided) -> Guide:
    found = decoder.bind(adapter)._guide
    assert found is not None
    return found


def test_the_file_of_the_model_is_taken_from_a_folder(
    adapter: ModelAdapter, tmp_path: Path
) -> None:
    spec = {"name": "entropy", "scaling": str(folder_of(adapter, tmp_path))}
    assert guide(adapter, Guided(detector=spec)).threshold == pytest.approx(0.92)
    deeper = adapter_for(*tiny_lvlm("llava", layers=5))
    with pytest.raises(UnsupportedError, match="lvlmsal fit"):
        Guided(detector=spec).bind(deeper)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file of scalings"):
        Guided(detector={**spec, "scaling": str(tmp_path / "empty")}).bind(adapter)


def test_a_fitted_detector_flags_a_share_of_right_words(
    adapter: ModelAdapter, tmp_path: Path
) -> None:
    for parts in (["confidence", "lens"], ["confidence", "position"]):
        folder = str(folder_of(adapter, tmp_path))
        spec = {"name": "ensemble", "parts": parts, "scaling": folder}
        assert guide(adapter, Guided(detector=spec)).threshold == FALSE_ALARMS["0.02"]
        assert guide(adapter, Guided(detector=spec, share=0.05)).threshold == FALSE_ALARMS["0.05"]
        assert guide(adapter, Guided(detector=spec, threshold=0.3)).threshold == 0.3
        with pytest.raises(UnsupportedError, match=r"share of 0.07 .* choose one of 0.01, 0.02"):
            Guided(detector=spec, share=0.07).bind(adapter)


def test_what_is_fitted_has_a_control_that_looks_at_no_inner_layer() -> None:
    control = Ensemble().control
    assert isinstance(control, Ensemble)
    assert control.streams
    assert {need.reading for need in control.needs}.isdisjoint({"row_lens"})
    assert control.control is None
