"""Measures a model on fresh scenes: ``python -m lvlmsal.pocket.training.score pocket-llava``.

Small and self-contained on purpose: the model cards quote it, and it does not depend on the
library's own evaluation, so that each can be checked against the other. A folder's world is that of
the pocket model of its name; ``--world`` states it for other folders.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from PIL import Image

from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.pocket import POCKET
from lvlmsal.pocket.files.pope import POPE_SPLITS, pope_questions
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS, plural
from lvlmsal.pocket.scenes.scene import SHAPES
from lvlmsal.pocket.stickers.places import PLACES
from lvlmsal.pocket.stickers.scene import Scene as StickerScene
from lvlmsal.pocket.training.build import POCKETS
from lvlmsal.pocket.training.speaker import Speaker
from lvlmsal.pocket.training.tokenizer import words
from lvlmsal.pocket.training.worlds import SHAPES as SHAPE_WORLD
from lvlmsal.pocket.training.worlds import STICKERS, World

WORLDS: Final = MappingProxyType({world.files.kind: world for world in (SHAPE_WORLD, STICKERS)})
"""Kind of each world -> the world."""

_NAMES: Final = {form: shape for shape in SHAPES for form in (shape, plural(shape))}


def mentions(text: str) -> list[str]:
    """Every mention of a shape in a text, in order.

    Example:
        >>> mentions("Two red stars are at the top. Below the stars there is a moon.")
        ['star', 'star', 'moon']
    """
    return [_NAMES[word.lower()] for word in words(text) if word.lower() in _NAMES]


_coco = lru_cache(maxsize=1)(Vocabulary.coco)


def coco_mentions(text: str) -> list[str]:
    """Every mention of one of COCO's 80 classes in a text, in order.

    Example:
        >>> coco_mentions("A mug is to the left of two hot dogs.")
        ['cup', 'hot dog']
    """
    return [name for name, _ in _coco().objects(text)]


def score_captions(world: World, scenes: Sequence[Any], captions: Sequence[str]) -> dict[str, Any]:
    """CHAIR and recall of captions, over the shapes or over COCO's list.

    Args:
        world: The world of the scenes.
        scenes: The scenes.
        captions: A caption for each.

    Returns:
        ``chair_i`` (wrong mentions of all mentions), ``chair_s`` (captions with a wrong one),
        ``recall`` (classes named of those present, pooled), ``words`` (mean length) and
        ``never_said`` (classes of the world that no caption names).
    """
    read = coco_mentions if world is STICKERS else mentions
    wrong = named = found = present = faulty = length = 0
    ever: set[str] = set()
    for scene, text in zip(scenes, captions, strict=True):
        said = read(text)
        ever |= set(said)
        false = [name for name in said if name not in scene.present]
        wrong, named, faulty = wrong + len(false), named + len(said), faulty + bool(false)
        found += len(set(said) & set(scene.present))
        present += len(scene.present)
        length += len(words(text))
    return {
        "chair_i": wrong / max(1, named),
        "chair_s": faulty / len(scenes),
        "recall": found / present,
        "words": length / len(scenes),
        "never_said": [name for name in world.classes if name not in ever],
    }


def score_habits(
    scenes: Sequence[StickerScene], captions: Sequence[str]
) -> dict[str, float | None]:
    """How many wrong mentions are of what the place suggests.

    Args:
        scenes: Scenes of the sticker world.
        captions: A caption for each.

    Returns:
        ``wrong`` (number of wrong mentions), ``suggested`` (the share of them that the place
        suggests; None without any) and ``by_chance`` (the share to be expected of one who guesses:
        how many of the absent classes the place suggests, mean over scenes).
    """
    wrong = suggested = 0
    by_chance = 0.0
    for scene, text in zip(scenes, captions, strict=True):
        habits = PLACES[scene.place].habits
        false = [name for name in coco_mentions(text) if name not in scene.present]
        wrong += len(false)
        suggested += sum(name in habits for name in false)
        by_chance += sum(name in habits for name in scene.absent) / len(scene.absent)
    return {
        "wrong": wrong,
        "suggested": suggested / wrong if wrong else None,
        "by_chance": by_chance / len(scenes),
    }


def score_pope(
    world: World,
    speaker: Speaker,
    scenes: Sequence[Any],
    pictures: Sequence[Image.Image],
    split: str,
    seed: int,
) -> dict[str, float]:
    """Accuracy on one POPE split, share of "yes", and share of answers that are neither."""
    rows = pope_questions(world.files, list(enumerate(scenes, start=1)), split, seed)
    names = [world.files.file_name(number) for number in range(1, len(scenes) + 1)]
    by_name = dict(zip(names, pictures, strict=True))
    answers = speaker.answer(
        [by_name[row["image"]] for row in rows], [row["text"] for row in rows], max_new_tokens=4
    )
    said = [answer.strip().rstrip(".").lower() for answer in answers]
    right = sum(answer == row["label"] for answer, row in zip(said, rows, strict=True))
    return {
        "accuracy": right / len(rows),
        "yes": said.count("yes") / len(rows),
        "neither": sum(answer not in ("yes", "no") for answer in said) / len(rows),
        "n": len(rows),
    }


def score_questions(
    world: World,
    speaker: Speaker,
    scenes: Sequence[Any],
    pictures: Sequence[Image.Image],
    seed: int,
) -> dict[str, float]:
    """Share of exactly right answers by kind, to one question of each kind about each scene.

    Scenes without what a kind needs are left out of it; POPE has the kind ``exists``.
    """
    result: dict[str, float] = {}
    for kind in world.questions:
        turns = {
            index: world.ask(scene, kind, random.Random(f"open/{seed}/{kind}/{index}"))
            for index, scene in enumerate(scenes)
        }
        turns = {index: turn for index, turn in turns.items() if turn.kind == kind != "exists"}
        if not turns:
            continue
        answers = speaker.answer(
            [pictures[index] for index in turns],
            [turn.question for turn in turns.values()],
            max_new_tokens=32,
        )
        right = [said == turn.answer for said, turn in zip(answers, turns.values(), strict=True)]
        result[kind] = sum(right) / len(right)
    return result


def score(world: World, folder: Path, *, images: int, seed: int, shifted: bool) -> dict[str, Any]:
    """Measure a model on fresh scenes.

    Args:
        world: What it was trained on.
        folder: The model's transformers folder.
        images: How many scenes.
        seed: Seed of their world.
        shifted: Without the co-occurrence of the training scenes.

    Returns:
        Caption scores, POPE scores by split, and shares of right answers to other questions.
    """
    speaker = Speaker(folder)
    scenes = [
        world.files.scene_number(index, seed=seed, shifted=shifted) for index in range(images)
    ]
    pictures = [world.view(scene).image for scene in scenes]
    captions = speaker.answer(pictures, [CAPTION_PROMPTS[0]] * images)
    result: dict[str, Any] = {"images": images, "seed": seed, "shifted": shifted}
    result["captions"] = score_captions(world, scenes, captions)
    if world is STICKERS:
        result["habits"] = score_habits(scenes, captions)
    for split in POPE_SPLITS:
        result[f"pope_{split}"] = score_pope(world, speaker, scenes, pictures, split, seed)
    result["questions"] = score_questions(world, speaker, scenes, pictures, seed)
    return result


def main(arguments: list[str] | None = None) -> None:
    """Print scores as JSON, on scenes drawn as in training and on shifted ones."""
    parser = argparse.ArgumentParser(description="Measure a pocket model on fresh scenes.")
    parser.add_argument("name", help=f"one of {', '.join(sorted(POCKET))}, or a folder")
    parser.add_argument("--world", choices=sorted(WORLDS), help="what a folder was trained on")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="more are slower at these sizes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = POCKET.get(options.name, Path(options.name))
    if options.world is not None:
        world = WORLDS[options.world]
    elif folder.name in POCKETS:
        world = POCKETS[folder.name].world
    else:
        parser.error(f"{folder} has no name of a pocket model; type --world shapes or stickers")
    for shifted in (False, True):
        result = score(world, folder, images=options.images, seed=options.seed, shifted=shifted)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
