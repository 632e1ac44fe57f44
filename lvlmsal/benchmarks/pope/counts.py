"""POPE: how well a model answers whether an object is in the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvlmsal.metrics.answer_parsers import COUNT_NAMES, AnswerParser, get_parser


def pope_counts(
    answers: Sequence[str], labels: Sequence[str], parser: AnswerParser | str = "strict"
) -> Tensor:
    """What each answer adds to the counts of POPE.

    Args:
        answers: One text for each question.
        labels: The right answers, ``"yes"`` or ``"no"``.
        parser: A rule or its name, see `lvlmsal.metrics.answer_parsers`.

    Returns:
        float64 tensor of shape (questions, 6); the columns are those of
        `lvlmsal.metrics.answer_parsers.COUNT_NAMES`.

    Raises:
        ValueError: The two differ in length, or a label is neither yes nor no.
        UnknownName: No rule has that name.

    Example:
        >>> pope_counts(["Yes", "No", "Hm"], ["yes", "yes", "no"])
        tensor([[1., 1., 1., 1., 1., 0.],
                [1., 0., 0., 0., 1., 0.],
                [1., 0., 0., 0., 0., 1.]], dtype=torch.float64)
    """
    rule = get_parser(parser) if isinstance(parser, str) else parser
    if len(answers) != len(labels):
        raise ValueError(f"{len(answers)} answers for {len(labels)} labels")
    rows = [rule.counts(answer, label) for answer, label in zip(answers, labels, strict=True)]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(COUNT_NAMES))


def pope_figures(counts: Tensor) -> dict[str, Tensor]:
    """The figures of POPE from summed counts.

    Yes is the positive class. A ratio without a denominator is nan: precision if yes was never
    said, recall if no label is yes, F1 if neither occurred.

    Args:
        counts: Tensor of shape (..., 6) with sums of rows of `pope_counts`.

    Returns:
        Tensors of shape (...): the fractions ``accuracy``, ``precision``, ``recall``, ``f1`` and
        ``yes_ratio`` (share of answers that say yes), and the numbers ``unparsed`` and ``n``.

    Example:
        >>> figures = pope_figures(pope_counts(["Yes", "No", "Hm"], ["yes", "yes", "no"]).sum(0))
        >>> {name: round(value.item(), 3) for name, value in figures.items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'accuracy': 0.333, 'precision': 1.0, 'recall': 0.5, 'f1': 0.667, 'yes_ratio': 0.333,
         'unparsed': 1.0, 'n': 3.0}
    """
    n, correct, true_yes, yes, gold_yes, unparsed = counts.unbind(-1)
    return {
        "accuracy": correct / n,
        "precision": true_yes / yes,
        "recall": true_yes / gold_yes,
        # the harmonic mean of the two, without their own denominators: a model that never says
        # yes has F1 0 although its precision is undefined
        "f1": 2 * true_yes / (yes + gold_yes),
        "yes_ratio": yes / n,
        "unparsed": unparsed,
        "n": n,
    }


def pope_score(
    answers: Sequence[str], labels: Sequence[str], *, parser: AnswerParser | str = "strict"
) -> dict[str, Tensor]:
    """Score answers to POPE questions.

    Args:
        answers: One text for each question.
        labels: The right answers, ``"yes"`` or ``"no"``.
        parser: A rule or its name; scores under different rules are not comparable.

    Returns:
        The figures of `pope_figures`, as float64 scalars.

    Raises:
        ValueError: The two differ in length, or a label is neither yes nor no.
        UnknownName: No rule has that name.

    Example:
        >>> answers, labels = ["No, there is not.", "There isn't a dog."], ["no", "no"]
        >>> for name in ("pope-official", "opera", "strict"):
        ...     print(name, pope_score(answers, labels, parser=name)["accuracy"].item())
        pope-official 0.5
        opera 1.0
        strict 0.5
    """
    return pope_figures(pope_counts(answers, labels, parser).sum(0))
