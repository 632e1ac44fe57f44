"""Training batches: fresh scenes, many turns about each image in one sequence.

A sequence is the image, then several *segments* that all see the image but not each other, with
positions that start again behind the image. A segment is a turn, or a few that follow on. So one
pass over the image serves several single-turn samples, each exactly as it is at evaluation, and no
question can be answered by reading it off the caption next to it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lvlmsal.pocket.scenes.draw import draw, shape_mask
from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS, QuestionKind, Turn, ask, caption, plural
from lvlmsal.pocket.scenes.scene import COLORS, SHAPES, Scene
from lvlmsal.pocket.training.build import PATCH, Pocket, token_id

Batch = dict[str, torch.Tensor]

KINDS: Final = ("caption", "exists", "where", "count", "color", "attribute", "total")
_QUESTIONS: Final[tuple[tuple[QuestionKind, ...], tuple[float, ...]]] = (
    ("exists", "where", "count", "color", "attribute", "total"),
    (0.52, 0.18, 0.1, 0.1, 0.05, 0.05),
)
_PADDING_SEGMENT: Final = 99
_LEAST_PIXELS: Final = 4
"""A patch is labeled with the object that covers most of it, from this many pixels on."""


@dataclass(frozen=True)
class Mix:
    """What a batch is made of.

    Attributes:
        rows: Images per batch.
        questions: Questions per image.
        captioned: Share of images with a caption; it stands for four of the questions, so that all
            sequences are about equally long.
        answer_weight: Weight of an answer's token; a caption's token weighs 1.
        noun_weight: Weight of an object's name in a caption.
        chained: Share of images whose turns follow on each other rather than stand alone.
        unknown: Share of questions that get some unknown words at their end.
    """

    rows: int = 24
    questions: int = 7
    captioned: float = 0.45
    answer_weight: float = 4.0
    noun_weight: float = 1.0
    chained: float = 0.2
    unknown: float = 0.06


def patch_labels(scene: Scene, side: int | None) -> npt.NDArray[np.int64]:
    """Which object covers each patch.

    Args:
        scene: The scene.
        side: Side of the square that the image is scaled to, pixels; None if it is not scaled.

    Returns:
        ``(rows, columns, 2)`` array of shape and color indices from 1, or 0 for background.
    """
    owner = np.zeros((scene.height, scene.width), dtype=np.uint8)
    for index, thing in enumerate(scene.things, start=1):
        window = owner[thing.top : thing.top + thing.size, thing.left : thing.left + thing.size]
        window[shape_mask(thing.shape, thing.size) > 0.4] = index
    if side is not None:
        owner = np.asarray(Image.fromarray(owner).resize((side, side), Image.Resampling.NEAREST))
    rows, columns = owner.shape[0] // PATCH, owner.shape[1] // PATCH
    blocks = owner.reshape(rows, PATCH, columns, PATCH)
    cover = np.stack(
        [(blocks == index).sum(axis=(1, 3)) for index in range(1, len(scene.things) + 1)]
    )
    table = np.array(
        [(0, 0)]
        + [(1 + SHAPES.index(t.shape), 1 + list(COLORS).index(t.color)) for t in scene.things]
    )
    winner = np.where(cover.max(axis=0) >= _LEAST_PIXELS, cover.argmax(axis=0) + 1, 0)
    labels: npt.NDArray[np.int64] = table[winner]
    return labels


class Encoder:
    """Turns scenes and dialogues into token sequences for one model.

    Args:
        pocket: The model, for its tokenizer, image processor and dialogue.
    """

    def __init__(self, pocket: Pocket) -> None:
        """See the class."""
        self.pocket = pocket
        self.is_llava = pocket.name == "pocket-llava"
        self.unknown = token_id(pocket.tokenizer, "<unk>")
        names = [name for shape in SHAPES for name in (shape, plural(shape))]
        self.nouns = {token_id(pocket.tokenizer, name) for name in names}
        self.ids = lru_cache(maxsize=20000)(self._ids)
        self.prefix = lru_cache(maxsize=16)(self._prefix)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.pocket.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _prefix(self, width: int, height: int) -> tuple[list[int], torch.Tensor]:
        """Tokens up to the first question and their positions, (3, length) or (1, length)."""
        dialogue = self.pocket.dialogue
        side = (64, 64) if self.is_llava else (height // 2, width // 2)
        count = (side[0] // PATCH) * (side[1] // PATCH)
        opening = self.ids(dialogue.opening)
        image = self.ids(dialogue.image) * count
        ids = opening + image + self.ids(dialogue.after_image)
        if self.is_llava:
            return ids, torch.arange(len(ids))[None]
        types = [0] * len(opening) + [1] * count
        types += [0] * (len(ids) - len(types))
        core: Any = self.pocket.model.model
        positions, _ = core.get_rope_index(
            torch.tensor([ids]),
            mm_token_type_ids=torch.tensor([types], dtype=torch.int32),
            image_grid_thw=torch.tensor([[1, height // PATCH, width // PATCH]]),
        )
        return ids, positions[:, 0]

    def pixels(self, images: list[Image.Image]) -> Batch:
        """What the model's vision part takes, made by the model's own image processor."""
        return dict(self.pocket.image_processor(images, return_tensors="pt"))

    def labels(self, scene: Scene) -> npt.NDArray[np.int64]:
        """Shape and color index of each patch in the model's patch order, (patches, 2)."""
        if self.is_llava:
            return patch_labels(scene, 64).reshape(-1, 2)
        grid = patch_labels(scene, None)
        rows, columns = grid.shape[0] // 2, grid.shape[1] // 2
        merged = grid.reshape(rows, 2, columns, 2, 2).transpose(0, 2, 1, 3, 4)
        return merged.reshape(-1, 2)

    def row(self, scene: Scene, segments: list[list[Turn]], mix: Mix, rng: random.Random) -> Row:
        """String segments behind the image of a scene."""
        dialogue = self.pocket.dialogue
        prefix, positions = self.prefix(scene.width, scene.height)
        start = int(positions.max()) + 1
        row = Row(list(prefix), positions, [], [0] * len(prefix), [], [], [], [])
        for number, turns in enumerate(segments, start=1):
            offset = start
            for index, turn in enumerate(turns):
                question = self.ids(turn.question)
                if turn.kind != "caption" and rng.random() < mix.unknown:
                    question = question + [self.unknown] * rng.randint(1, 6)
                head = self.ids(dialogue.before_question) if index else []
                head = head + question + self.ids(dialogue.before_answer)
                answer = self.ids(turn.answer) + self.ids(dialogue.after_answer)
                first = len(row.ids) + len(head)
                # the token before each answer token predicts it
                row.predict += range(first - 1, first - 1 + len(answer))
                if turn.kind == "caption":
                    nouns = [token in self.nouns for token in answer]
                    row.weights += [mix.noun_weight if noun else 1.0 for noun in nouns]
                    row.nouns += nouns
                else:
                    row.weights += [mix.answer_weight] * len(answer)
                    row.nouns += [False] * len(answer)
                row.kinds += [KINDS.index(turn.kind)] + [-1] * (len(answer) - 1)
                row.ids += head + answer
                length = len(head) + len(answer)
                row.segments += [number] * length
                row.offsets += range(offset, offset + length)
                offset += length
        return row


