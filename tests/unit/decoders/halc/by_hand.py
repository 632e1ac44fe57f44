"""HALC by hand: one sample, the whole sequence run again for each token and each crop."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import kl_div

from lvlmsal.adapters import ModelAdapter
from lvlmsal.detection.vocabulary import Writing
from lvlmsal.evidence.base import Box
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.pictures import digest_of
from tests import reference
from tests.unit.decoders.guided.by_hand import ENDS, NumberedWords


class Words(NumberedWords):
    """They go on with an end of one, and else are over; no letters are listed."""

    vocabulary = Vocabulary((), {}, "none", "")

    def ends(self, writing: Writing, token: int) -> bool:
        return token not in ENDS


class Eye:
    """Finds a word nowhere, or up to four times, as its letters and the image say."""

    def boxes(self, image: Image.Image, word: str) -> list[Box]:
        source = random.Random(f"{digest_of(image)} {word}")
        found = []
        for _ in range(source.randrange(5)):
            left, top = source.uniform(0, 0.7), source.uniform(0, 0.7)
            right, bottom = source.uniform(left + 0.1, 1), source.uniform(top + 0.1, 1)
            found.append(Box(left, top, right, bottom))
        return found


class Ear:
    """Likes one text of an image better than another."""

    def scores(self, image: Image.Image, texts: Sequence[str]) -> list[float]:
        return [random.Random(f"{digest_of(image)} {text}").random() for text in texts]


@dataclass
class Log:
    """How often what happened."""

    seen: Counter[str] = field(default_factory=Counter)


def widened(box: Sequence[float], share: float) -> list[float]:
    left, top, right, bottom = box
    x, y = (right - left) * share / 2, (bottom - top) * share / 2
    return [max(0.0, left - x), max(0.0, top - y), min(1.0, right + x), min(1.0, bottom + y)]


def part(image: Image.Image, box: Sequence[float]) -> Image.Image:
    edges = [
        round(share * side)
        for share, side in zip(box, (image.width, image.height) * 2, strict=True)
    ]
    assert edges[0] < edges[2]
    assert edges[1] < edges[3]
    return image.crop(tuple(edges))


def apart(one: Tensor, other: Tensor, how: str) -> float:
    p, q = one.softmax(-1), other.softmax(-1)
    mean = (p + q) / 2
    if how == "js":
        return float(sum(kl_div(mean.log(), each, reduction="sum") for each in (p, q)) / 2)
    return float(sum(kl_div(each.log(), mean, reduction="sum") for each in (p, q)) / 2)


@dataclass
class Said:
    """One sequence, and the places whose tokens are not decided any more."""

    answer: list[int] = field(default_factory=list)
    decided: set[int] = field(default_factory=set)


@dataclass
class Hand:
    """One question.

    Attributes:
        edit: added to the logits of greedy steps, and of nothing else.
    """

    adapter: ModelAdapter
    images: Sequence[Image.Image]
    question: str
    banned: Sequence[int]
    log: Log
    edit: Tensor | float = 0.0
    pairs: int = 2
    weight: float = 0.05
    expand: float = 0.6
    max_boxes: int = 3
    plausibility: float = 0.0
    divergence: str = "code"
    ask_for: str = "word"

    @torch.no_grad()
    def after(self, pictures: Sequence[Image.Image], said: Sequence[int]) -> Tensor:
        inputs = self.adapter.encode([list(pictures)], [self.question])
        logits: Tensor = self.adapter.model(**reference.longer(inputs, said)).logits
        return logits[0, -1]

    def next(self, said: Sequence[int]) -> int:
        scores = self.after(self.images, said) + self.edit
        scores[list(self.banned)] = -math.inf
        return int(scores.argmax())

    def is_due(self, said: Said, token: int) -> bool:
        if not self.images or not said.answer or len(said.answer) - 1 in said.decided:
            return False
        found = Words().read(said.answer)[-1]
        return bool(found.name) and Words().ends(found.writing, token)

    def candidates(self, answer: Sequence[int]) -> list[int]:
        """For the last token; none where the word is skipped."""
        found = Words().read(answer)[-1]
        word = found.name
        if self.ask_for == "word":
            word = self.adapter.decode(list(found.writing.tokens)).strip().lower()
        boxes = [(i, b) for i, image in enumerate(self.images) for b in Eye().boxes(image, word)]
        if len(boxes) > self.max_boxes:
            self.log.seen["skipped"] += 1
            return []
        self.log.seen["boxes" if boxes else "center"] += 1
        place, middle = 0, [0.2, 0.2, 0.8, 0.8]
        if boxes:
            place, smallest = min(boxes, key=lambda each: each[1].area)
            middle = list(smallest[:4])
        self.log.seen["second image"] += place
        crops = [widened(middle, -self.expand), middle, widened(middle, self.expand)]
        crops.append(widened(crops[-1], self.expand))
        logits = []
        for crop in crops:
            seen = list(self.images)
            seen[place] = part(seen[place], crop)
            logits.append(self.after(seen, answer[:-1]))
        known = list(itertools.combinations(range(4), 2))
        far = {(i, j): apart(logits[i], logits[j], self.divergence) for i, j in known}
        found_tokens = []
        for one, other in sorted(known, key=lambda pair: -far[pair])[: self.pairs]:
            for first, second in ((other, one), (one, other)):
                contrast = logits[first] - self.weight * logits[second]
                contrast[list(self.banned)] = -math.inf
                if self.plausibility:
                    share = logits[first].softmax(-1)
                    contrast[share < self.plausibility * share.max()] = -math.inf
                found_tokens.append(int(contrast.argmax()))
        return list(dict.fromkeys(found_tokens))

    def value(self, answer: Sequence[int]) -> float:
        text = self.adapter.decode(list(answer))
        return sum(Ear().scores(image, [text])[0] for image in self.images)

    def written(self, steps: int, beams: int = 1) -> list[int]:
        """The answer, of so many tokens."""
        sequences = [Said() for _ in range(beams)]
        while len(sequences[0].answer) < steps:
            tokens = [self.next(each.answer) for each in sequences]
            pool, looked_at = list[Said](), False
            for each, token in zip(sequences, tokens, strict=True):
                tried = self.candidates(each.answer) if self.is_due(each, token) else []
                here = len(each.answer) - 1
                for one in tried:
                    self.log.seen["kept" if one == each.answer[-1] else "others"] += 1
                    pool.append(Said([*each.answer[:-1], one], each.decided | {here}))
                pool += [] if tried else [each]
                looked_at |= bool(tried)
            if looked_at:
                texts = {self.adapter.decode(each.answer): each for each in reversed(pool)}
                best = sorted(texts.values(), key=lambda each: -self.value(each.answer))
                best = [*best, *[best[0]] * beams][:beams]
                before, sequences = [each.answer for each in sequences], best
                self.log.seen["replaced"] += before != [each.answer for each in best]
                continue
            pairs = zip(sequences, tokens, strict=True)
            sequences = [Said([*each.answer, token], each.decided) for each, token in pairs]
        return max(sequences, key=lambda each: self.value(each.answer)).answer
