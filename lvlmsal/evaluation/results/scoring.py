"""From records to figures: a pure function that needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.controls import Opponent
from lvlmsal.evaluation.results.records import Record, finite
from lvlmsal.evaluation.results.schema import SCHEMA_VERSION, Cell, IntervalKind, Results, Summary
from lvlmsal.evaluation.results.scored import Scored, cost_of, paired
from lvlmsal.evaluation.results.seeds import over_seeds
from lvlmsal.metrics.base import CountMetric
from lvlmsal.progress import track
from lvlmsal.registry import options_of
from lvlmsal.statistics.bootstrap import figure_intervals
from lvlmsal.statistics.intervals import Interval, wilson

Opponents = Mapping[tuple[str, str], Opponent | None]
"""By model and method, see `lvlmsal.evaluation.config.controls.opponents`."""

Further = Mapping[str, Mapping[str, CountMetric]]
"""Metrics that a config names next to those of the benchmarks, by benchmark and label."""


def score_records(
    records: Sequence[Record],
    metrics: Mapping[str, CountMetric],
    *,
    baseline: str = "",
    against: Opponents | None = None,
    saliency_rows: Mapping[tuple[str, str], str] | None = None,
    further: Further | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> Results:
    """Score the records of a run.

    Every figure comes with a 95 % interval: Wilson's for a proportion of independent answers,
    otherwise a bootstrap that resamples images, because answers about one image depend on each
    other. Differences to another method are paired by sample, over the samples that both were asked
    with the same seed. A sample that failed counts as its metric says
    (`CountMetric.failed_rows`).

    Args:
        records: Records of a run, in any order.
        metrics: The metric of each benchmark, by label.
        baseline: Name of the method that all others are compared with, if there is one.
        against: What each method is compared with; by default `baseline` for all.
        saliency_rows: From which row methods that choose tokens by saliency read it, by model and
            method; noted next to the values.
        further: Metrics next to those of the benchmarks.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        The content of ``results.json``: JSON values only, undefined figures as null. Of a run,
        `score` adds what is unfinished, the judge and the paper.

    Raises:
        DataError: The records hold a benchmark without a metric, or a target it does not know.
    """
    cells = cells_of(records, metrics, further)
    if against is None:
        against = {
            (cell.model, cell.method): Opponent(baseline, decoder_differs=False)
            for cell in cells
            if baseline and cell.method != baseline
        }
    results: list[Cell] = []
    summaries: list[Summary] = []
    by_way: dict[tuple[str, str, str], list[tuple[Scored, Scored | None, Cell]]] = {}
    for cell in track(cells, "intervals"):
        opponent = against.get((cell.model, cell.method))
        other = _find(cells, cell, opponent.method) if opponent else None
        entry = _scores(cell, other, opponent if other else None, samples=samples, seed=seed)
        if row := (saliency_rows or {}).get((cell.model, cell.method)):
            entry["saliency_row"] = row
        results.append(entry)
        way = (cell.model, cell.method, cell.benchmark)
        by_way.setdefault(way, []).append((cell, other, entry))
    for found in by_way.values():
        if len(found) > 1:
            pairs = [(cell, other) for cell, other, _ in found if other is not None]
            summaries.append(
                over_seeds(
                    [cell for cell, _, _ in found],
                    [entry for _, _, entry in found],
                    pairs if len(pairs) == len(found) else [],
                    samples=samples,
                    seed=seed,
                )
            )
    content: Results = {
        "schema_version": SCHEMA_VERSION,
        "baseline": baseline,
        "bootstrap": {"samples": samples, "seed": seed},
        "cells": results,
        "over_seeds": summaries,
        "warnings": _warnings(cells, results, against),
        "unfinished": None,
        "paper": [],
    }
    cleaned: Results = finite(content)
    return cleaned


def cells_of(
    records: Sequence[Record],
    metrics: Mapping[str, CountMetric],
    further: Further | None = None,
) -> list[Scored]:
    """Answers by model, method, benchmark and seed, in the order in which these first appear.

    Args:
        records: Records of a run; a record without a ``seed`` has seed 0.
        metrics: The metric of each benchmark, by label.
        further: Metrics next to those.

    Raises:
        DataError: The records hold a benchmark without a metric.
    """
    split: dict[tuple[str, str, str, int], list[Record]] = {}
    for record in records:
        key = (record["model"], record["method"], record["benchmark"], record.get("seed", 0))
        split.setdefault(key, []).append(record)
    cells = []
    for (model, method, benchmark, number), found in split.items():
        if benchmark not in metrics:
            raise DataError(
                f"the records hold answers to {benchmark!r}, which the config does not name; it "
                f"names {sorted(metrics)}"
            )
        # sorted, so that the sums do not depend on the order of the file
        found.sort(key=lambda record: str(record["sample_id"]))
        failed = sum(record["status"] != "ok" for record in found)
        more = (further or {}).get(benchmark, {})
        metric = metrics[benchmark]
        cells.append(Scored(model, method, benchmark, metric, found, failed, number, more))
    return cells


def _find(cells: Sequence[Scored], cell: Scored, method: str) -> Scored | None:
    """The answers of another method to compare with: those of the same seed, or the only ones."""
    mine = (cell.model, method, cell.benchmark)
    found = {c.seed: c for c in cells if (c.model, c.method, c.benchmark) == mine}
    only = next(iter(found.values())) if len(found) == 1 else None
    return found.get(cell.seed, only)


def _scores(
    cell: Scored, other: Scored | None, opponent: Opponent | None, *, samples: int, seed: int
) -> Cell:
    tokens = sum(record["new_tokens"] for record in cell.records)
    seconds = sum(record["seconds"] for record in cell.records)
    found = paired(cell, other, samples=samples, seed=seed) if other else None
    differences = found["differences"] if found else {}
    entry: Cell = {
        "model": cell.model,
        "method": cell.method,
        "benchmark": cell.benchmark,
        "seed": cell.seed,
        "metric": cell.metric.name,
        "metric_options": options_of(cell.metric),
        "variant": getattr(cell.metric, "variant", None),
        "n": len(cell.records),
        "failed": cell.failed,
        "groups": len(set(cell.groups)),
        "compared_with": opponent.method if opponent else None,
        "decoder_differs": opponent.decoder_differs if opponent else None,
        "changed": found["changed"] if found else None,
        "tokens_changed": found["tokens_changed"] if found else None,
        "mcnemar": found["mcnemar"] if found else None,
        "new_tokens": tokens,
        "tokens_per_second": tokens / seconds if seconds else None,
        "cost": cost_of(cell.records),
        "figures": {
            part.figure(name): {
                "value": interval.value,
                "low": interval.low,
                "high": interval.high,
                "interval": kind,
                "higher_is_better": part.metric.figure_info[name],
                "difference": differences.get(part.figure(name)),
            }
            for part in cell.parts.values()
            for name, (interval, kind) in _intervals(part, samples=samples, seed=seed).items()
        },
    }
    if cell.further:
        entry["metrics"] = [
            {
                "label": label,
                "metric": metric.name,
                "metric_options": options_of(metric),
                "variant": getattr(metric, "variant", None),
                "figures": [cell.parts[label].figure(name) for name in metric.figure_info],
            }
            for label, metric in cell.further.items()
        ]
    return entry


def _intervals(
    cell: Scored, *, samples: int, seed: int
) -> dict[str, tuple[Interval, IntervalKind]]:
    """Value and bounds of every figure, with how the bounds were found."""
    found = figure_intervals(cell.metric, cell.rows, cell.groups, draws=samples, seed=seed)
    entries: dict[str, tuple[Interval, IntervalKind]] = {}
    for name, interval in found.items():
        is_rate = name in cell.metric.rates
        kind: IntervalKind = "bootstrap" if cell.clustered or not is_rate else "wilson"
        if is_rate and cell.clustered and interval.value in (0.0, 1.0):
            # no resample differs from the data, which says nothing about how sure the figure is;
            # one trial per image is the careful reading
            interval, kind = wilson(interval.value * interval.n, interval.n), "wilson over groups"
        entries[name] = interval, kind
    return entries


def _warnings(cells: Sequence[Scored], entries: Sequence[Cell], against: Opponents) -> list[str]:
    warnings = [
        f"{model} with {method}: the run has no control to compare it with; twins=true adds it"
        for (model, method), opponent in against.items()
        if opponent is None
    ]
    by_way: dict[tuple[str, str, str], list[tuple[Scored, Cell]]] = {}
    for cell, entry in zip(cells, entries, strict=True):
        way = (cell.model, cell.method, cell.benchmark)
        by_way.setdefault(way, []).append((cell, entry))
    for (model, method, benchmark), found in by_way.items():
        where = f"{model} with {method} on {benchmark}"
        same = [cell.seed for cell, entry in found if entry["changed"] == 0 and cell.records]
        if same:
            which = f" (seed {', '.join(map(str, same))})" if len(found) > 1 else ""
            other = found[0][1]["compared_with"]
            warnings.append(f"{where}{which}: no answer differs from {other!r}")
        failed = sum(cell.failed for cell, _ in found)
        if failed:
            # a failure is in the figures where the metric has a notion of a wrong answer
            wrong = any(cell.failed_rows.any() for cell, _ in found)
            how = "counted as wrong" if wrong else "added nothing to the figures"
            samples = "sample" if failed == 1 else "samples"
            warnings.append(f"{where}: {failed} {samples} failed and {how}")
    tested = [c for c, e in zip(cells, entries, strict=True) if e["mcnemar"] and c.clustered]
    if tested:
        benchmarks = ", ".join(dict.fromkeys(cell.benchmark for cell in tested))
        warnings.append(
            f"{benchmarks}: McNemar's test takes the answers as independent, and several are about "
            "one image; the intervals of the differences allow for that"
        )
    return warnings
