"""What resizes images: chosen, refused where it is not there, and recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.utils.import_utils import is_torchvision_available

from lvlmsal.adapters.backends import image_backend
from lvlmsal.errors import UnsupportedError
from lvlmsal.evaluation.config.checkpoints import model_problems
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.evaluation.run.environment import describe_model
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.testing.tiny import tiny_lvlm

HAS_TORCHVISION = is_torchvision_available()
needs_torchvision = pytest.mark.skipif(not HAS_TORCHVISION, reason="torchvision is not installed")


@pytest.fixture(scope="module", params=["llava", "qwen2_vl", "internvl", "idefics3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, processor = tiny_lvlm(request.param)
    path = tmp_path_factory.mktemp("checkpoint") / request.param
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def pixels(lvlm: Lvlm) -> torch.Tensor:
    noise = np.random.default_rng(7).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    return lvlm.adapter.encode([[noise]], ["Is it?"])["pixel_values"]


def test_pillow_can_be_chosen_everywhere(folder: Path) -> None:
    lvlm = load(folder, image_backend="pil")
    assert image_backend(lvlm.processor) == "pil"
    entry = describe_model(lvlm, "x")
    assert entry["image_backend"] == "pil"
    assert entry["processor"] == type(lvlm.processor).__name__
    assert entry["image_processor"].endswith("Pil")


def test_by_default_transformers_chooses(folder: Path) -> None:
    wanted = "torchvision" if HAS_TORCHVISION else "pil"
    assert describe_model(load(folder), "x")["image_backend"] == wanted


@needs_torchvision
def test_the_backends_differ_by_less_than_a_gray_level_on_average(folder: Path) -> None:
    pillow, other = (load(folder, image_backend=name) for name in ("pil", "torchvision"))
    assert image_backend(other.processor) == "torchvision"
    difference = (pixels(pillow) - pixels(other)).abs()
    # a gray level is at most 1 / 255 / 0.22 after the normalization of these families
    assert difference.max() > 0
    assert difference.mean() < 1 / 255 / 0.22


@pytest.mark.skipif(HAS_TORCHVISION, reason="torchvision is installed")
def test_without_torchvision_one_error_comes_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"needs the package torchvision.*pip install"):
        load(tmp_path / "nothing", image_backend="torchvision")
    (problem,) = model_problems(ModelConfig("pocket-llava", image_backend="torchvision"))
    assert "needs the package torchvision" in problem


def test_wrong_options_of_images_are_told() -> None:
    with pytest.raises(UnsupportedError, match=r"no image_backend 'pill'\. Did you mean 'pil'"):
        load("pocket-llava", image_backend="pill")
    with pytest.raises(UnsupportedError, match="must be at least 1, got 0"):
        load("pocket-llava", max_image_pixels=0)
    with pytest.raises(UnsupportedError, match="image_backend and base are for loading"):
        load(tiny_lvlm("llava"), image_backend="pil")
    problems = model_problems(ModelConfig("pocket-llava", image_backend="x", max_image_pixels=0))
    assert len(problems) == 2


def test_a_processor_that_names_no_backend_is_recorded_as_such() -> None:
    assert image_backend(object()) is None
