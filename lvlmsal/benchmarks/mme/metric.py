"""MME as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.benchmarks.mme.counts import COUNT_NAMES, mme_counts, mme_figures, mme_parser
from lvlmsal.benchmarks.mme.files import MME_TASKS
from lvlmsal.metrics.base import SetMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.registry import METRICS


@METRICS.register("mme")
@dataclass(eq=False)
class MmeMetric(SetMetric):
    """Scores of pairs of yes-or-no questions, by task and for perception and cognition.

    Targets are mappings with ``task``, ``image``, ``question`` (1 or 2) and ``label``. The figures
    are those of `lvlmsal.benchmarks.mme.counts.mme_figures`, on MME's own scale of 0 to 200 a task.
    Both questions on an image must have the same group. A question without an answer counts as
    wrong, and its image as not answered rightly.

    Args:
        parser: Name of the rule that reads the answers, see
            `lvlmsal.benchmarks.mme.counts.MME_PARSERS`.

    Raises:
        UnknownName: No rule has that name.

    Example:
        >>> target = {"task": "count", "image": "1.png", "question": 1, "label": "yes"}
        >>> asked = [target, {**target, "question": 2, "label": "yes"}]
        >>> MmeMetric().score(["Yes", "no"], asked)["score/count"].item()
        50.0
    """

    summary: ClassVar[str] = "pairs of yes-or-no questions in 14 tasks: perception and cognition"
    paper: ClassVar[str] = "MME: A Comprehensive Evaluation Benchmark for Multimodal LLMs"
    url: ClassVar[str] = "https://arxiv.org/abs/2306.13394"
    count_names: ClassVar[tuple[str, ...]] = COUNT_NAMES
    figure_info: ClassVar[dict[str, bool | None]] = {
        "perception": True,
        "cognition": True,
        "task_mean": True,
        "accuracy": True,
        **{f"score/{task}": True for task in MME_TASKS},
        "unparsed": False,
        "n": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("perception", "perception", percent=False),
        Column("cognition", "cognition", percent=False),
        Column("task_mean", "task mean", percent=False),
        Column("unparsed", "unparsed", percent=False, bare=True),
    )
    rates: ClassVar[dict[str, tuple[str, str]]] = {"accuracy": ("correct", "n")}

    parser: str = "official"

    def __post_init__(self) -> None:
        mme_parser(self.parser)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `lvlmsal.benchmarks.mme.counts.mme_counts`."""
        return mme_counts(answers, targets, self.parser)

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """Wrong answers: each adds a question and so half an image."""
        rows = mme_counts([""] * len(targets), targets, self.parser)
        rows[:, COUNT_NAMES.index("unparsed")] = 0
        return rows

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `lvlmsal.benchmarks.mme.counts.mme_figures`."""
        return mme_figures(counts)
