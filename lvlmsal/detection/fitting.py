"""Scaling detectors on what a model says by itself: no label is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.detection.asking import refuse_asking
from lvlmsal.detection.base import Detector
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.recording import record
from lvlmsal.detection.scaling import Scaling
from lvlmsal.detection.scaling_files import Scalings
from lvlmsal.detection.vocabulary import JudgedWords
from lvlmsal.detection.words import judged_spans
from lvlmsal.errors import DataError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.metrics.text.vocabulary import Vocabulary

LEAST: Final = 50
"""Fewer own mentions than that make no scaling: the top 8 % would be four words."""


UNSCALED: Final = "risks of that kind are read as they stand, without a scaling"
"""Why detectors that ask the model more are not scaled."""


def scale(
    adapter: ModelAdapter,
    answers: Iterable[tuple[Mapping[str, Any], Sequence[int]]],
    detectors: Sequence[Detector],
    vocabulary: Vocabulary | None = None,
    *,
    name: str,
    source: str,
) -> Scalings:
    """Scale detectors on the judged words of a model's own answers, in one pass an answer.

    Every mention of a judged word counts by its first token, right or wrong.

    Args:
        adapter: of the model.
        answers: encoded prompts (batches of one) with the token ids of the model's own answers.
        detectors: to be scaled.
        vocabulary: of judged words; the objects of COCO by default.
        name: what the model is called, for people who read the file.
        source: what the answers are to, likewise.

    Raises:
        DataError: the answers hold fewer than `LEAST` judged words.
        UnsupportedError: a detector asks the model more.
    """
    refuse_asking(detectors, UNSCALED)
    words = vocabulary or Vocabulary.coco()
    needs = [need for detector in detectors for need in detector.needs]
    lens = Lens(adapter, JudgedWords(adapter.tokenizer, words).tokens)
    features: list[list[Tensor]] = [[] for _ in detectors]
    count = 0
    for inputs, ids in answers:
        count += 1
        spans = judged_spans(adapter.decode(ids), adapter.token_texts(ids), words)
        if not spans:
            continue
        columns = record(adapter, inputs, torch.tensor([list(ids)]), needs, lens=lens).of(0)
        firsts = [span.tokens[0] for span in spans]
        for found, detector in zip(features, detectors, strict=True):
            found.append(detector.features(columns).double()[firsts])
    if sum(map(len, features[0])) < LEAST:
        raise DataError(
            f"the {count} answers hold {sum(map(len, features[0]))} judged words, of which a "
            f"scaling needs at least {LEAST}: take more answers, or other judged words (--words)"
        )
    forms: dict[str, list[str]] = {}
    for form, object_name in words.synonyms.items():
        forms.setdefault(object_name, []).append(form)
    return Scalings(
        ModelMark.of(adapter),
        name,
        source,
        None if vocabulary is None else forms,
        tuple(
            Scaling.fitted(detector, _known(torch.cat(found)), count)
            for detector, found in zip(detectors, features, strict=True)
        ),
    )


def _known(features: Tensor) -> Tensor:
    """The rows of which every feature is known."""
    return features[~features.isnan().any(-1)]
