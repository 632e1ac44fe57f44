"""Folds of images: what is fitted on some is judged on others."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from typing import Final

import torch
from torch import Tensor

from lvlmsal.errors import UnsupportedError
from lvlmsal.statistics.bootstrap import group_numbers

FOLDS: Final = 5


def out_of_fold(
    scored: Callable[[Tensor, Tensor], Tensor],
    wrong: Tensor,
    images: Sequence[Hashable],
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> Tensor:
    """Score the mentions of each fold by what was fitted on the others.

    All mentions of an image are in one fold, so that no score comes from a fit that has seen its
    image. Images with a wrong mention are spread evenly over the folds.

    Args:
        scored: given masks of the mentions to fit on and of those to score, shape (N,) each, the
            scores of the latter.
        wrong: labels, shape (N,).
        images: what each mention belongs to.
        folds: in how many parts the images are cut.
        seed: of the folds.

    Returns:
        Shape (N,), float64.

    Raises:
        UnsupportedError: fewer than `folds` images have mentions of a kind.

    >>> wrong = torch.arange(20) % 2 == 0
    >>> share = out_of_fold(lambda fit, rest: wrong[fit].double().mean(), wrong, range(20))
    >>> share.unique().tolist()
    [0.5]
    """
    index, count = group_numbers(images)
    for kind, name in ((wrong, "wrong"), (~wrong, "right")):
        found = len(set(index[kind].tolist()))
        if found < folds:
            raise UnsupportedError(
                f"{found} images have {name} mentions; {folds} are needed to fit on some and "
                "judge on others: take more images"
            )
    owner = torch.tensor(_fold_of_images(index, wrong, count, folds, seed))[index]
    scores = torch.empty(len(wrong), dtype=torch.float64)
    for fold in range(folds):
        rest = owner == fold
        scores[rest] = scored(~rest, rest).double()
    return scores


def _fold_of_images(index: Tensor, wrong: Tensor, count: int, folds: int, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    with_wrong = set(index[wrong].tolist())
    order.sort(key=lambda image: image not in with_wrong)
    fold = [0] * count
    for place, image in enumerate(order):
        fold[image] = place % folds
    return fold
