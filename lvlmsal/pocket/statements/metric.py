"""Wrong statements about scenes as a metric, beside CHAIR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.benchmarks.chair.metric import ChairMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.pocket.statements.counts import COUNT_NAMES, statement_counts, statement_figures
from lvlmsal.pocket.worlds import WORLDS
from lvlmsal.registry import METRICS

_COLORS = frozenset(color for world in WORLDS.values() for color in world.colors)


@METRICS.register("statements")
@dataclass(eq=False)
class StatementsMetric(ChairMetric):
    """Introductions of objects that are absent, were introduced before, or have a wrong color.

    CHAIR falls where a method says right words again in place of wrong ones; W does not. Targets
    are mappings with ``objects``, the names of what is there, ``colors``, by name the color of what
    has one, ``suggested``, the absent classes that the scene suggests to one who knows the habits
    of its world, and ``absent``, how many classes are absent. The figures are those of
    `lvlmsal.pocket.statements.counts.statement_figures`, as fractions.

    Args:
        vocabulary: As of the metric ``chair``.
        singularizer: Likewise; ``"original"`` and ``"wordnet"`` read captions as these scripts do.

    Example:
        >>> metric = StatementsMetric()
        >>> text = "A red dog. A dog is below it, next to two cats."
        >>> truth = {"objects": ["dog"], "colors": {"dog": "blue"}, "suggested": [], "absent": 79}
        >>> metric.score([text], [truth])["wrong_statements"].item()
        1.0
    """

    summary: ClassVar[str] = "descriptions of scenes: CHAIR, and introductions that are wrong"
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    count_names: ClassVar[tuple[str, ...]] = COUNT_NAMES
    figure_info: ClassVar[dict[str, bool | None]] = {
        **ChairMetric.figure_info,
        "wrong_statements": False,
        "absent_introductions": False,
        "repeated_introductions": False,
        "wrong_colors": False,
        "two_colors": False,
        "expected_absent": False,
        "unexpected_absent": False,
        "suggested": None,
        "suggested_by_chance": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("chair_s", "CHAIR_S"),
        Column("chair_i", "CHAIR_I"),
        Column("recall", "recall"),
        Column("wrong_statements", "W"),
        Column("repeated_introductions", "repeated"),
        Column("wrong_colors", "wrong color"),
        Column("two_colors", "two colors"),
        Column("expected_absent", "expected"),
        Column("unexpected_absent", "unexpected"),
        Column("length", "length", percent=False),
    )
    rates: ClassVar[dict[str, tuple[str, str]]] = {
        **ChairMetric.rates,
        "two_colors": ("two_colors", "captions"),
    }

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `statement_counts`."""
        return statement_counts(answers, targets, self.words, _COLORS)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `statement_figures`."""
        return statement_figures(counts)
