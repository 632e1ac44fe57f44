"""`check_metric`: what every metric must do, whoever wrote it."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from lvlmsal.errors import ConfigError
from lvlmsal.metrics.base import CountMetric, SetMetric
from lvlmsal.metrics.torch_metric import TorchMetric
from lvlmsal.registry import METRICS, options_of
from lvlmsal.testing.processes import gloo_reports

Sample = tuple[str, Any]
"""An answer and its target."""
Reference = Callable[[Sequence[str], Sequence[Any]], Mapping[str, float]]
"""An independent way to the figures, slow and plain; nan where a figure is undefined."""

_ODD_TEXTS = ("", " ", "\n", ".", "no\x00yes", "\u00a0No", "\U0001f642", "\ud800", "n't" * 500, "٣")


def check_metric(
    factory: Callable[[], CountMetric],
    samples: Sequence[Sample],
    reference: Reference,
    *,
    processes: int = 2,
    tolerance: float = 1e-9,
) -> None:
    """Check a metric against an independent reference and against itself.

    Checked are: the declarations; the figures of all samples and of growing parts of them; that
    batches, order, pickling and distribution over processes change nothing; that no samples at all
    and odd texts give defined results; that proportions stay within 0 and 1; that many sums at once
    give what each gives alone; that unknown options are refused and that the options rebuild it.

    Args:
        factory: Builds the metric, without samples.
        samples: At least four answers with their targets, among them easy and hard ones.
        reference: Computes the figures in another way; it may leave out figures.
        processes: Number of processes among which the samples are distributed by gloo; below 2 this
            check is left out (it takes some seconds to start them).
        tolerance: Largest difference from the reference.

    Raises:
        AssertionError: Something does not hold; the message says what.
        ValueError: There are too few samples to check anything.
    """
    if len(samples) < 4:
        raise ValueError(f"check_metric needs at least four samples, got {len(samples)}")
    _check_declarations(factory())
    _check_rows(factory(), samples)
    _check_reference(factory, samples, reference, tolerance)
    _check_merging(factory, samples)
    _check_empty(factory)
    _check_odd_texts(factory, samples)
    _check_bounds(factory(), samples)
    _check_vectorised(factory(), samples)
    _check_state(factory, samples)
    _check_options(factory())
    if processes > 1:
        _check_processes(TorchMetric(factory()), samples, processes)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _filled(factory: Callable[[], CountMetric], samples: Sequence[Sample]) -> TorchMetric:
    metric = TorchMetric(factory())
    metric.update(*_columns(samples))
    return metric


def _columns(samples: Sequence[Sample]) -> tuple[list[str], list[Any]]:
    return [answer for answer, _ in samples], [target for _, target in samples]


def _values(figures: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


def _same(a: Mapping[str, float], b: Mapping[str, float], tolerance: float = 0.0) -> bool:
    """Equal figures; counts are whole numbers in float64, so their sums leave no rounding."""
    return a.keys() == b.keys() and all(_close(a[name], b[name], tolerance) for name in a)


def _close(a: float, b: float, tolerance: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or abs(a - b) <= tolerance


def _check_declarations(metric: CountMetric) -> None:
    names = metric.count_names
    _require(bool(metric.summary), "`summary` is empty: say in one line what is measured")
    _require(bool(names), "`count_names` is empty: name the columns of `rows`")
    _require(len(set(names)) == len(names), f"`count_names` has duplicates: {names}")
    figures = list(metric.figures(torch.zeros(len(names), dtype=torch.float64)))
    declared = list(metric.figure_info)
    _require(figures == declared, f"`figure_info` lists {declared}, `figures` returns {figures}")
    unknown = [column.figure for column in metric.columns if column.figure not in figures]
    _require(not unknown, f"`columns` shows {unknown}, which `figures` does not return")
    for figure, pair in metric.rates.items():
        known = figure in figures and set(pair) <= set(names)
        _require(known, f"`rates` has {figure!r}: {pair}, which are no figure and counts")


def _check_rows(metric: CountMetric, samples: Sequence[Sample]) -> None:
    rows = metric.rows(*_columns(samples))
    expected = (len(samples), len(metric.count_names))
    _require(tuple(rows.shape) == expected, f"`rows` has shape {tuple(rows.shape)}, not {expected}")
    _require(rows.dtype == torch.float64, f"`rows` is of {rows.dtype}, not torch.float64")
    _require(bool(rows.isfinite().all()), "`rows` holds nan or infinity; only figures may be nan")
    if isinstance(metric, SetMetric):
        return
    alone = torch.cat([metric.rows([answer], [target]) for answer, target in samples])
    _require(torch.equal(rows, alone), "a row depends on the other samples of its batch")


def _check_reference(
    factory: Callable[[], CountMetric],
    samples: Sequence[Sample],
    reference: Reference,
    tolerance: float,
) -> None:
    for size in (*range(1, min(8, len(samples))), len(samples)):
        expected = dict(reference(*_columns(samples[:size])))
        _require(bool(expected), "the reference returns no figures, so nothing is compared")
        found = _values(factory().score(*_columns(samples[:size])))
        common = {name: found[name] for name in expected if name in found}
        _require(
            _same(common, expected, tolerance),
            f"of {size} samples the figures are {common}, the reference says {expected}",
        )


def _check_merging(factory: Callable[[], CountMetric], samples: Sequence[Sample]) -> None:
    whole = _values(_filled(factory, samples).compute())
    for cut in range(len(samples) + 1):
        metric = TorchMetric(factory())
        for part in (samples[:cut], samples[cut:]):
            metric.update(*_columns(part))
        _require(
            _same(_values(metric.compute()), whole),
            f"{cut} samples and then the others give another result than all at once",
        )
    # merge_state is how torchmetrics joins what different machines or runs have counted
    first, second = _filled(factory, samples[:2]), _filled(factory, samples[2:])
    first.merge_state(second)
    _require(_same(_values(first.compute()), whole), "merged states differ from the whole")
    shuffler = random.Random(0)
    for _ in range(5):
        order = shuffler.sample(list(samples), len(samples))
        result = _values(_filled(factory, order).compute())
        _require(_same(result, whole), "the result depends on the order of the samples")


def _check_empty(factory: Callable[[], CountMetric]) -> None:
    for name, value in _values(factory().score([], [])).items():
        _require(
            math.isnan(value) or value == 0,
            f"of no samples {name} is {value}: a ratio must be nan and a number 0",
        )


def _check_odd_texts(factory: Callable[[], CountMetric], samples: Sequence[Sample]) -> None:
    targets = [target for _, target in samples]
    texts = list(_ODD_TEXTS)
    found = factory().score(texts, list(itertools.islice(itertools.cycle(targets), len(texts))))
    _require(
        not any(map(math.isinf, _values(found).values())),
        "odd texts (empty, control characters, other scripts) make a figure infinite",
    )


def _check_bounds(metric: CountMetric, samples: Sequence[Sample]) -> None:
    rows = metric.rows(*_columns(samples))
    for counts in (*rows, rows.sum(0)):
        figures = _values(metric.figures(counts))
        named = dict(zip(metric.count_names, counts.tolist(), strict=True))
        for name, (above, below) in metric.rates.items():
            value = figures[name]
            _require(
                math.isnan(value) or 0 <= value <= 1, f"{name} is {value}, beyond 0 and 1: {named}"
            )
            _require(
                named[above].is_integer() and named[below].is_integer(),
                f"{name} is in `rates`, so it is a number of successes among trials, and these are "
                f"not whole numbers: {named}",
            )
            expected = named[above] / named[below] if named[below] else math.nan
            _require(
                _close(value, expected, 1e-12),
                f"`rates` says {name} = {above} / {below} = {expected}, `figures` says {value}",
            )


def _check_vectorised(metric: CountMetric, samples: Sequence[Sample]) -> None:
    rows = metric.rows(*_columns(samples))
    stacked = torch.stack([rows, rows.cumsum(0)])
    for name, values in metric.figures(stacked).items():
        _require(
            values.shape == stacked.shape[:-1],
            f"{name} of counts of shape {tuple(stacked.shape)} has shape {tuple(values.shape)}",
        )
        for place in itertools.product(*map(range, values.shape)):
            alone = float(metric.figures(stacked[place])[name])
            _require(
                _close(float(values[place]), alone, 1e-12),
                f"{name} of many sums at once differs from {name} of one",
            )


def _check_state(factory: Callable[[], CountMetric], samples: Sequence[Sample]) -> None:
    metric = _filled(factory, samples)
    whole = _values(metric.compute())
    copy = pickle.loads(pickle.dumps(metric))
    _require(_same(_values(copy.compute()), whole), "a pickled copy gives another result")
    copy.update(*_columns(samples[:1]))
    longer = _values(_filled(factory, [*samples, samples[0]]).compute())
    _require(_same(_values(copy.compute()), longer), "a pickled copy does not go on counting")
    metric.reset()
    _require(not metric.counts.any(), "`reset` leaves counts behind")
    batch = _values(metric(*_columns(samples[:2])))
    _require(
        _same(batch, _values(_filled(factory, samples[:2]).compute())),
        "calling the metric on a batch does not return the figures of that batch",
    )


def _check_options(metric: CountMetric) -> None:
    build = cast(Callable[..., CountMetric], type(metric))
    try:
        build(no_such_option=1)
    except ConfigError as error:
        _require(
            "no_such_option" in str(error), "the refusal of an unknown option does not name it"
        )
    else:
        raise AssertionError("an unknown option is accepted")
    if metric.name in METRICS and METRICS.get(metric.name) is type(metric):
        again = METRICS.build(metric.name, **options_of(metric))
        _require(options_of(again) == options_of(metric), "the options do not rebuild the metric")


def _check_processes(metric: TorchMetric, samples: Sequence[Sample], processes: int) -> None:
    """Each process counts every n-th sample; all of them must then report the whole."""
    reports = gloo_reports(metric, samples, processes)
    metric.update(*_columns(samples))
    whole = _values(metric.compute())
    for report in reports:
        _require(
            isinstance(report, dict) and _same(report, whole),
            f"{processes} processes report {report}, one process {whole}",
        )
