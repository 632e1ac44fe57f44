"""AMBER's generative part: hallucinated words in descriptions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

GENERATIVE_COUNTS: Final = (
    *("responses", "hallucinated_responses", "mentions", "hallucinated_mentions"),
    *("covered", "truth", "expected", "hallu"),
)
"""What is counted of one description, in this order: ``mentions`` are nouns of AMBER's list, as
often as they occur; ``covered`` of the ``truth`` words were mentioned; ``expected`` of the
``hallu`` words were, which people would expect though they are not in the image."""


def amber_generative_counts(
    nouns: Sequence[Sequence[str]],
    targets: Sequence[Any],
    relation: Mapping[str, Sequence[str]],
    safe_words: Collection[str] = (),
    similar: Callable[[str, str], bool] = str.__eq__,
) -> Tensor:
    """What descriptions add to the counts of AMBER's generative part.

    Of the nouns, those are kept that `relation` has, as a word or next to one. A kept mention is no
    hallucination if it is a safe word, is or is associated with a word of the image's truth, or is
    similar to one of these. Searched are first the associated words, in the order of the truth,
    then the truth itself, and the first hit is covered: with the truth man, person, a "man" covers
    "person" if that is associated with man. A mention that the truth does not have marks the first
    hallu word that it hits in the same way, and the first one that it is similar to.

    Args:
        nouns: The nouns of each description, in order, in the singular.
        targets: Mappings with ``truth`` and ``hallu``: words of `relation`.
        relation: Associated words by word.
        safe_words: Words that are never hallucinated and cover nothing.
        similar: Whether two words are near-synonyms.

    Returns:
        float64 tensor of shape (descriptions, 8); the columns are those of `GENERATIVE_COUNTS`.

    Raises:
        ValueError: The two differ in length, or a target is none.

    Example:
        >>> relation = {"man": ["person"], "dog": [], "cat": []}
        >>> target = {"truth": ["man"], "hallu": ["cat"]}
        >>> amber_generative_counts([["person", "dog", "cat", "sky"]], [target], relation)
        tensor([[1., 1., 3., 2., 1., 1., 1., 1.]], dtype=torch.float64)
    """
    if len(nouns) != len(targets):
        raise ValueError(f"{len(nouns)} lists of nouns for {len(targets)} targets")
    kept = {word for pair in relation.items() for word in (pair[0], *pair[1])}
    rows = []
    for found, target in zip(nouns, targets, strict=True):
        if not isinstance(target, Mapping) or {"truth", "hallu"} - target.keys():
            raise ValueError(f"a target of AMBER has 'truth' and 'hallu', got {target!r}")
        mentions = [noun for noun in found if noun in kept]
        truth, hallu = (_searched(target[key], relation) for key in ("truth", "hallu"))
        covered: set[int] = set()
        expected: set[int] = set()
        wrong = 0
        for noun in mentions:
            if noun in safe_words:
                continue
            place = _hit(noun, truth, str.__eq__)
            if place is None:
                for alike in (str.__eq__, similar):
                    marked = _hit(noun, hallu, alike)
                    expected |= set() if marked is None else {marked}
                place = _hit(noun, truth, similar)
            if place is None:
                wrong += 1
            else:
                covered.add(place)
        sizes = (len(covered), len(target["truth"]), len(expected), len(target["hallu"]))
        rows.append((1, wrong > 0, len(mentions), wrong, *sizes))
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(GENERATIVE_COUNTS))


def _searched(words: Sequence[str], relation: Mapping[str, Sequence[str]]) -> list[tuple[str, int]]:
    """Words to compare with, in order, each with the place of the word that it stands for."""
    unknown = [word for word in words if word not in relation]
    if unknown:
        raise ValueError(f"the relation has no words {', '.join(map(repr, unknown))}")
    associated = [(other, place) for place, word in enumerate(words) for other in relation[word]]
    return associated + [(word, place) for place, word in enumerate(words)]


def _hit(
    noun: str, searched: Sequence[tuple[str, int]], alike: Callable[[str, str], bool]
) -> int | None:
    return next((place for word, place in searched if alike(noun, word)), None)


def amber_generative_figures(counts: Tensor) -> dict[str, Tensor]:
    """The figures of AMBER's generative part from summed counts.

    Args:
        counts: Tensor of shape (..., 8) with sums of rows of `amber_generative_counts`.

    Returns:
        Tensors of shape (...): the fractions ``chair`` (mentions that are hallucinated), ``cover``
        (truth words that are mentioned), ``hal`` (descriptions with a hallucination) and ``cog``
        (hallu words that are mentioned), nan without a denominator; the same four as the official
        script prints them, ``official/...``: percentages with one decimal, with 0.001 added to each
        denominator; and the numbers ``n_responses``, ``n_mentions`` and ``n_hallucinated``.
    """
    responses, with_error, mentions, errors, covered, truth, expected, hallu = counts.unbind(-1)
    fine = responses - with_error
    some = responses > 0
    return {
        "chair": errors / mentions,
        "cover": covered / truth,
        "hal": with_error / responses,
        "cog": expected / hallu,
        "official/chair": printed(errors / (mentions + 0.001) * 100, some),
        "official/cover": printed(covered / (truth + 0.001) * 100, some),
        "official/hal": printed(100 - fine / (responses + 0.001) * 100, some),
        "official/cog": printed(expected / (hallu + 0.001) * 100, some),
        "n_responses": responses,
        "n_mentions": mentions,
        "n_hallucinated": errors,
    }


def printed(values: Tensor, defined: Tensor) -> Tensor:
    """Values with one decimal as Python rounds them, and nan where nothing was counted.

    ``torch.round`` multiplies first, so it differs on numbers such as 82.35, which is a little
    less than its name says.
    """
    rounded = [round(value, 1) for value in values.flatten().tolist()]
    found = torch.tensor(rounded, dtype=torch.float64).reshape(values.shape)
    return found.to(values.device).where(defined, torch.nan)
