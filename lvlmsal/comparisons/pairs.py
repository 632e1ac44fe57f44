"""Paired differences between rows of different runs, or of different models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lvlmsal.comparisons.reading import Row
from lvlmsal.evaluation.results.records import finite
from lvlmsal.evaluation.results.scored import Paired, Scored, paired
from lvlmsal.evaluation.results.seeds import mean_differences


@dataclass(frozen=True)
class Pair:
    """Two rows whose models were asked the same samples.

    Attributes:
        row: What is compared.
        other: What it is compared with.
        found: ``pairs``, ``differences`` by figure, ``changed``, ``tokens_changed`` and
            ``mcnemar``, see `lvlmsal.evaluation.results.scored.paired`.
    """

    row: Row
    other: Row
    found: Paired


def pairs_between(rows: Sequence[Row], *, samples: int, seed: int) -> list[Pair]:
    """Compare each row with those of earlier runs and models, sample by sample.

    Methods are paired by name, and so are models; where two runs have no method (or no model) in
    common, each is paired with each.

    Args:
        rows: Rows of one benchmark, in the order of the runs.
        samples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        A pair for each two rows that were asked the same samples under the same metric, with at
        least one seed in common where both have several.
    """
    return [
        Pair(row, other, compared(row, other, samples=samples, seed=seed))
        for other, row in candidates(rows)
        if row.digest == other.digest
        and row.traits["metrics"] == other.traits["metrics"]
        and any(_by_seed(row.cells, other.cells))
    ]


def candidates(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Earlier and later row of each pair, as their names tell."""
    runs = list(dict.fromkeys(row.run for row in rows))
    by_run = {run: [row for row in rows if row.run == run] for run in runs}
    for place, run in enumerate(runs):
        mine = by_run[run]
        for index, row in enumerate(mine):
            # models of one run under the same method
            yield from (
                (other, row)
                for other in mine[:index]
                if other.method == row.method and other.model != row.model
            )
        for earlier in runs[:place]:
            theirs = by_run[earlier]
            methods = {r.method for r in mine} & {r.method for r in theirs}
            models = {r.model for r in mine} & {r.model for r in theirs}
            yield from (
                (other, row)
                for row in mine
                for other in theirs
                if (not methods or row.method == other.method)
                and (not models or row.model == other.model)
            )


def compared(row: Row, other: Row, *, samples: int, seed: int) -> Paired:
    """What a row does differently from another, as `Pair.found`; over the seeds that both have.

    Args:
        row: What is compared.
        other: What it is compared with; it was asked the same samples.
        samples: Number of resamples.
        seed: Seed of the resamples.
    """
    pairs = list(_by_seed(row.cells, other.cells))
    each = [paired(cell, theirs, samples=samples, seed=seed) for cell, theirs in pairs]
    if len(each) == 1:
        only: Paired = finite(each[0])
        return only
    tokens = [found["tokens_changed"] for found in each if found["tokens_changed"] is not None]
    found: Paired = {
        "pairs": sum(one["pairs"] for one in each),
        "differences": mean_differences(pairs, samples=samples, seed=seed),
        "changed": sum(one["changed"] for one in each),
        "tokens_changed": sum(tokens) if len(tokens) == len(each) else None,
        "mcnemar": None,
    }
    cleaned: Paired = finite(found)
    return cleaned


def _by_seed(cells: Sequence[Scored], others: Sequence[Scored]) -> Iterator[tuple[Scored, Scored]]:
    """Cells of the same seed; where one side has one seed only, it is paired with all others."""
    if len(others) == 1 or len(cells) == 1:
        yield from ((cell, other) for cell in cells for other in others)
        return
    found = {other.seed: other for other in others}
    yield from ((cell, found[cell.seed]) for cell in cells if cell.seed in found)
