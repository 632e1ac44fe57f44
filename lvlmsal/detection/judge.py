"""A detector fitted to a model: what it was asked for, and the scaling that goes with both."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.detection.base import Detector
from lvlmsal.detection.columns import Columns, Need
from lvlmsal.detection.fits import Fit
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.regression import Regression
from lvlmsal.detection.scaling import Scaling
from lvlmsal.detection.scaling_files import PLAIN, Scalings, scalings_at, shipped_scalings
from lvlmsal.detection.vocabulary import JudgedWords
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.registry import DETECTORS

DEFAULT: Final = "default"
"""Stands for the best detector that a file of scalings has, and for `PLAIN` without a file."""

DetectorSpec = str | Mapping[str, Any] | Detector
"""A registered name, ``{"name": ..., option: value, ...}`` with ``scaling`` among the options, or a
detector."""


@dataclass(frozen=True)
class Judge:
    """A detector at work.

    Attributes:
        detector: what it computes.
        scaling: on the own answers of the model that is judged; None where there is none.
        vocabulary: of judged words: those of the scaling, or the objects of COCO.
        note: what a user should know of its risks; empty where there is nothing.
        regression: on labels, of a detector that is fitted on them.
    """

    detector: Detector
    scaling: Scaling | None
    vocabulary: Vocabulary
    note: str = ""
    regression: Regression | None = None

    @property
    def fit(self) -> Fit | None:
        """What makes one number of the features; None where there is a single one as it stands."""
        return self.scaling or self.regression

    @property
    def needs(self) -> tuple[Need, ...]:
        """What it reads."""
        return self.detector.needs

    def lens(self, adapter: ModelAdapter) -> Lens | None:
        """The lens that it reads inner layers through; None where it reads none."""
        if all(need.reading != "row_lens" for need in self.needs):
            return None
        return Lens(adapter, JudgedWords(adapter.tokenizer, self.vocabulary).tokens)

    def features(self, columns: Columns) -> Tensor:
        """Its features, shape (tokens..., features), float64, larger is worse."""
        return self.detector.features(columns).double()

    def scores(self, columns: Columns) -> Tensor:
        """One number a token, in whatever range; shape (tokens...), nan where it cannot tell."""
        features = self.features(columns)
        return features.squeeze(-1) if self.fit is None else self.fit.score(features)

    def risks(self, columns: Columns) -> Tensor:
        """Risks from 0 to 1, shape (tokens...), nan where it cannot tell.

        With a scaling a risk is the share of the model's own mentions that score lower, so that the
        8 % that score highest have risks from 0.92 on. Of a detector fitted on labels it is the
        chance of being wrong, as far as other answers of the model are like those. Without either
        it is the detector's feature as it stands.
        """
        scores = self.scores(columns)
        return scores.clamp(0, 1) if self.fit is None else self.fit.risk(scores)

    def reasons(self, columns: Columns) -> dict[str, Tensor]:
        """What each feature adds to the score, by name; without a fit the feature itself.

        Features without a name give no reasons.
        """
        if not self.detector.feature_names:
            return {}
        features = self.features(columns)
        if self.fit is not None:
            features = self.fit.contributions(features)
        return dict(zip(self.detector.feature_names, features.unbind(-1), strict=True))


def make_judge(
    spec: DetectorSpec, adapter: ModelAdapter, *, stacklevel: int = 1, **options: Any
) -> Judge:
    """Build a detector and find the scaling that goes with it.

    Args:
        spec: what was asked for; ``"default"`` takes the best detector that a file of scalings has,
            which is the one fitted on labels or else the rule that needs none, and plain
            log-probability, with a warning, where no file is given and none is shipped for the
            model. ``scaling`` among the options of a mapping, or a path in place of a name, is a
            file that ``lvlmsal fit`` wrote, or a folder of them, of which the model's is taken.
        adapter: of the model that is judged.
        stacklevel: of the warning: frames between the user's own and this call.
        options: on top of those of `spec`.

    Raises:
        ConfigError: an unknown name or option.
        DataError: the file cannot be read.
        UnsupportedError: the file is that of another model, or the detector means nothing without a
            scaling and there is none.
    """
    held, name, given = _parsed(spec, adapter, options)
    note = ""
    if isinstance(spec, Detector):
        detector = spec
    else:
        if name == DEFAULT:
            if given:
                raise ConfigError(["detector 'default' has no options: name a detector to set any"])
            name, given = (PLAIN, {}) if held is None else held.best()
            if held is None:
                note = (
                    "no scaling for this model, so risks are 1 - p of the token, a weak judge: "
                    "type  lvlmsal fit  to scale the detector on answers of the model"
                )
                warnings.warn(note, stacklevel=stacklevel + 1)
        detector = DETECTORS.build(name, **given)
    found = None if held is None else held.of(detector)
    if found is None and (detector.scaled or detector.supervised):
        needed, flag = ("fit on labels", " --labels") if detector.supervised else ("scaling", "")
        raise UnsupportedError(
            f"{detector.name} adds up columns of different kinds and has no {needed} for this "
            f"model under these options: make one from answers of the model, type  lvlmsal fit"
            f"{flag}, and hand it over: {{'name': {detector.name!r}, 'scaling': 'FILE.json'}}"
        )
    vocabulary = Vocabulary.coco() if held is None else held.vocabulary()
    return Judge(
        detector,
        found if isinstance(found, Scaling) else None,
        vocabulary,
        note,
        found if isinstance(found, Regression) else None,
    )


def _parsed(
    spec: DetectorSpec, adapter: ModelAdapter, options: Mapping[str, Any]
) -> tuple[Scalings | None, str, dict[str, Any]]:
    """The scalings, the name and the options that a user means."""
    path: object = None
    name, given = DEFAULT, dict(options)
    if isinstance(spec, Mapping):
        given = {**spec, **given}
        name, path = str(given.pop("name", DEFAULT)), given.pop("scaling", None)
    elif isinstance(spec, str) and spec.endswith(".json"):
        path = spec
    elif isinstance(spec, str):
        name = spec
    if path is None:
        return shipped_scalings(adapter), name, given
    if not isinstance(path, str | os.PathLike):
        raise ConfigError([f"scaling must be the path of a file or folder, got {path!r}"])
    return scalings_at(path, adapter), name, given
