"""Metrics of a user's choice next to the one that a benchmark brings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from lvlmsal.metrics.columns import Column


def further_figure(label: str, figure: str, figures: Collection[str]) -> str:
    """What a run calls a figure of a further metric.

    Args:
        label: Of the metric.
        figure: The metric's own name of the figure.
        figures: Names of all figures of the metric.

    Example:
        >>> further_figure("hedging", "share", ["share"])
        'hedging'
        >>> further_figure("strict", "f1", ["accuracy", "f1"])
        'strict.f1'
    """
    return label if len(figures) == 1 else f"{label}.{figure}"


def further_columns(
    label: str, metric: str, figures: Collection[str], columns: Collection[Column]
) -> list[Column]:
    """The columns of a further metric, under the names of the run.

    Args:
        label: Of the metric.
        metric: Its registered name.
        figures: Its figures, by either name.
        columns: Those of its class.

    Example:
        >>> further_columns("hedging", "hedging", ["share"], [Column("share", "hedged")])
        [Column(figure='hedging', title='hedged', percent=True, bare=False)]
    """
    # a heading says of which metric it is unless the metric has no other and its own name
    bare = len(figures) == 1 and label == metric
    return [
        replace(
            column,
            figure=further_figure(label, column.figure, figures),
            title=column.title if bare else f"{label} {column.title}",
        )
        for column in columns
    ]
