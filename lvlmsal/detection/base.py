"""What a detector is: a number for each token, larger where the token is probably wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lvlmsal.attention.layers import LayerSpec
from lvlmsal.detection.columns import Columns, Need

Row = Literal["predicting", "own", "prefill", "asked"]
Level = Literal["token", "answer"]


class Detector(ABC):
    """Base of everything in the ``detectors`` registry. Subclasses are dataclasses.

    A detector runs no model. It says what it needs, and all detectors that are asked at once share
    one pass that records the union of it: comparing twelve of them costs one pass. What it makes of
    the columns is a pure function of them, so it serves the tokens of an answer as well as the
    candidates of a decoder.

    Attributes:
        name: set by the registry.
        summary: one line for listings.
        paper: title and year of the source.
        url: where to read it.
        row: whose row it reads: ``"predicting"``, the one whose logits choose the token; ``"own"``,
            the token's own, which is there once it was fed back; ``"prefill"``, the prompt alone;
            ``"asked"``, none of the pass, but those of further questions.
        level: what it judges; a detector of tokens judges words by way of their tokens.
        supervised: whether it is fitted on labels.
        streams: whether it can judge a candidate before that is chosen, as guided decoding needs:
            it reads logits and inner layers of the predicting row, and nothing else.
        passes: what it costs besides the forward pass that all share; ``"1 backward"`` where it
            reads saliency.
        asks_more: whether it asks the model more questions, or the same one again, which costs
            several passes an answer: see :class:`~lvlmsal.detection.asking.AskingDetector`.
        scaled: whether it means nothing before it was scaled on the model's own answers
            (``lvlmsal fit``), because it adds up columns of different kinds.
        model_defaults: options by checkpoint, see :class:`~lvlmsal.interventions.Intervention`.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    row: ClassVar[Row] = "predicting"
    level: ClassVar[Level] = "token"
    supervised: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    passes: ClassVar[str] = ""
    asks_more: ClassVar[bool] = False
    scaled: ClassVar[bool] = False
    model_defaults: ClassVar[dict[str, dict[str, object]]] = {}

    @property
    @abstractmethod
    def needs(self) -> tuple[Need, ...]:
        """What it reads."""

    @abstractmethod
    def features(self, columns: Columns) -> Tensor:
        """What it makes of the columns: shape (tokens..., features), larger is worse.

        Of a detector that is not scaled there is one feature, in [0, 1] as it stands.
        """

    def weights(self, features: Tensor) -> Tensor:
        """What standardized features are multiplied with in a scaling, before they are added up.

        Args:
            features: of the model's own mentions, shape (mentions, features).

        Returns:
            Shape (features,); ones where nothing else is said.
        """
        return torch.ones_like(features[0])

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What each feature is called in files.

        Empty where there is one for each unit of the model, which are numbered.
        """
        return (self.name,)

    @property
    def control(self) -> Detector | None:
        """What it has to be better than to be worth its labels; it is fitted on them as well."""
        return None


@dataclass(frozen=True)
class ReadingDetector(Detector):
    """A detector that makes its number from one reading in some layers.

    Attributes:
        reading: its name in :data:`~lvlmsal.detection.columns.READINGS`.
        layers: which layers; fractions of the depth mean the same for every model.
    """

    layers: LayerSpec = None

    reading: ClassVar[str] = ""

    def __post_init__(self) -> None:
        self._need()

    def _need(self) -> Need:
        return Need(self.reading, self.layers)

    @property
    def needs(self) -> tuple[Need, ...]:
        """The reading in the layers."""
        return (self._need(),)

    def read(self, columns: Columns) -> Tensor:
        """The reading in the layers, float64."""
        return columns[self._need()].double()
