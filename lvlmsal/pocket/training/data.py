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
import torch

from lvlmsal.pocket.scenes.language import Turn
from lvlmsal.pocket.training.pocket import Pocket
from lvlmsal.pocket.training.worlds import View, World

Batch = dict[str, torch.Tensor]

_PADDING_SEGMENT: Final = 99


@dataclass(frozen=True)
class Mix:
    """What a batch is made of.

    Attributes:
        rows: Images per batch.
        habits: Share of scenes with the habits that ordinary scenes have.
        plain: Share of scenes with one or two objects only, which are plain to see.
        questions: Questions per image.
        captioned: Share of images with a caption; it stands for four of the questions, so that all
            sequences are about equally long.
        answer_weight: Weight of an answer's token; a caption's token weighs 1.
        noun_weight: Weight of an object's name in a caption.
        chained: Share of images whose turns follow on each other rather than stand alone.
        unknown: Share of questions that get some unknown words at their end.
    """

    rows: int = 24
    habits: float = 1.0
    plain: float = 0.0
    questions: int = 7
    captioned: float = 0.45
    answer_weight: float = 4.0
    noun_weight: float = 1.0
    chained: float = 0.2
    unknown: float = 0.06


class Encoder:
    """Turns scenes and dialogues into token sequences for one model.

    Args:
        pocket: The model, for its world, tokenizer, image processor and dialogue.
    """

    def __init__(self, pocket: Pocket) -> None:
        """See the class."""
        self.pocket = pocket
        self.kinds = ("caption", *pocket.world.questions)
        tokenizer = pocket.tokenizer
        others = set(range(len(tokenizer))) - set(tokenizer.all_special_ids)
        unknown = tokenizer.unk_token_id
        self.unknown = sorted(others) if unknown is None else [int(unknown)]
        self.ids = lru_cache(maxsize=20000)(self._ids)
        self.prefix = lru_cache(maxsize=16)(self._prefix)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.pocket.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def nouns(self, text: str) -> tuple[list[int], list[bool]]:
        """The tokens of a caption, and whether each is of an object's name."""
        found: Any = self.pocket.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        spans = [match.span() for match in self.pocket.world.nouns.finditer(text)]
        named = [
            any(begin < stop and start < end for start, stop in spans)
            for begin, end in found["offset_mapping"]
        ]
        return found["input_ids"], named

    def _prefix(self, width: int, height: int) -> tuple[list[int], torch.Tensor]:
        """Tokens up to the first question and their positions, (3, length) or (1, length)."""
        dialogue, grid = self.pocket.dialogue, self.pocket.grid(width, height)
        count = grid[0] * grid[1] // self.pocket.merge**2
        opening = self.ids(dialogue.opening)
        ids = opening + self.ids(dialogue.image) * count + self.ids(dialogue.after_image)
        types = [0] * len(opening) + [1] * count
        types += [0] * (len(ids) - len(types))
        return ids, self.pocket.positions(ids, types, grid)

    def row(self, view: View, segments: list[list[Turn]], mix: Mix, rng: random.Random) -> Row:
        """String segments behind the image of a scene."""
        dialogue = self.pocket.dialogue
        prefix, positions = self.prefix(*view.image.size)
        start = int(positions.max()) + 1
        row = Row(list(prefix), positions, [], [0] * len(prefix), [], [], [], [])
        for number, turns in enumerate(segments, start=1):
            offset = start
            for index, turn in enumerate(turns):
                question = self.ids((dialogue.blank if index else "") + turn.question)
                if turn.kind != "caption" and rng.random() < mix.unknown:
                    question = question + rng.choices(self.unknown, k=rng.randint(1, 6))
                head = self.ids(dialogue.before_question) if index else []
                head = head + question + self.ids(dialogue.before_answer)
                end = self.ids(dialogue.after_answer)
                answer, nouns = self.nouns(dialogue.blank + turn.answer)
                answer, nouns = answer + end, nouns + [False] * len(end)
                first = len(row.ids) + len(head)
                # the token before each answer token predicts it
                row.predict += range(first - 1, first - 1 + len(answer))
                if turn.kind == "caption":
                    row.weights += [mix.noun_weight if noun else 1.0 for noun in nouns]
                    row.nouns += nouns
                else:
                    row.weights += [mix.answer_weight] * len(answer)
                    row.nouns += [False] * len(answer)
                row.kinds += [self.kinds.index(turn.kind)] + [-1] * (len(answer) - 1)
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


def sample_scene(world: World, mix: Mix, rng: random.Random) -> Any:
    """Draw what a batch of this mix shows."""
    scene = world.files.sample(rng, shifted=rng.random() >= mix.habits)
    return world.plain(scene, rng) if rng.random() < mix.plain else scene


def sample_segments(pocket: Pocket, scene: Any, mix: Mix, rng: random.Random) -> list[list[Turn]]:
    """Make up the turns about one image: questions, at times a caption, shuffled."""
    captioned = rng.random() < mix.captioned
    count = max(1, mix.questions - 4) if captioned else mix.questions
    turns = pocket.world.turns(scene, count, captioned, rng)
    step = 3 if rng.random() < mix.chained else 1
    return [turns[start : start + step] for start in range(0, len(turns), step)]


def collate(encoder: Encoder, views: list[View], rows: list[Row]) -> Batch:
    """Pad sequences on the right and put them together.

    Args:
        encoder: The encoder that made the rows.
        views: The drawn scenes, one for each row.
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
    return {
        "input_ids": ids,
        "attention_mask": seen[:, None],
        "position_ids": positions[0] if len(positions) == 1 else positions,
        "rows": row_index,
        "columns": columns,
        "targets": ids[row_index, columns + 1],
        "weights": torch.tensor([weight for row in rows for weight in row.weights]),
        "nouns": torch.tensor([noun for row in rows for noun in row.nouns]),
        "kinds": torch.tensor([kind for row in rows for kind in row.kinds]),
        **seen_part(encoder.pocket, views),
    }


def seen_part(pocket: Pocket, views: list[View]) -> Batch:
    """Images and patch labels of a batch."""
    return {
        "patches": torch.from_numpy(np.concatenate([pocket.labels(view) for view in views])),
        **pocket.pixels([view.image for view in views]),
    }