@dataclass
class Row:
    """One sequence.

    Attributes:
        ids: Its tokens.
        positions: Positions of the prefix, (1 or 3, length of the prefix).
        offsets: Positions of the tokens behind the prefix.
        segments: Segment of each token; 0 is the prefix.
        predict: Indices of the tokens that predict an answer's token.
        weights: Weight of each of those.
        nouns: Whether each of those is to say an object's name in a caption.
        kinds: Kind of the turn, as an index, where an answer starts; else -1.
    """

    ids: list[int]
    positions: torch.Tensor
    offsets: list[int]
    segments: list[int]
    predict: list[int]
    weights: list[float]
    nouns: list[bool]
    kinds: list[int]


def sample_segments(scene: Scene, mix: Mix, rng: random.Random) -> list[list[Turn]]:
    """Make up the turns about one image: questions, at times a caption, shuffled."""
    kinds, weights = _QUESTIONS
    turns, count = [], mix.questions
    if rng.random() < mix.captioned:
        prompt = rng.choices(CAPTION_PROMPTS, (0.5, 0.25, 0.25))[0]
        turns.append(Turn(prompt, caption(scene, rng), "caption"))
        count = max(1, count - 4)
    turns += [ask(scene, kind, rng) for kind in rng.choices(kinds, weights, k=count)]
    rng.shuffle(turns)
    step = 3 if rng.random() < mix.chained else 1
    return [turns[start : start + step] for start in range(0, len(turns), step)]


def collate(encoder: Encoder, scenes: list[Scene], rows: list[Row]) -> Batch:
    """Pad sequences on the right and put them together.

    Args:
        encoder: The encoder that made the rows.
        scenes: The scenes, one for each row.
        rows: The sequences.

    Returns:
        ``input_ids`` (B, S); ``attention_mask`` (B, 1, S, S), true where seen; ``position_ids``
        (B, S) or (3, B, S); ``rows``, ``columns``, ``targets``, ``weights``, ``nouns`` and
        ``kinds`` (N), the places that predict answer tokens; ``patches`` (P, 2), the labels of all
        vision patches; and what the vision part takes.
    """
    size, length = len(rows), max(len(row.ids) for row in rows)
    pad = int(encoder.pocket.tokenizer.pad_token_id)
    ids = torch.full((size, length), pad)
    segments = torch.full((size, length), _PADDING_SEGMENT)
    positions = torch.zeros((rows[0].positions.shape[0], size, length), dtype=torch.long)
    for index, row in enumerate(rows):
        end, split = len(row.ids), row.positions.shape[1]
        ids[index, :end] = torch.tensor(row.ids)
        segments[index, :end] = torch.tensor(row.segments)
        positions[:, index, :split] = row.positions
        positions[:, index, split:end] = torch.tensor(row.offsets)
    row_index = torch.tensor([index for index, row in enumerate(rows) for _ in row.predict])
    columns = torch.tensor([place for row in rows for place in row.predict])
    seen = (segments[:, None, :] == segments[:, :, None]) | (segments[:, None, :] == 0)
    seen &= torch.ones(length, length, dtype=torch.bool).tril()
    images = [Image.fromarray(draw(scene)) for scene in scenes]
    return {
        "input_ids": ids,
        "attention_mask": seen[:, None],
        "position_ids": positions[0] if encoder.is_llava else positions,
        "rows": row_index,
        "columns": columns,
        "targets": ids[row_index, columns + 1],
        "weights": torch.tensor([weight for row in rows for weight in row.weights]),
        "nouns": torch.tensor([noun for row in rows for noun in row.nouns]),
        "kinds": torch.tensor([kind for row in rows for kind in row.kinds]),
        "patches": torch.from_numpy(np.concatenate([encoder.labels(scene) for scene in scenes])),
        **encoder.pixels(images),
    }
