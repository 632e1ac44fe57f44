"""The shipped models: whole, small, and as able as few scenes can show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lvlmsal.pocket import POCKET
from lvlmsal.pocket.scenes.draw import draw
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS
from lvlmsal.pocket.scenes.world import scene_number
from lvlmsal.pocket.training.build import build
from lvlmsal.pocket.training.score import score_captions, score_pope
from lvlmsal.pocket.training.speaker import Speaker
from lvlmsal.pocket.training.worlds import SHAPES
from tests.tiers import in_full

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=in_full(sorted(POCKET), but="pocket-llava"))
def folder(request: pytest.FixtureRequest) -> Path:
    return POCKET[request.param]


@pytest.fixture(scope="module")
def speaker(folder: Path) -> Speaker:
    return Speaker(folder)


def test_folder_is_whole_and_small(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "config.json", "generation_config.json", "model.safetensors"} <= names
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= names
    assert (folder / "model.safetensors").stat().st_size < 12_000_000


def test_tokenizer_and_template_are_those_of_the_code(folder: Path, speaker: Speaker) -> None:
    fresh = build(folder.name, tiny=True).tokenizer
    assert speaker.tokenizer.get_vocab() == fresh.get_vocab()
    assert speaker.tokenizer.chat_template == fresh.chat_template


def test_fresh_pope_questions_are_mostly_answered_rightly(speaker: Speaker) -> None:
    scenes = [scene_number(index, seed=11, shifted=False) for index in range(40)]
    pictures = [Image.fromarray(draw(scene)) for scene in scenes]
    result = score_pope(SHAPES, speaker, scenes, pictures, "random", 11)
    assert result["accuracy"] > 0.8
    assert result["neither"] == 0.0


def test_captions_name_most_objects_and_some_that_are_not_there(speaker: Speaker) -> None:
    scenes = [scene_number(index, seed=11, shifted=True) for index in range(40)]
    pictures = [Image.fromarray(draw(scene)) for scene in scenes]
    captions = speaker.answer(pictures, [CAPTION_PROMPTS[0]] * len(scenes))
    result = score_captions(SHAPES, scenes, captions)
    assert result["recall"] > 0.6
    assert 0.0 < result["chair_i"] < 0.35
    assert 30 < result["words"] < 65


def test_asking_where_the_weights_lie_loads_no_torch() -> None:
    code = "import sys, lvlmsal.pocket as p; p.POCKET; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
