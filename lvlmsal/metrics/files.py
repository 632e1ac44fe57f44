"""Scores of answer and caption files that were made elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lvlmsal.files import PopeQuestion, listed, read_coco_objects, read_pope_questions
from lvlmsal.metrics.answers import read_captions, read_pope_answers
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.chair import Chair
from lvlmsal.metrics.functional import ground_truth_objects
from lvlmsal.metrics.parsers import get_parser
from lvlmsal.metrics.pope import Pope
from lvlmsal.metrics.statistics import figure_intervals


def score_pope_files(
    questions: Path | str, answers: Path | str, *, parser: str = "strict", seed: int = 0
) -> dict[str, Any]:
    """Score a file of answers to a file of POPE questions.

    Args:
        questions: Question file, see `lvlmsal.files.read_pope_questions`.
        answers: Answer file, see `lvlmsal.metrics.answers.read_pope_answers`.
        parser: Name of the rule that reads the answers.
        seed: Seed of the intervals.

    Returns:
        What JSON can hold: the figures by name (None where one is undefined), ``parser`` and
        ``note`` on it, ``intervals`` with the 95 % bounds of each fraction (images are resampled:
        questions on one image are not independent), and ``categories`` with the figures of each
        category if the questions have several.

    Raises:
        DataError: A file is missing or broken, or the two do not belong together.
        UnknownName: No rule has that name.
    """
    metric = Pope(parser=parser)
    asked = read_pope_questions(questions)
    given = read_pope_answers(answers, asked)
    rows = metric.rows(given, [question.label for question in asked])
    result: dict[str, Any] = {
        "metric": "pope",
        "parser": parser,
        "note": get_parser(parser).note,
        **_numbers(metric, rows),
        "intervals": _bounds(metric, rows, [question.image for question in asked], seed),
    }
    categories = _by_category(asked)
    if len(categories) > 1:
        result["categories"] = {
            name: _numbers(metric, rows[places]) for name, places in categories.items()
        }
    return result


def score_chair_files(
    annotations_dir: Path | str,
    captions: Path | str,
    *,
    vocabulary: Path | str | None = None,
    singulariser: Literal["auto", "original", "none"] = "auto",
    image_id_key: str = "image_id",
    caption_key: str = "caption",
    seed: int = 0,
) -> dict[str, Any]:
    """Score a file of captions against annotations in the layout of COCO.

    Args:
        annotations_dir: Folder of annotations, see `lvlmsal.files.read_coco_objects`.
        captions: Caption file, see `lvlmsal.metrics.answers.read_captions`.
        vocabulary: A vocabulary file; None for this library's own list of the COCO objects.
        singulariser: How a vocabulary file is read; ``"auto"``: as the original script reads it.
        image_id_key: Where the caption file has the id of the image.
        caption_key: Where it has the caption.
        seed: Seed of the intervals.

    Returns:
        What JSON can hold: the figures by name (None where one is undefined), ``variant`` (which
        words under which rule), ``intervals`` with the 95 % bounds of each ratio (captions are
        resampled), and ``warnings``, sentences on what makes the figures doubtful.

    Raises:
        DataError: A file is missing or broken, an image is unknown or captioned twice.
        UnsupportedError: The extra ``chair`` is needed and missing.
    """
    metric = Chair(
        vocabulary="coco" if vocabulary is None else str(vocabulary), singulariser=singulariser
    )
    truth = read_coco_objects(annotations_dir)
    given = read_captions(
        captions,
        truth.instances.keys() | truth.captions.keys(),
        image_id_key=image_id_key,
        caption_key=caption_key,
    )
    # ids in annotations are numbers, and only known ids pass
    images = [image for image in given if isinstance(image, int)]
    objects = [
        ground_truth_objects(
            truth.instances.get(image, set()), truth.captions.get(image, []), metric.words
        )
        for image in images
    ]
    rows = metric.rows([given[image] for image in images], objects)
    warnings = []
    if bare := [image for image in images if image not in truth.captions]:
        warnings.append(
            f"{len(bare)} images have no reference captions, only annotated objects: {listed(bare)}"
        )
    annotated = set().union(*(truth.instances.get(image, set()) for image in images))
    known = set(metric.words.names)
    if strange := sorted(n for n in annotated if metric.words.canonical(n) not in known):
        warnings.append(
            f"{len(strange)} annotated objects are not in the vocabulary, so no caption can "
            f"mention them: {listed(strange)}"
        )
    return {
        "metric": "chair",
        "variant": metric.variant,
        **_numbers(metric, rows),
        "intervals": _bounds(metric, rows, images, seed),
        "annotations": list(truth.sources),
        "warnings": warnings,
    }


def _by_category(questions: Sequence[PopeQuestion]) -> dict[str, list[int]]:
    """Places of the questions of each category."""
    places: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        places.setdefault(question.category, []).append(place)
    return places


def _is_number(metric: CountMetric, figure: str) -> bool:
    """Whether a figure counts something: numbers are what is left of no samples, ratios are not."""
    return not math.isnan(metric.figures(metric.counts.new_zeros(metric.counts.shape))[figure])


def _numbers(metric: CountMetric, rows: Tensor) -> dict[str, float | int | None]:
    """Figures as JSON has them: whole numbers for counts, None for nan."""
    values = {name: value.item() for name, value in metric.figures(rows.sum(0)).items()}
    return {
        name: int(value) if _is_number(metric, name) else _or_none(value)
        for name, value in values.items()
    }


def _bounds(
    metric: CountMetric, rows: Tensor, groups: Sequence[int | str], seed: int
) -> dict[str, dict[str, float | None]]:
    found = figure_intervals(metric, rows, groups, seed=seed)
    return {
        name: {"low": _or_none(interval.low), "high": _or_none(interval.high)}
        for name, interval in found.items()
        if not _is_number(metric, name)
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


__all__ = ["score_chair_files", "score_pope_files"]
