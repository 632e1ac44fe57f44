"""`check_metric`: what every metric must do, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lvlmsal.metrics.base import CountMetric
from lvlmsal.testing.checks import Check, Failures
from lvlmsal.testing.metric_case import MetricCase, Reference, Sample
from lvlmsal.testing.metric_figures import (
    check_empty,
    check_many_sums,
    check_odd_texts,
    check_rates,
    check_reference,
)
from lvlmsal.testing.metric_rows import (
    check_declarations,
    check_merging,
    check_options,
    check_processes,
    check_rows,
    check_state,
)


def check_metric(
    factory: Callable[[], CountMetric],
    samples: Sequence[Sample],
    reference: Reference,
    *,
    processes: int = 2,
    tolerance: float = 1e-9,
) -> None:
    """Run all of :data:`METRIC_CHECKS` on a metric.

    It is held against an independent reference and against itself; all checks run, whatever fails.

    Args:
        factory: Builds the metric, without samples.
        samples: At least four answers with their targets, among them easy and hard ones.
        reference: Computes the figures in another way; it may leave out figures.
        processes: Number of processes among which the samples are distributed by gloo; below 2 this
            check is left out (it takes some seconds to start them).
        tolerance: Largest difference from the reference.

    Raises:
        AssertionError: Something does not hold; the message says all that does not.
        ValueError: There are too few samples to check anything.

    >>> from lvlmsal.benchmarks.pope.metric import PopeMetric
    >>> answers = ["yes", "no", "Yes, one.", "No"]
    >>> labels = ["yes", "yes", "no", "no"]
    >>> def reference(answers, labels):
    ...     said = [answer[:1].lower() for answer in answers]
    ...     right = sum(a == label[:1] for a, label in zip(said, labels))
    ...     return {"accuracy": right / len(answers)}
    >>> check_metric(PopeMetric, list(zip(answers, labels)), reference, processes=1)
    """
    if len(samples) < 4:
        raise ValueError(f"check_metric needs at least four samples, got {len(samples)}")
    case = MetricCase(factory, tuple(samples), reference, processes, tolerance)
    failures = Failures()
    failures.run(case.name, METRIC_CHECKS, lambda: case)
    failures.raise_any()


METRIC_CHECKS: Final[dict[str, Check[MetricCase]]] = {
    "declarations": Check(
        check_declarations, "a figure or a count was renamed in one place and not in the others"
    ),
    "rows": Check(
        check_rows,
        "a mean, a maximum or a word list of the whole batch goes into the rows, or the object "
        "remembers earlier answers",
    ),
    "reference": Check(
        check_reference, "the two read an answer otherwise: try them on one sample after the other"
    ),
    "merging": Check(
        check_merging,
        "the object keeps something of the samples, where only sums of rows are kept; or the units "
        "of a `SetMetric` depend on the order of its samples",
    ),
    "empty": Check(
        check_empty,
        "a small number was added to a denominator: divide by the count itself, 0 / 0 is nan",
    ),
    "odd texts": Check(
        check_odd_texts, "a model may say anything, nothing too: a text without words counts zero"
    ),
    "rates": Check(
        check_rates,
        "`rates` is for shares of whole trials, which get Wilson's interval; leave a mean of "
        "fractions out of it, it is resampled",
    ),
    "many sums": Check(
        check_many_sums,
        "`figures` takes the counts for a single sum: index the last axis, `counts[..., 0]` or "
        "`counts.unbind(-1)`, and use no float() and no `if` on a tensor",
    ),
    "state": Check(
        check_state, "the object holds what cannot be pickled, or keeps something of the samples"
    ),
    "options": Check(
        check_options,
        "the class is no dataclass, or has an `__init__` of its own: options are its fields, and "
        "`__post_init__` checks them",
    ),
    "processes": Check(check_processes, "the same as of `merging`; look at that one first"),
}
"""All checks by name, for those who want to run them one by one."""
