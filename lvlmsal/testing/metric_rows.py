"""The checks of a metric's declarations and counts, and of everything that adds counts up."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from typing import cast

import torch

from lvlmsal.errors import ConfigError
from lvlmsal.metrics.base import CountMetric, SetMetric, checked_rows
from lvlmsal.metrics.torch_metric import TorchMetric
from lvlmsal.registry import METRICS, options_of
from lvlmsal.testing.metric_case import MetricCase, Sample, columns, require, same, values
from lvlmsal.testing.processes import gloo_reports


def check_declarations(case: MetricCase) -> None:
    """What the class says of its counts and figures fits what it returns."""
    metric = case.factory()
    names = metric.count_names
    require(bool(metric.summary), "`summary` is empty: say in one line what is measured")
    require(bool(names), "`count_names` is empty: name the columns of `rows`")
    require(len(set(names)) == len(names), f"`count_names` names a count twice: {names}")
    found = list(metric.figures(torch.zeros(len(names), dtype=torch.float64)))
    declared = list(metric.figure_info)
    require(
        found == declared,
        f"`figure_info` lists {declared}, `figures` returns {found}: expected the same names in "
        "the same order",
    )
    unknown = [column.figure for column in metric.columns if column.figure not in found]
    require(
        not unknown,
        f"`columns` shows {unknown}, which `figures` does not return; it returns {found}",
    )
    for figure, pair in metric.rates.items():
        require(
            figure in found and set(pair) <= set(names),
            f"`rates` has {figure!r}: {pair}, expected a figure out of {found} and two counts, "
            f"above and below the bar, out of {list(names)}",
        )


def check_rows(case: MetricCase) -> None:
    """A row for each sample, in float64, that depends on this sample alone."""
    metric = case.factory()
    rows = checked_rows(metric, *columns(case.samples))
    require(
        rows.dtype == torch.float64,
        f"`rows` returned {rows.dtype}, expected torch.float64: make it with "
        "torch.tensor(counts, dtype=torch.float64)",
    )
    for (answer, _), row in zip(case.samples, rows, strict=True):
        require(
            bool(row.isfinite().all()),
            f"`rows` returned {row.tolist()} for the answer {answer!r}, expected finite counts; "
            "only figures may be nan",
        )
    if isinstance(metric, SetMetric):
        return
    for (answer, target), row in zip(case.samples, rows, strict=True):
        alone = checked_rows(metric, [answer], [target])[0]
        require(
            torch.equal(row, alone),
            f"the row of the answer {answer!r} depends on the other samples of its batch: it is "
            f"{row.tolist()} among all of them and {alone.tolist()} alone. If that is meant (two "
            "questions that count together), derive from SetMetric",
        )


def check_merging(case: MetricCase) -> None:
    """Batches, their order and what is merged later give the figures of all samples at once."""
    samples = case.samples
    whole = case.figures(samples)
    for cut in range(len(samples) + 1):
        metric = TorchMetric(case.factory())
        for part in (samples[:cut], samples[cut:]):
            metric.update(*columns(part))
        found = values(metric.compute())
        require(
            same(found, whole),
            f"{cut} samples and then the other {len(samples) - cut} give {found}, all at once "
            f"give {whole}",
        )
    # merge_state is how torchmetrics joins what different machines or runs have counted
    first, second = case.filled(samples[:2]), case.filled(samples[2:])
    first.merge_state(second)
    found = values(first.compute())
    require(same(found, whole), f"merged states give {found}, all samples at once {whole}")
    shuffler = random.Random(0)
    for _ in range(5):
        order = shuffler.sample(range(len(samples)), len(samples))
        found = case.figures([samples[place] for place in order])
        require(
            same(found, whole),
            f"the samples in the order {order} give {found}, in the order given {whole}",
        )


def check_state(case: MetricCase) -> None:
    """A pickled copy goes on counting, and `reset` forgets everything."""
    samples = case.samples
    metric = case.filled(samples)
    whole = values(metric.compute())
    copy = pickle.loads(pickle.dumps(metric))
    found = values(copy.compute())
    require(same(found, whole), f"a pickled copy gives {found}, the metric itself {whole}")
    copy.update(*columns(samples[:1]))
    found, longer = values(copy.compute()), case.figures([*samples, samples[0]])
    require(
        same(found, longer),
        f"a pickled copy that counts one more sample gives {found}, expected {longer}",
    )
    metric.reset()
    require(not metric.counts.any(), "`reset` leaves counts behind")
    batch, expected = values(metric(*columns(samples[:2]))), case.figures(samples[:2])
    require(
        same(batch, expected),
        f"called on a batch, it returns {batch}, expected the figures of this batch {expected}",
    )


def check_options(case: MetricCase) -> None:
    """An unknown option is refused by its name, and the options rebuild the metric."""
    metric = case.factory()
    name = type(metric).__name__
    build = cast(Callable[..., CountMetric], type(metric))
    try:
        build(no_such_option=1)
    except ConfigError as error:
        require(
            "no_such_option" in str(error),
            f"{name}(no_such_option=1) is refused without naming the option: {error}",
        )
    else:
        raise AssertionError(f"{name}(no_such_option=1) is accepted, expected a ConfigError")
    if metric.name in METRICS and METRICS.get(metric.name) is type(metric):
        again = options_of(METRICS.build(metric.name, **options_of(metric)))
        require(
            again == options_of(metric),
            f"built again from its options {options_of(metric)} it has {again}",
        )


def check_processes(case: MetricCase) -> None:
    """Each process counts every n-th sample; all of them must then report the whole."""
    if case.processes > 1:
        hold_processes(TorchMetric(case.factory()), case.samples, case.processes)


def hold_processes(metric: TorchMetric, samples: Sequence[Sample], processes: int) -> None:
    """Hold what several processes report of a metric without counts against one process.

    Raises:
        AssertionError: They differ.
    """
    reports = gloo_reports(metric, samples, processes)
    metric.update(*columns(samples))
    whole = values(metric.compute())
    for report in reports:
        require(
            isinstance(report, dict) and same(report, whole),
            f"{processes} processes report {report}, one process {whole}",
        )
