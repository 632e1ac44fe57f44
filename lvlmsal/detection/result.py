"""Which words of one answer are probably wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from lvlmsal.detection.judge import Judge
from lvlmsal.detection.words import Aggregate, sentences
from lvlmsal.errors import UnsupportedError
from lvlmsal.escaping import shortened
from lvlmsal.frames import data_frame

if TYPE_CHECKING:
    import pandas as pd

SHARE: Final = 0.08
"""Share of a model's own mentions that is flagged where nothing else is asked for."""

ALARMS: Final = 0.05
"""Share of right mentions that is flagged by a detector fitted on labels, likewise."""

HALF: Final = 0.5
"""Threshold of risks that are neither scaled nor fitted."""


@dataclass(frozen=True)
class JudgedWord:
    """A word of an answer with its risk.

    Attributes:
        start: index of its first character in the text.
        end: index behind its last one.
        text: the word.
        name: of the object, as the vocabulary calls it.
        tokens: index of its first token, and the one behind its last.
        risk: from 0 to 1, larger where the word is probably wrong; None where the detector cannot
            tell.
        flagged: whether it is at or above the threshold.
        reasons: what the risk is made of, by name; larger speaks for a wrong word. In standard
            deviations of the model's own mentions where the detector is scaled.
    """

    start: int
    end: int
    text: str
    name: str
    tokens: tuple[int, int]
    risk: float | None
    flagged: bool = False
    reasons: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Detection:
    """Words of an answer and their risks.

    Attributes:
        prompt: the question.
        text: the answer.
        own: whether the model gave this answer itself; one that was handed over may hold words that
            it would never have said, which are easy to find.
        token_ids: of the answer.
        tokens: their texts.
        words: those that were judged, in order.
        detector: name of the detector.
        options: its options.
        scaled: whether risks are shares of the model's own mentions that score lower.
        calibrated: whether they are chances of being wrong, fitted on labeled answers of the model.
        aggregate: how the risk of a word follows from those of its tokens.
        threshold: from which risk on words are flagged.
        note: what should be known of the risks; empty where there is nothing.
        thresholds: of a detector fitted on labels, by ``"false_positive_rate"`` and
            ``"precision"`` and the wanted share.
        images: what the model saw, for views.
    """

    prompt: str
    text: str
    own: bool
    token_ids: list[int]
    tokens: list[str]
    words: list[JudgedWord]
    detector: str
    options: dict[str, Any]
    scaled: bool
    calibrated: bool
    aggregate: Aggregate
    threshold: float
    note: str = ""
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    images: Sequence[Image.Image] = ()

    @property
    def risks(self) -> list[float | None]:
        """The risk of each token: that of the word that it is part of, None outside of words."""
        found: list[float | None] = [None] * len(self.tokens)
        for word in self.words:
            for at in range(*word.tokens):
                found[at] = word.risk
        return found

    def flag(
        self,
        *,
        threshold: float | None = None,
        share: float | None = None,
        false_positive_rate: float | None = None,
        precision: float | None = None,
    ) -> Detection:
        """The same with other words flagged; give one of the four.

        Args:
            threshold: words of this risk and above it are flagged; at 1 none is.
            share: flag what lies among this share of the model's own mentions, those of highest
                score; only of scaled risks, where it is a threshold of ``1 - share``.
            false_positive_rate: flag as many words as flagged this share of the right mentions of
                labeled answers; only of a detector fitted on them.
            precision: flag as many words that, among labeled answers, this share of what was
                flagged was wrong; likewise.

        Raises:
            ValueError: none or several are given, or one that is not from 0 to 1.
            UnsupportedError: it is not known for this detector.

        >>> found = Detection("", "", True, [], [], [], "entropy", {}, True, False, "first", 0.5)
        >>> found.flag(share=0.1)
        Detection('', 0 of 0 judged words flagged at 0.9 by entropy)
        """
        asked = {
            "threshold": threshold,
            "share": share,
            "false_positive_rate": false_positive_rate,
            "precision": precision,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        if len(given) != 1 or not all(0 <= value <= 1 for value in given.values()):
            raise ValueError(f"give one of {', '.join(asked)}, from 0 to 1: got {given}")
        ((name, value),) = given.items()
        bound = value if name == "threshold" else self._bound(name, value)
        words = [
            replace(word, flagged=word.risk is not None and word.risk >= bound)
            for word in self.words
        ]
        return replace(self, words=words, threshold=bound)

    def _bound(self, name: str, value: float) -> float:
        """The threshold that something else stands for."""
        if name == "share":
            if not self.scaled:
                raise UnsupportedError(
                    f"a share of the model's own mentions is known only where {self.detector} is "
                    "scaled on them: type  lvlmsal fit, or give a threshold"
                )
            return 1 - value
        if not self.calibrated:
            raise UnsupportedError(
                f"{name} is known only of a detector that was fitted on labels, and "
                f"{self.detector} was not: type  lvlmsal fit CONFIG --labels, or give a threshold"
            )
        known = self.thresholds[name]
        if str(value) not in known:
            raise UnsupportedError(
                f"{name}={value} has no threshold: choose one of {', '.join(known) or 'none'}"
            )
        return known[str(value)]

    def redacted(self, mark: str = "[?]") -> str:
        """The text with a mark in place of each flagged word."""
        pieces, at = [], 0
        for word in self.words:
            if word.flagged:
                pieces += [self.text[at : word.start], mark]
                at = word.end
        return "".join([*pieces, self.text[at:]])

    def kept(self) -> str:
        """The sentences that hold no flagged word."""
        flagged = [word.start for word in self.words if word.flagged]
        return "".join(
            self.text[start:end]
            for start, end in sentences(self.text)
            if not any(start <= at < end for at in flagged)
        ).strip()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; without the images."""
        tokens = [
            {"text": text, "risk": risk} for text, risk in zip(self.tokens, self.risks, strict=True)
        ]
        return {
            "prompt": self.prompt,
            "text": self.text,
            "own": self.own,
            "detector": {"name": self.detector, **self.options},
            "scaled": self.scaled,
            "calibrated": self.calibrated,
            "aggregate": self.aggregate,
            "threshold": self.threshold,
            "note": self.note,
            "words": [
                {**asdict(word), "tokens": list(word.tokens), "reasons": dict(word.reasons)}
                for word in self.words
            ],
            "tokens": tokens,
        }

    def to_pandas(self) -> pd.DataFrame:
        """A frame with a row for each judged word. Needs the ``pandas`` extra.

        Columns: ``start``, ``end``, ``text``, ``name``, ``risk``, ``flagged``, and one for each of
        the reasons.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        names = list(dict.fromkeys(name for word in self.words for name in word.reasons))
        types = {"start": "int64", "end": "int64", "text": "object", "name": "object"}
        types |= {"risk": "float64", "flagged": "bool"} | dict.fromkeys(names, "float64")
        return data_frame([{**asdict(word), **word.reasons} for word in self.words], types)

    def html(self) -> str:
        """The answer with its judged words colored by risk, as HTML that stands on its own."""
        from lvlmsal.detection.html import detection_html

        return detection_html(self)

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        count = sum(word.flagged for word in self.words)
        return (
            f"Detection({shortened(self.text)!r}, {count} of {len(self.words)} judged words "
            f"flagged at {self.threshold:.3g} by {self.detector})"
        )


def usual_threshold(judge: Judge) -> float:
    """From which risk on words are flagged where nothing else is asked for."""
    if judge.regression is not None:
        return judge.regression.false_alarms[str(ALARMS)]
    return HALF if judge.scaling is None else 1 - SHARE
