"""CHAIR: how many of the objects that a caption mentions are not in the image."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.progress import track

COUNT_NAMES: Final = (
    "captions",
    "hallucinated_captions",
    "mentions",
    "hallucinated_mentions",
    "covered",
    "gt_objects",
    "tokens",
    "captions_without_objects",
    "distinct",
)
"""What is counted of one caption, in this order.

``captions`` is 1; ``hallucinated_captions`` is 1 if a mention is hallucinated; ``mentions`` counts
an object as often as it is mentioned; ``covered`` counts the different objects that are mentioned
and there; ``gt_objects`` those that are there; ``distinct`` those that are mentioned.
"""


def ground_truth_objects(
    annotated: Iterable[str], references: Iterable[str], vocabulary: Vocabulary
) -> frozenset[str]:
    """The objects of an image: those annotated and those that its reference captions mention.

    Args:
        annotated: Names of the annotated objects; `Vocabulary.canonical` brings them into line.
        references: Captions by people.
        vocabulary: Reads the references; use the one that reads the captions to be scored.

    Returns:
        Names of objects.

    Example:
        >>> truth = ground_truth_objects(["dog"], ["A puppy on a sofa."], Vocabulary.coco())
        >>> sorted(truth)
        ['couch', 'dog']
    """
    mentioned = {name for text in references for name, _ in vocabulary.scan(text).objects}
    return frozenset(map(vocabulary.canonical, annotated)) | mentioned


def chair_counts(
    captions: Sequence[str], truths: Sequence[Collection[str]], vocabulary: Vocabulary
) -> Tensor:
    """What each caption adds to the counts of CHAIR.

    Args:
        captions: One text for each image.
        truths: Names of the objects that are in each image, see `ground_truth_objects`.
        vocabulary: Finds the objects in the captions.

    Returns:
        float64 tensor of shape (captions, 9); the columns are those of `COUNT_NAMES`.

    Raises:
        ValueError: The two differ in length.
        TypeError: A truth is one text instead of a collection of names.

    Example:
        >>> chair_counts(["A dog, a cat and a dog.", ""], [{"dog", "car"}, []], Vocabulary.coco())
        tensor([[1., 1., 3., 1., 1., 2., 9., 0., 2.],
                [1., 0., 0., 0., 0., 0., 0., 1., 0.]], dtype=torch.float64)
    """
    if len(captions) != len(truths):
        raise ValueError(f"{len(captions)} captions for {len(truths)} sets of objects")
    rows = []
    for caption, truth in track(list(zip(captions, truths, strict=True)), "captions"):
        if isinstance(truth, str):
            raise TypeError(f"a truth must be a collection of names, got one text: {truth!r}")
        there = frozenset(truth)
        reading = vocabulary.scan(caption)
        mentioned = [name for name, _ in reading.objects]
        hallucinated = sum(name not in there for name in mentioned)
        rows.append(
            (
                1,
                hallucinated > 0,
                len(mentioned),
                hallucinated,
                len(there.intersection(mentioned)),
                len(there),
                reading.length,
                not mentioned,
                len(set(mentioned)),
            )
        )
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(COUNT_NAMES))


def chair_figures(counts: Tensor) -> dict[str, Tensor]:
    """The figures of CHAIR from summed counts.

    All are pooled over the captions, not means of figures of single captions. A caption without
    objects stays in the denominator of ``chair_s``. A ratio without a denominator is nan:
    ``chair_i`` and ``precision`` if nothing was mentioned, ``recall`` if there is nothing to
    mention.

    Args:
        counts: Tensor of shape (..., 9) with sums of rows of `chair_counts`.

    Returns:
        Tensors of shape (...): the fractions ``chair_s`` (captions with a hallucinated mention),
        ``chair_i`` (mentions that are hallucinated), ``recall`` (objects that are mentioned),
        ``precision`` (different objects mentioned that are there) and ``f1`` of the two, as PAI has
        them; ``length``, the mean number of tokens; and the numbers that these are made of.

    Example:
        >>> captions = ["A dog, a cat and a dog.", "A car."]
        >>> counts = chair_counts(captions, [{"dog"}, {"car", "bus"}], Vocabulary.coco())
        >>> figures = chair_figures(counts.sum(0))
        >>> {name: round(figures[name].item(), 3) for name in ("chair_s", "chair_i", "recall")}
        {'chair_s': 0.5, 'chair_i': 0.25, 'recall': 0.667}
    """
    captions, with_error, mentions, errors, covered, truth, tokens, empty, named = counts.unbind(-1)
    return {
        "chair_s": with_error / captions,
        "chair_i": errors / mentions,
        "recall": covered / truth,
        "precision": covered / named,
        "f1": 2 * covered / (named + truth),
        "length": tokens / captions,
        "n_captions": captions,
        "n_mentions": mentions,
        "n_hallucinated": errors,
        "covered": covered,
        "gt_objects": truth,
        "captions_without_objects": empty,
    }


def chair_score(
    captions: Sequence[str], truths: Sequence[Collection[str]], vocabulary: Vocabulary
) -> dict[str, Tensor]:
    """Score captions by the objects that they mention.

    Args:
        captions: One text for each image.
        truths: Names of the objects that are in each image, see `ground_truth_objects`.
        vocabulary: Finds the objects in the captions; scores by different ones do not compare.

    Returns:
        The figures of `chair_figures`, as float64 scalars.

    Raises:
        ValueError: The two differ in length.
        TypeError: A truth is one text instead of a collection of names.

    Example:
        >>> chair_score(["A horse."], [["horse", "person"]], Vocabulary.coco())["recall"].item()
        0.5
    """
    return chair_figures(chair_counts(captions, truths, vocabulary).sum(0))
