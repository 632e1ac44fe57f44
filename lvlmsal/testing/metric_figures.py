"""The checks of a metric's figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lvlmsal.metrics.base import checked_rows
from lvlmsal.testing.metric_case import MetricCase, close, columns, require, same, values

_ODD_TEXTS = ("", " ", "\n", ".", "no\x00yes", "\u00a0No", "\U0001f642", "\ud800", "n't" * 500, "٣")


def check_reference(case: MetricCase) -> None:
    """The figures of growing parts of the samples are those of the reference."""
    samples = case.samples
    for size in (*range(1, min(8, len(samples))), len(samples)):
        expected = dict(case.reference(*columns(samples[:size])))
        require(
            bool(expected),
            "the reference returns no figures, so nothing is compared: return a dictionary such as "
            f"{dict.fromkeys(case.factory().figure_info, 0.5)}",
        )
        found = values(case.factory().score(*columns(samples[:size])))
        unknown = sorted(expected.keys() - found.keys())
        require(
            not unknown,
            f"the reference returns {unknown}, which are no figures of the metric; its figures: "
            f"{list(found)}",
        )
        common = {name: found[name] for name in expected}
        require(
            same(common, expected, case.tolerance),
            f"of the first {size} samples the figures are {common}, the reference says {expected}",
        )


def check_empty(case: MetricCase) -> None:
    """Of no samples, a ratio is nan and a number is 0."""
    wrong = {
        name: value
        for name, value in values(case.factory().score([], [])).items()
        if not math.isnan(value) and value != 0
    }
    require(
        not wrong,
        "of no samples "
        + ", ".join(f"{name} is {value}" for name, value in wrong.items())
        + "; expected nan for a ratio and 0 for a number",
    )


def check_odd_texts(case: MetricCase) -> None:
    """Any text is an answer."""
    targets = itertools.cycle(target for _, target in case.samples)
    for text, target in zip(_ODD_TEXTS, targets, strict=False):
        shown = repr(text if len(text) < 40 else f"{text[:37]}...")
        try:
            found = values(case.factory().score([text], [target]))
        except Exception as error:  # of the metric's own code
            raise AssertionError(
                f"the answer {shown} raises {type(error).__name__}: {error}; expected counts, as "
                "of any other text"
            ) from error
        wrong = [name for name, value in found.items() if math.isinf(value)]
        require(not wrong, f"of the answer {shown} alone {', '.join(wrong)} is infinite")


def check_rates(case: MetricCase) -> None:
    """What `rates` names is a share of whole trials, and what `figures` says it is."""
    metric = case.factory()
    rows = checked_rows(metric, *columns(case.samples))
    for counts in (*rows, rows.sum(0)):
        figures = values(metric.figures(counts))
        named = dict(zip(metric.count_names, counts.tolist(), strict=True))
        for name, (above, below) in metric.rates.items():
            value = figures[name]
            require(
                math.isnan(value) or 0 <= value <= 1,
                f"{name} is in `rates`, so it is a share from 0 to 1, and of the counts {named} it "
                f"is {value}",
            )
            require(
                named[above].is_integer() and named[below].is_integer(),
                f"{name} is in `rates`, so it is a number of successes among trials, and these are "
                f"not whole numbers: {named}",
            )
            expected = named[above] / named[below] if named[below] else math.nan
            require(
                close(value, expected, 1e-12),
                f"`rates` says {name} = {above} / {below} = {expected}, `figures` says {value}, "
                f"of the counts {named}",
            )


def check_many_sums(case: MetricCase) -> None:
    """Many sums of counts at once, as the bootstrap has them, give what each gives alone."""
    metric = case.factory()
    rows = checked_rows(metric, *columns(case.samples))
    stacked = torch.stack([rows, rows.cumsum(0)])
    figures: Mapping[str, Any] = metric.figures(stacked)
    for name, found in figures.items():
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        require(
            shape == tuple(stacked.shape[:-1]),
            f"of counts of shape {tuple(stacked.shape)} the figure {name} has shape {shape}, "
            f"expected {tuple(stacked.shape[:-1])}",
        )
        for place in itertools.product(*map(range, found.shape)):
            alone = float(metric.figures(stacked[place])[name])
            require(
                close(float(found[place]), alone, 1e-12),
                f"of the counts {stacked[place].tolist()} the figure {name} is "
                f"{float(found[place])} among many sums and {alone} alone",
            )
