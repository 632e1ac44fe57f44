"""The answers of one cell as counts, and what two cells have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypedDict

import torch
from torch import Tensor

from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.evaluation.results.records import Record, text_of
from lvlmsal.evaluation.results.schema import Bounds, Cost, McNemarTest
from lvlmsal.metrics.base import CountMetric, checked_rows
from lvlmsal.metrics.further import further_figure
from lvlmsal.registry import options_of
from lvlmsal.statistics.intervals import Interval
from lvlmsal.statistics.paired import mcnemar, paired_difference


@dataclass(frozen=True)
class Scored:
    """The answers of one model with one method on one benchmark, as counts.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        benchmark: Label of the benchmark.
        metric: The benchmark's metric, or a further one.
        records: Records of the samples, ordered by sample id, those that failed among them.
        failed: How many samples have no answer; what they count as, the metric says.
        seed: Seed of the answers.
        further: The metrics that the config names next to the benchmark's own, by label.
        label: Of the metric, if it is a further one.
    """

    model: str
    method: str
    benchmark: str
    metric: CountMetric
    records: list[Record]
    failed: int
    seed: int = 0
    further: Mapping[str, CountMetric] = field(default_factory=dict)
    label: str = ""

    @cached_property
    def parts(self) -> dict[str, Scored]:
        """The same answers under each metric, by label: its own, without a label, comes first."""
        further = {
            label: replace(self, metric=metric, label=label, further={})
            for label, metric in self.further.items()
        }
        return {self.label: self, **further}

    def figure(self, name: str) -> str:
        """What the run calls a figure of the metric."""
        return further_figure(self.label, name, self.metric.figure_info) if self.label else name

    @cached_property
    def rows(self) -> Tensor:
        """Counts, one row per sample.

        Raises:
            DataError: A record holds a target that the metric does not know.
        """
        try:
            answered = [record for record in self.records if record["status"] == "ok"]
            found = checked_rows(
                self.metric,
                [text_of(record) for record in answered],
                [record["target"] for record in answered],
            )
            if not self.failed:
                return found
            rows = self.failed_rows.new_empty(len(self.records), found.shape[-1])
            is_answered = torch.tensor([r["status"] == "ok" for r in self.records])
            rows[is_answered], rows[~is_answered] = found, self.failed_rows
            return rows
        except LvlmsalError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            where = f"records of {self.benchmark} by {self.model} with {self.method}"
            where += f" under the metric {self.label!r}" if self.label else ""
            known = isinstance(error, ValueError | TypeError)
            said = str(error) if known else f"{type(error).__name__}: {error}"
            raise DataError(f"{where}: {said}") from error

    @cached_property
    def failed_rows(self) -> Tensor:
        """What the samples that failed add to the counts, one row each."""
        failed = [record["target"] for record in self.records if record["status"] != "ok"]
        return self.metric.failed_rows(failed)

    @cached_property
    def groups(self) -> list[str]:
        """Group (image) of each sample."""
        return [record["group"] for record in self.records]

    @property
    def clustered(self) -> bool:
        """Whether some answers are about the same image, and so depend on each other."""
        return len(set(self.groups)) < len(self.groups)


class Paired(TypedDict):
    """What a cell does otherwise than another on the samples that both were asked.

    Attributes:
        pairs: How many samples both were asked.
        differences: Of the figures, with intervals that resample images.
        changed: How many answers are not word for word the same, where both have answered.
        tokens_changed: At how many positions their tokens differ, those that only one has included;
            None where records hold no tokens.
        mcnemar: McNemar's test, where the metric calls each answer right or wrong.
    """

    pairs: int
    differences: dict[str, Bounds]
    changed: int
    tokens_changed: int | None
    mcnemar: McNemarTest | None


def parts_of(*cells: Scored) -> list[tuple[Scored, ...]]:
    """Cells under their own metric, then under each further one that all of them have alike."""
    first, *others = cells
    return [
        tuple(cell.parts[label] for cell in cells) if label else cells
        for label, part in first.parts.items()
        if not label or all(_has(other, part) for other in others)
    ]


def _has(cell: Scored, part: Scored) -> bool:
    """Whether a cell has the further metric of a part of another one."""
    mine = cell.further.get(part.label)
    return mine is not None and _means(mine) == _means(part.metric)


def _means(metric: CountMetric) -> tuple[str, dict[str, object], object]:
    return metric.name, options_of(metric), getattr(metric, "variant", None)


def pairs_of(cell: Scored, other: Scored) -> tuple[list[int], list[int]]:
    """Positions of the samples that both were asked."""
    places = {record["sample_id"]: index for index, record in enumerate(other.records)}
    mine = [i for i, record in enumerate(cell.records) if record["sample_id"] in places]
    return mine, [places[cell.records[index]["sample_id"]] for index in mine]


def paired(cell: Scored, other: Scored, *, samples: int, seed: int) -> Paired:
    """What a cell does otherwise than another on the samples that both were asked.

    Args:
        cell: The answers.
        other: What they are compared with.
        samples: Number of resamples.
        seed: Seed of the resamples.
    """
    mine, theirs = pairs_of(cell, other)
    differences: dict[str, Bounds] = {}
    for part, its_other in parts_of(cell, other):
        found = paired_difference(
            part.rows[mine],
            its_other.rows[theirs],
            [cell.groups[index] for index in mine],
            part.metric.figures,
            draws=samples,
            seed=seed,
        )
        differences |= {part.figure(name): bounds_of(found[name]) for name in found}
    asked = [(cell.records[i], other.records[k]) for i, k in zip(mine, theirs, strict=True)]
    both = [(a, b) for a, b in asked if a["status"] == b["status"] == "ok"]
    return {
        "pairs": len(asked),
        "differences": differences,
        "changed": sum(a["answer"] != b["answer"] for a, b in both),
        "tokens_changed": _tokens_changed(both),
        "mcnemar": mcnemar_of(cell, other),
    }


def bounds_of(interval: Interval) -> Bounds:
    """An interval as JSON has it."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _tokens_changed(both: Sequence[tuple[Record, Record]]) -> int | None:
    """Positions at which token ids differ; None where records hold none."""
    if not all("token_ids" in a and "token_ids" in b for a, b in both):
        return None
    token_ids: list[tuple[list[int], list[int]]] = [
        (a["token_ids"], b["token_ids"]) for a, b in both
    ]
    return sum(
        sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b)) for a, b in token_ids
    )


