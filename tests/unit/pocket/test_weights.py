"""The shipped models: whole, small, and as able as few scenes can show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForImageTextToText, AutoProcessor

from lvlmsal.pocket import POCKET
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS
from lvlmsal.pocket.training.build import POCKETS, build
from lvlmsal.pocket.training.score import WORLDS, score_captions, score_pope
from lvlmsal.pocket.training.speaker import Speaker
from tests.tiers import in_full

pytestmark = pytest.mark.slow

WORLD_OF = {name: WORLDS["stickers" if name == "pocket-idefics3" else "shapes"] for name in POCKETS}


@pytest.fixture(scope="module", params=in_full(sorted(POCKET), but="pocket-idefics3"))
def folder(request: pytest.FixtureRequest) -> Path:
    return POCKET[request.param]


@pytest.fixture(scope="module")
def speaker(folder: Path) -> Speaker:
    return Speaker(folder)


def test_folder_is_whole_and_small(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "config.json", "generation_config.json", "model.safetensors"} <= names
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= names
    assert (folder / "model.safetensors").stat().st_size < 20_000_000


def test_tokenizer_and_template_are_those_of_the_code(folder: Path, speaker: Speaker) -> None:
    fresh = build(folder.name, tiny=True).tokenizer
    assert speaker.tokenizer.get_vocab() == fresh.get_vocab()
    assert speaker.tokenizer.chat_template == fresh.chat_template


def test_fresh_pope_questions_are_mostly_answered_rightly(folder: Path, speaker: Speaker) -> None:
    world = WORLD_OF[folder.name]
    scenes = [world.files.scene_number(index, seed=11, shifted=False) for index in range(40)]
    pictures = [world.files.draw(scene)[0] for scene in scenes]
    result = score_pope(world, speaker, scenes, pictures, "random", 11)
    assert result["accuracy"] > 0.8
    assert result["neither"] == 0.0


def test_captions_name_most_objects_and_some_that_are_not_there(
    folder: Path, speaker: Speaker
) -> None:
    world = WORLD_OF[folder.name]
    scenes = [world.files.scene_number(index, seed=11, shifted=True) for index in range(40)]
    pictures = [world.files.draw(scene)[0] for scene in scenes]
    captions = speaker.answer(pictures, [CAPTION_PROMPTS[0]] * len(scenes))
    result = score_captions(world, scenes, captions)
    assert result["recall"] > 0.6
    assert 0.0 < result["chair_i"] < 0.35
    assert 30 < result["words"] < 65


@pytest.mark.full
def test_plain_transformers_loads_the_sticker_model() -> None:
    folder = POCKET["pocket-idefics3"]
    load: Any = AutoProcessor
    processor, model = (
        load.from_pretrained(folder),
        AutoModelForImageTextToText.from_pretrained(folder),
    )
    world = WORLD_OF[folder.name]
    scene = world.files.scene_number(0, seed=11, shifted=False)
    text = world.files.exists_question(scene.present[0])
    content = [{"type": "image"}, {"type": "text", "text": text}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    inputs = processor(images=[world.files.draw(scene)[0]], text=prompt, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=4)
    said = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert said.strip() == "Yes."


def test_asking_where_the_weights_lie_loads_no_torch() -> None:
    code = "import sys, lvlmsal.pocket as p; p.POCKET; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
