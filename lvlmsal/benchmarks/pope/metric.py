"""POPE as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.benchmarks.pope.counts import pope_counts, pope_figures
from lvlmsal.metrics.answer_parsers import COUNT_NAMES, get_parser
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.registry import METRICS


@METRICS.register("pope")
@dataclass(eq=False)
class PopeMetric(CountMetric):
    """Accuracy, precision, recall, F1 and yes ratio of answers to "Is there a ... in the image?".

    Targets are ``"yes"`` or ``"no"``. The figures are those of
    `lvlmsal.benchmarks.pope.counts.pope_figures`, as fractions.

    Args:
        parser: Name of the rule that reads the answers, see `lvlmsal.metrics.answer_parsers`.

    Raises:
        UnknownName: No rule has that name.

    Example:
        >>> metric = PopeMetric(parser="strict")
        >>> answers = ["Yes, a red one.", "no", "It is hard to say."]
        >>> found = metric.score(answers, ["yes", "yes", "no"])
        >>> {name: round(value.item(), 3) for name, value in found.items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'accuracy': 0.333, 'precision': 1.0, 'recall': 0.5, 'f1': 0.667, 'yes_ratio': 0.333,
         'unparsed': 1.0, 'n': 3.0}
    """

    summary: ClassVar[str] = "yes-or-no questions about objects: accuracy, F1, yes ratio"
    paper: ClassVar[str] = "Evaluating Object Hallucination in Large Vision-Language Models"
    url: ClassVar[str] = "https://github.com/AoiDragon/POPE"
    count_names: ClassVar[tuple[str, ...]] = COUNT_NAMES
    figure_info: ClassVar[dict[str, bool | None]] = {
        "accuracy": True,
        "precision": True,
        "recall": True,
        "f1": True,
        "yes_ratio": None,
        "unparsed": False,
        "n": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("accuracy", "accuracy"),
        Column("f1", "F1"),
        Column("yes_ratio", "yes ratio"),
        Column("unparsed", "unparsed", percent=False, bare=True),
    )
    rates: ClassVar[dict[str, tuple[str, str]]] = {
        "accuracy": ("correct", "n"),
        "precision": ("true_yes", "yes"),
        "recall": ("true_yes", "gold_yes"),
        "yes_ratio": ("yes", "n"),
    }

    parser: str = "strict"

    def __post_init__(self) -> None:
        get_parser(self.parser)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `lvlmsal.benchmarks.pope.counts.pope_counts`; targets are the labels."""
        return pope_counts(answers, targets, self.parser)

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """A question without an answer is unparsed and wrong under every rule.

        Recall falls if it should have been yes.
        """
        # not what the rule makes of an empty answer, which some take for a no
        counts = {"n": 1.0, "unparsed": 1.0}
        rows = [
            [float(target == "yes") if c == "gold_yes" else counts.get(c, 0.0) for c in COUNT_NAMES]
            for target in targets
        ]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(COUNT_NAMES))

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `lvlmsal.benchmarks.pope.counts.pope_figures`."""
        return pope_figures(counts)
