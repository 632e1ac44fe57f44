"""From records to figures: a pure function that needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from lvlmsal.errors import DataError
from lvlmsal.evaluation.records import Record, finite
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.statistics import figure_intervals, paired_difference, wilson
from lvlmsal.registry import options_of


@dataclass(frozen=True)
class Scored:
    """The answers of one model with one method on one benchmark, as counts.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        benchmark: Label of the benchmark.
        metric: The benchmark's metric.
        records: Records of the answers, ordered by sample id.
        failed: How many samples have no answer.
    """

    model: str
    method: str
    benchmark: str
    metric: CountMetric
    records: list[Record]
    failed: int

    @cached_property
    def rows(self) -> Tensor:
        """Counts, one row per answer.

        Raises:
            DataError: A record holds a target that the metric does not know.
        """
        try:
            return self.metric.rows(
                [record["answer"] for record in self.records],
                [record["target"] for record in self.records],
            )
        except (ValueError, TypeError) as error:
            where = f"records of {self.benchmark} by {self.model} with {self.method}"
            raise DataError(f"{where}: {error}") from error

    @cached_property
    def groups(self) -> list[str]:
        """Group (image) of each answer."""
        return [record["group"] for record in self.records]


def score_records(
    records: Sequence[Record],
    metrics: Mapping[str, CountMetric],
    *,
    baseline: str,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the records of a run.

    Every figure comes with a 95 % interval: Wilson's for a proportion of independent answers,
    otherwise a bootstrap that resamples images, because answers about one image depend on each
    other. Differences to the baseline are paired by sample, over the samples that both answered.

    Args:
        records: Records of a run, in any order.
        metrics: The metric of each benchmark, by label.
        baseline: Name of the method that the others are compared with.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        The content of ``results.json``: JSON values only, undefined figures as null.

    Raises:
        DataError: The records hold a benchmark without a metric, or a target it does not know.
    """
    cells = _cells(records, metrics)
    results: list[dict[str, Any]] = []
    warnings: list[str] = []
    for cell in cells.values():
        other = cells.get((cell.model, baseline, cell.benchmark))
        other = None if cell.method == baseline else other
        entry = _scores(cell, other, samples=samples, seed=seed)
        results.append(entry)
        where = f"{cell.model} with {cell.method} on {cell.benchmark}"
        if entry["changed"] == 0 and cell.records:
            warnings.append(f"{where}: no answer differs from {baseline!r}")
        if cell.failed:
            warnings.append(f"{where}: {cell.failed} samples failed and are not in the figures")
    content = {
        "baseline": baseline,
        "bootstrap": {"samples": samples, "seed": seed},
        "cells": results,
        "warnings": warnings,
    }
    cleaned: dict[str, Any] = finite(content)
    return cleaned


def _cells(
    records: Sequence[Record], metrics: Mapping[str, CountMetric]
) -> dict[tuple[str, str, str], Scored]:
    """Answers by model, method and benchmark, in the order in which these first appear."""
    split: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        key = (record["model"], record["method"], record["benchmark"])
        split.setdefault(key, []).append(record)
    cells = {}
    for key, found in split.items():
        model, method, benchmark = key
        if benchmark not in metrics:
            raise DataError(
                f"the records hold answers to {benchmark!r}, which the config does not name; it "
                f"names {sorted(metrics)}"
            )
        # sorted, so that the sums do not depend on the order of the file
        good = sorted((r for r in found if r["status"] == "ok"), key=lambda r: str(r["sample_id"]))
        failed = len(found) - len(good)
        cells[key] = Scored(model, method, benchmark, metrics[benchmark], good, failed)
    return cells


def _scores(cell: Scored, other: Scored | None, *, samples: int, seed: int) -> dict[str, Any]:
    tokens = sum(record["new_tokens"] for record in cell.records)
    seconds = sum(record["seconds"] for record in cell.records)
    intervals = _intervals(cell, samples=samples, seed=seed)
    differences = {} if other is None else _differences(cell, other, samples=samples, seed=seed)
    return {
        "model": cell.model,
        "method": cell.method,
        "benchmark": cell.benchmark,
        "metric": cell.metric.name,
        "metric_options": options_of(cell.metric),
        "variant": getattr(cell.metric, "variant", None),
        "n": len(cell.records),
        "failed": cell.failed,
        "groups": len(set(cell.groups)),
        "changed": None if other is None else _changed(cell, other),
        "new_tokens": tokens,
        "tokens_per_second": tokens / seconds if seconds else None,
        "figures": {
            name: {
                **entry,
                "higher_is_better": cell.metric.figure_info[name],
                "difference": differences.get(name),
            }
            for name, entry in intervals.items()
        },
    }


def _intervals(cell: Scored, *, samples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Value and bounds of every figure, with how the bounds were found."""
    found = figure_intervals(cell.metric, cell.rows, cell.groups, draws=samples, seed=seed)
    independent = len(set(cell.groups)) == len(cell.groups)
    entries = {}
    for name, interval in found.items():
        is_rate = name in cell.metric.rates
        way = "wilson" if independent and is_rate else "bootstrap"
        if is_rate and not independent and interval.value in (0.0, 1.0):
            # no resample differs from the data, which says nothing about how sure the figure is;
            # one trial per image is the careful reading
            interval, way = wilson(interval.value * interval.n, interval.n), "wilson over groups"
        entries[name] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "interval": way,
        }
    return entries


def _pairs(cell: Scored, other: Scored) -> tuple[list[int], list[int]]:
    """Positions of the samples that both have answered."""
    places = {record["sample_id"]: index for index, record in enumerate(other.records)}
    mine = [i for i, record in enumerate(cell.records) if record["sample_id"] in places]
    return mine, [places[cell.records[index]["sample_id"]] for index in mine]


def _differences(
    cell: Scored, other: Scored, *, samples: int, seed: int
) -> dict[str, dict[str, float]]:
    mine, theirs = _pairs(cell, other)
    found = paired_difference(
        cell.rows[mine],
        other.rows[theirs],
        [cell.groups[index] for index in mine],
        cell.metric.figures,
        draws=samples,
        seed=seed,
    )
    return {
        name: {"value": interval.value, "low": interval.low, "high": interval.high}
        for name, interval in found.items()
    }


def _changed(cell: Scored, other: Scored) -> int:
    """How many answers are not word for word those of the baseline."""
    pairs = zip(*_pairs(cell, other), strict=True)
    return sum(cell.records[i]["answer"] != other.records[k]["answer"] for i, k in pairs)
