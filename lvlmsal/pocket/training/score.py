"""Measures a model on fresh scenes: ``python -m lvlmsal.pocket.training.score pocket-llava``.

Small and self-contained on purpose: the model cards quote it, and it does not depend on the
library's own evaluation, so that each can be checked against the other.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from lvlmsal.pocket import POCKET
from lvlmsal.pocket.scenes.absent import POPE_SPLITS
from lvlmsal.pocket.scenes.draw import draw
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS, QuestionKind, ask, plural
from lvlmsal.pocket.scenes.scene import SHAPES, Scene
from lvlmsal.pocket.scenes.world import file_name, pope_questions, scene_number
from lvlmsal.pocket.training.tokenizer import words

_LOADERS: Final[tuple[Any, Any, Any]] = (
    AutoModelForImageTextToText,
    AutoTokenizer,
    AutoImageProcessor,
)
_OPEN: Final[tuple[QuestionKind, ...]] = ("where", "count", "color")
_NAMES: Final = {form: shape for shape in SHAPES for form in (shape, plural(shape))}


def mentions(text: str) -> list[str]:
    """Every mention of an object in a text, in order.

    Example:
        >>> mentions("Two red stars are at the top. Below the stars there is a moon.")
        ['star', 'star', 'moon']
    """
    return [_NAMES[word.lower()] for word in words(text) if word.lower() in _NAMES]


class Speaker:
    """A loaded pocket model that answers questions about images, greedily and in batches.

    Args:
        folder: A transformers folder of either pocket model.
    """

    def __init__(self, folder: Path) -> None:
        """See the class."""
        # transformers leaves these calls untyped
        load_model, load_tokenizer, load_images = _LOADERS
        self.model: Any = load_model.from_pretrained(folder).eval()
        self.tokenizer: Any = load_tokenizer.from_pretrained(folder)
        self.image_processor: Any = load_images.from_pretrained(folder)
        self.image_id = int(self.model.config.image_token_id)
        self.image = self.tokenizer.convert_ids_to_tokens(self.image_id)
        self.marks = ("", "")
        if self.model.config.model_type == "idefics3":
            self.marks = ("<fake_token_around_image><global-img>", "<fake_token_around_image>")

    @property
    def tokens_per_image(self) -> int:
        """Image tokens where every image has as many."""
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size
        return int((side // getattr(self.model.config, "scale_factor", 1)) ** 2)

    @torch.no_grad()
    def answer(
        self,
        images: Sequence[Image.Image],
        questions: Sequence[str],
        *,
        batch: int = 64,
        **options: Any,
    ) -> list[str]:
        """Answer one question about each image.

        Args:
            images: The images.
            questions: As many questions.
            batch: How many go through the model together.
            options: Passed on to ``generate``.

        Returns:
            The answers, as text.
        """
        answers: list[str] = []
        for start in range(0, len(images), batch):
            part = list(images[start : start + batch])
            pixels = self.image_processor([[image] for image in part], return_tensors="pt")
            if "image_grid_thw" in pixels:
                counts = (pixels["image_grid_thw"].prod(dim=1) // 4).tolist()
            else:
                counts = [self.tokens_per_image] * len(part)
            prompts = []
            for question, count in zip(questions[start : start + batch], counts, strict=True):
                content = [{"type": "image"}, {"type": "text", "text": question}]
                prompt = self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": content}],
                    tokenize=False,
                    add_generation_prompt=True,
                )
                run = (self.image * count).join(self.marks)
                prompts.append(prompt.replace(self.image, run))
            text = self.tokenizer(prompts, return_tensors="pt", padding=True)
            inputs = {"input_ids": text["input_ids"], "attention_mask": text["attention_mask"]}
            if "image_grid_thw" in pixels:
                inputs["mm_token_type_ids"] = (inputs["input_ids"] == self.image_id).int()
            output = self.model.generate(**inputs, **pixels, **options)
            new = output[:, inputs["input_ids"].shape[1] :]
            texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
            answers += [text.strip() for text in texts]
        return answers


def score_captions(scenes: Sequence[Scene], captions: Sequence[str]) -> dict[str, float]:
    """CHAIR and recall of captions.

    Args:
        scenes: The scenes.
        captions: A caption for each.

    Returns:
        ``chair_i`` (wrong mentions of all mentions), ``chair_s`` (captions with a wrong one),
        ``recall`` (shapes named of those present, pooled), ``words`` (mean length).
    """
    wrong = named = found = present = faulty = length = 0
    for scene, text in zip(scenes, captions, strict=True):
        said = mentions(text)
        false = [shape for shape in said if shape not in scene.present]
        wrong, named, faulty = wrong + len(false), named + len(said), faulty + bool(false)
        found += len(set(said) & set(scene.present))
        present += len(scene.present)
        length += len(words(text))
    return {
        "chair_i": wrong / max(1, named),
        "chair_s": faulty / len(scenes),
        "recall": found / present,
        "words": length / len(scenes),
    }


def score_pope(
    speaker: Speaker, scenes: Sequence[Scene], split: str, seed: int
) -> dict[str, float]:
    """Accuracy on one POPE split, share of "yes", and share of answers that are neither."""
    numbered = list(enumerate(scenes, start=1))
    rows = pope_questions(numbered, split, seed)
    pictures = {file_name(number): Image.fromarray(draw(scene)) for number, scene in numbered}
    answers = speaker.answer(
        [pictures[row["image"]] for row in rows], [row["text"] for row in rows], max_new_tokens=4
    )
    said = [answer.strip().rstrip(".").lower() for answer in answers]
    right = sum(answer == row["label"] for answer, row in zip(said, rows, strict=True))
    return {
        "accuracy": right / len(rows),
        "yes": said.count("yes") / len(rows),
        "neither": sum(answer not in ("yes", "no") for answer in said) / len(rows),
        "n": len(rows),
    }


def score_open(speaker: Speaker, scenes: Sequence[Scene], seed: int) -> dict[str, float]:
    """Share of exactly right answers to one question of each open kind about each scene."""
    pictures = [Image.fromarray(draw(scene)) for scene in scenes]
    result: dict[str, float] = {}
    for kind in _OPEN:
        turns = [
            ask(scene, kind, random.Random(f"open/{seed}/{kind}/{index}"))
            for index, scene in enumerate(scenes)
        ]
        answers = speaker.answer(pictures, [turn.question for turn in turns], max_new_tokens=16)
        right = sum(answer == turn.answer for answer, turn in zip(answers, turns, strict=True))
        result[kind] = right / len(turns)
    return result


def score(folder: Path, *, images: int, seed: int, shifted: bool) -> dict[str, Any]:
    """Measure a model on fresh scenes.

    Args:
        folder: The model's transformers folder.
        images: How many scenes.
        seed: Seed of their world.
        shifted: Without the co-occurrence of the training scenes.

    Returns:
        Caption scores, POPE scores by split, and shares of right answers to open questions.
    """
    speaker = Speaker(folder)
    scenes = [scene_number(index, seed=seed, shifted=shifted) for index in range(images)]
    pictures = [Image.fromarray(draw(scene)) for scene in scenes]
    captions = speaker.answer(pictures, [CAPTION_PROMPTS[0]] * images)
    result: dict[str, Any] = {"images": images, "seed": seed, "shifted": shifted}
    result["captions"] = score_captions(scenes, captions)
    for split in POPE_SPLITS:
        result[f"pope_{split}"] = score_pope(speaker, scenes, split, seed)
    result["open"] = score_open(speaker, scenes, seed)
    return result


def main(arguments: list[str] | None = None) -> None:
    """Print scores as JSON, on scenes drawn as in training and on shifted ones."""
    parser = argparse.ArgumentParser(description="Measure a pocket model on fresh scenes.")
    parser.add_argument("name", help=f"one of {', '.join(sorted(POCKET))}, or a folder")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="more are slower at these sizes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = POCKET.get(options.name, Path(options.name))
    for shifted in (False, True):
        result = score(folder, images=options.images, seed=options.seed, shifted=shifted)
        print(json.dumps(result))


if __name__ == "__main__":
    main()
