"""What may stand in place of the last token of a judged word, and which of it fits the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from torch import FloatTensor, LongTensor, Tensor
from transformers import LogitsProcessorList

from lvlmsal.adapters import ModelAdapter
from lvlmsal.decoders.halc.contrast import contrasts
from lvlmsal.decoders.halc.crops import crop_boxes, place_of
from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.decoders.halc.rows import Option, Row, no_token
from lvlmsal.decoders.halc.views import Views
from lvlmsal.detection.vocabulary import JudgedWords
from lvlmsal.evidence.base import Box, Detector, TextScorer

if TYPE_CHECKING:
    from lvlmsal.decoders.halc.decoder import HALC


@dataclass(frozen=True)
class Candidates:
    """Tokens in place of others, and their order.

    Attributes:
        halc: the decoder.
        adapter: of the model.
        words: that are judged.
        detector: finds them.
        scorer: says how well a text fits.
        views: of the batch.
        processor: of the logits.
    """

    halc: HALC
    adapter: ModelAdapter
    words: JudgedWords
    detector: Detector
    scorer: TextScorer
    views: Views
    processor: LogitsProcessorList

    def of(self, number: int, row: Row, ids: Tensor) -> list[Option]:
        """What the crops say in place of the last token of a row; nothing where it is skipped.

        A contrast of which the logits processors ban all tokens has none to offer.

        Args:
            number: of the row.
            row: itself, whose last token ends a judged word.
            ids: of all rows, prompt and answer before that column, shape (rows, L).

        Raises:
            UnsupportedError: logits are not finite.
        """
        place = self._place(row)
        if place is None:
            return []
        image, box = place
        halc, answer = self.halc, row.answer[:-1]
        crops = crop_boxes(box, halc.expand, halc.views)
        logits = self.views.logits(row.sample, image, crops, answer)
        found = contrasts(logits, halc.pairs, halc.weight, halc.plausibility, halc.divergence)
        tokens = []
        for contrast in found:
            # among all rows and in its place, since processors may go by the number of a row
            every = cast(FloatTensor, contrast.repeat(len(ids), 1))
            scores = self.processor(cast(LongTensor, ids), every)[number]
            best = float(scores.max())
            if math.isnan(best) or best == math.inf:
                raise no_token(self.views.names[row.sample])
            if best > -math.inf:
                tokens.append(int(scores.argmax()))
        return [
            Option(number, token, self.text([*answer, token]), box)
            for token in dict.fromkeys(tokens)
        ]

    def _place(self, row: Row) -> tuple[int, Box] | None:
        """Where the word of a row is: the number of the image, and its box."""
        word = row.found.name
        if self.halc.ask_for == "word":
            word = self.text(row.found.writing.tokens).strip().lower()
            singular = word.removesuffix("s")
            if self.words.vocabulary.synonyms.get(singular):  # "dog" for "dogs", but no "bu"
                word = singular
        pictures = self.views.pictures[row.sample]
        boxes = [
            (image, box)
            for image, picture in enumerate(pictures)
            for box in self.detector.boxes(picture, word)
        ]
        return place_of(boxes, self.halc.max_boxes)

    def ranked(
        self, sample: int, options: Sequence[Option]
    ) -> tuple[list[Option], dict[str, float]]:
        """Options of different texts, those first that fit the images best; scores by text.

        A lone text has no score.
        """
        distinct: dict[str, Option] = {}
        for option in options:
            distinct.setdefault(option.text, option)
        values = self._scores(sample, list(distinct)) if len(distinct) > 1 else {}
        return sorted(distinct.values(), key=lambda each: -values.get(each.text, 0.0)), values

    def _scores(self, sample: int, texts: Sequence[str]) -> dict[str, float]:
        """How well texts fit a sample's images, on average."""
        pictures = self.views.pictures[sample]
        each = [self.scorer.scores(picture, texts) for picture in pictures]
        means = [sum(of_text) / len(pictures) for of_text in zip(*each, strict=True)]
        return dict(zip(texts, means, strict=True))

    def record(
        self,
        option: Option,
        before: HalcRecord,
        options: Sequence[Option],
        values: Mapping[str, float],
    ) -> HalcRecord:
        """Of a token that was tried next to others.

        Args:
            option: that stays.
            before: of the token that stood there.
            options: all of the sample.
            values: their scores by text.
        """
        assert option.box is not None
        mine = [other for other in options if other.parent == option.parent]
        others = [other for other in mine if other.token != option.token]
        return HalcRecord(
            option.token,
            tries=len(mine),
            rejected=[{"id": each.token, "score": values.get(each.text)} for each in others],
            score=values.get(option.text),
            box=list(option.box[:4]),
            replaced=None if before.id == option.token else self.text([before.id]),
        )

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say."""
        return self.adapter.decode(list(tokens))