def mcnemar_of(cell: Scored, other: Scored) -> McNemarTest | None:
    """McNemar's test, where the metric calls every answer right or wrong.

    Such a metric has a rate whose count below the bar is 1 for every answer.

    Returns:
        ``figure``, the rate that is tested; ``only_this`` and ``only_other``, the samples that only
        one of the two got; ``p_value``; and ``independent``, false where several samples are about
        one image, which the test does not allow for. None for any other metric.
    """
    mine, theirs = pairs_of(cell, other)
    if not mine:
        return None
    found = outcomes_of(cell.metric, torch.cat([cell.rows[mine], other.rows[theirs]]))
    if found is None:
        return None
    figure, hits = found
    test = mcnemar(hits[: len(mine)], hits[len(mine) :])
    return {
        "figure": figure,
        "only_this": test.only_a,
        "only_other": test.only_b,
        "p_value": test.p_value,
        "independent": not cell.clustered,
    }


def outcomes_of(metric: CountMetric, rows: Tensor) -> tuple[str, list[bool]] | None:
    """What every answer did on its own, where the metric has a rate of all answers.

    Args:
        metric: The metric.
        rows: Its counts, one row per sample.

    Returns:
        The rate, such as ``accuracy``, and for each sample whether it counts above the bar; None
        where no rate counts every sample exactly once below the bar.
    """
    names = list(metric.count_names)
    for figure, (above, below) in metric.rates.items():
        hits, trials = rows[:, names.index(above)], rows[:, names.index(below)]
        if bool((trials == 1).all()) and bool(((hits == 0) | (hits == 1)).all()):
            return figure, (hits == 1).tolist()
    return None


def cost_of(records: Sequence[Record]) -> Cost:
    """What answers took.

    Returns:
        ``ms_per_token``; ``forwards_per_token``, passes of the batches that the answers were part
        of; ``peak_memory`` in bytes, the most that any batch needed. None where it is not known.
    """
    tokens = sum(record["new_tokens"] for record in records)
    seconds = sum(record["seconds"] for record in records)
    forwards = sum(record.get("forwards") or 0 for record in records)
    return {
        "ms_per_token": 1000 * seconds / tokens if tokens and seconds else None,
        "forwards_per_token": forwards / tokens if tokens and forwards else None,
        "peak_memory": max((r.get("peak_memory") or 0 for r in records), default=0) or None,
    }


def mean_figures(
    figures: Callable[[Tensor], Mapping[str, Tensor]], seeds: int
) -> Callable[[Tensor], dict[str, Tensor]]:
    """Figures of counts that stand side by side, one block a seed: the mean over the blocks."""

    def mean(counts: Tensor) -> dict[str, Tensor]:
        parts = [figures(part) for part in counts.chunk(seeds, dim=-1)]
        return {name: torch.stack([p[name] for p in parts]).mean(0) for name in parts[0]}

    return mean
