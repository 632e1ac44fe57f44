"""Several numbers made into one score by a small network, fitted and judged on other images."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from lvlmsal.analysis.folds import FOLDS, out_of_fold


def cross_validated_scores(
    features: Tensor,
    correct: Sequence[bool],
    images: Sequence[Hashable],
    *,
    folds: int = FOLDS,
    hidden: int = 16,
    steps: int = 200,
    seed: int = 0,
) -> list[float]:
    """Fit a small network on some images and score the mentions of the others, in turn.

    One hidden layer, fitted with Adam and weight decay on features that are standardized over the
    images that it is fitted on; both kinds of mentions weigh the same. All mentions of an image are
    in one fold, so that no score comes from a network that has seen its image.

    Args:
        features: Shape (N, F).
        correct: Whether each mention is correct.
        images: What each mention belongs to.
        folds: In how many parts the images are cut.
        hidden: Width of the hidden layer; 0 is none, which is logistic regression.
        steps: Of the optimizer, over all data at once.
        seed: Of the folds and of the first weights; the global random state stays as it is.

    Returns:
        For each mention the logit that it is correct.

    Raises:
        UnsupportedError: There are too few images with mentions of a kind to fit on.
        ValueError: Lengths differ.

    Example:
        >>> chooser = torch.Generator().manual_seed(0)
        >>> features = torch.randn(200, 3, generator=chooser)
        >>> correct = (features[:, 0] * features[:, 1] > 0).tolist()
        >>> scores = cross_validated_scores(features, correct, range(200))
        >>> sum((score > 0) == kind for score, kind in zip(scores, correct, strict=True)) > 150
        True
    """
    if not len(features) == len(correct) == len(images):
        raise ValueError(
            f"{len(features)} rows of features, {len(correct)} labels, {len(images)} images"
        )
    kinds = torch.tensor(list(correct), dtype=torch.float32)

    def scored(fit: Tensor, rest: Tensor) -> Tensor:
        known, labels = features[fit].float(), kinds[fit]
        return _fitted(known, labels, features[rest].float(), hidden, steps, seed)

    return [float(x) for x in out_of_fold(scored, kinds == 0, images, folds=folds, seed=seed)]


def _fitted(
    features: Tensor, kinds: Tensor, rest: Tensor, hidden: int, steps: int, seed: int
) -> Tensor:
    """Logits of `rest` under a network that was fitted on `features`."""
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-12)
    features, rest = (features - mean) / deviation, (rest - mean) / deviation
    weight = torch.where(kinds > 0, 0.5 / kinds.mean(), 0.5 / (1 - kinds.mean()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = features.shape[1]
        network: nn.Module = nn.Linear(width, 1)
        if hidden:
            network = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(
            network(features)[:, 0], kinds, weight=weight
        )
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        optimizer.step()
    with torch.no_grad():
        logits: Tensor = network(rest)[:, 0]
    return logits
