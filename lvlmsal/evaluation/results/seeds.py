"""Figures over several seeds: their mean, their spread, and an interval over all answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lvlmsal.evaluation.results.schema import Bounds, Cell, Figure, IntervalKind, Summary
from lvlmsal.evaluation.results.scored import (
    Scored,
    bounds_of,
    cost_of,
    mean_figures,
    pairs_of,
    parts_of,
)
from lvlmsal.statistics.bootstrap import bootstrap_interval
from lvlmsal.statistics.intervals import wilson
from lvlmsal.statistics.paired import paired_difference

Pair = tuple[Scored, Scored]
"""The answers of a method with one seed, and those that they are compared with."""


def over_seeds(
    cells: Sequence[Scored],
    entries: Sequence[Cell],
    pairs: Sequence[Pair],
    *,
    samples: int,
    seed: int,
) -> Summary:
    """One entry for the cells of a method that differ in their seed only.

    The value of a figure is its mean over the seeds. Its interval resamples images with the answers
    of all seeds to them, so it says how sure the mean over these seeds is of other images; the
    spread over the seeds (standard deviation, smallest and largest) says what another seed would
    have given.

    Args:
        cells: The cells.
        entries: What ``results.json`` says of each.
        pairs: Each cell with what it is compared with; none where there is nothing to compare with.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        An entry of the same form as those of single seeds, with the keys ``seeds`` and, for each
        figure, ``std``, ``min`` and ``max``.
    """
    first = entries[0]
    records = [record for cell in cells for record in cell.records]
    seconds = sum(record["seconds"] for record in records)
    tokens = sum(entry["new_tokens"] for entry in entries)
    differences = mean_differences(pairs, samples=samples, seed=seed) if pairs else {}
    summary: Summary = {
        "model": first["model"],
        "method": first["method"],
        "benchmark": first["benchmark"],
        "metric": first["metric"],
        "metric_options": first["metric_options"],
        "variant": first["variant"],
        "seeds": [cell.seed for cell in cells],
        "n": sum(entry["n"] for entry in entries),
        "failed": sum(entry["failed"] for entry in entries),
        "groups": len({group for cell in cells for group in cell.groups}),
        "compared_with": first["compared_with"],
        "decoder_differs": first["decoder_differs"],
        "changed": _sum([entry["changed"] for entry in entries]),
        "tokens_changed": _sum([entry["tokens_changed"] for entry in entries]),
        "mcnemar": None,
        "new_tokens": tokens,
        "tokens_per_second": tokens / seconds if seconds else None,
        "cost": cost_of(records),
        "figures": {
            name: figure
            for parts in parts_of(*cells)
            for name, figure in _figures(
                parts, entries, differences, samples=samples, seed=seed
            ).items()
        },
    }
    if "metrics" in first:
        summary["metrics"] = first["metrics"]
    if "saliency_row" in first:
        summary["saliency_row"] = first["saliency_row"]
    return summary


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _figures(
    cells: Sequence[Scored],
    entries: Sequence[Cell],
    differences: Mapping[str, Bounds],
    *,
    samples: int,
    seed: int,
) -> dict[str, Figure]:
    groups = {r["sample_id"]: r["group"] for cell in cells for r in cell.records}
    ids = sorted(groups, key=str)
    places = [[str(r["sample_id"]) for r in cell.records] for cell in cells]
    rows = torch.cat(
        [
            _placed(cell.rows, own, [str(i) for i in ids])
            for cell, own in zip(cells, places, strict=True)
        ],
        dim=-1,
    )
    metric = cells[0].metric
    found = bootstrap_interval(
        rows,
        [groups[sample] for sample in ids],
        mean_figures(metric.figures, len(cells)),
        draws=samples,
        seed=seed,
    )
    figures: dict[str, Figure] = {}
    for own_name, interval in found.items():
        name = cells[0].figure(own_name)
        kind: IntervalKind = "bootstrap"
        if own_name in metric.rates and interval.value in (0.0, 1.0):
            interval, kind = wilson(interval.value * interval.n, interval.n), "wilson over groups"
        values = [entry["figures"][name]["value"] for entry in entries]
        spread = torch.tensor(values, dtype=torch.float64)
        figures[name] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "interval": kind,
            "std": spread.std().item(),
            "min": spread.min().item(),
            "max": spread.max().item(),
            "higher_is_better": entries[0]["figures"][name]["higher_is_better"],
            "difference": differences.get(name),
        }
    return figures


def _placed(rows: Tensor, own: Sequence[str], ids: Sequence[str]) -> Tensor:
    """Rows in the order of all ids, with zeros where there is none."""
    places = {sample: index for index, sample in enumerate(ids)}
    found = torch.zeros(len(ids), rows.shape[-1], dtype=rows.dtype)
    found[[places[sample] for sample in own]] = rows
    return found


def mean_differences(pairs: Sequence[Pair], *, samples: int, seed: int) -> dict[str, Bounds]:
    """The mean over seeds of what `paired` finds of each."""
    flat = [cell for pair in pairs for cell in pair]
    return {
        name: bounds
        for parts in parts_of(*flat)
        for name, bounds in _mean_differences(
            list(zip(parts[::2], parts[1::2], strict=True)), samples=samples, seed=seed
        ).items()
    }


def _mean_differences(pairs: Sequence[Pair], *, samples: int, seed: int) -> dict[str, Bounds]:
    """The same under one metric."""
    both = [(cell, other, *pairs_of(cell, other)) for cell, other in pairs]
    groups = {
        str(cell.records[index]["sample_id"]): cell.groups[index]
        for cell, _, mine, _ in both
        for index in mine
    }
    ids = sorted(groups)
    first, second = [], []
    for cell, other, mine, theirs in both:
        own = [str(cell.records[index]["sample_id"]) for index in mine]
        first.append(_placed(cell.rows[mine], own, ids))
        second.append(_placed(other.rows[theirs], own, ids))
    cell = pairs[0][0]
    found = paired_difference(
        torch.cat(first, -1),
        torch.cat(second, -1),
        [groups[sample] for sample in ids],
        mean_figures(cell.metric.figures, len(pairs)),
        draws=samples,
        seed=seed,
    )
    return {cell.figure(name): bounds_of(interval) for name, interval in found.items()}
