"""What the answers of a cell cost and how salient they were, read off its records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from lvlmsal.evaluation.results.records import Record


@dataclass(frozen=True)
class Cost:
    """What one model's answers with one method on one benchmark took.

    Attributes:
        ms_per_token: Wall-clock milliseconds per generated token: a batch's time over its tokens,
            the median of the batches, so that the first one's warm-up and a busy moment of the
            machine weigh little. In a batch this is the price of a token, not how long it is
            waited for. A reading on the machine of the run, no benchmark.
        fast: First quartile of the batches; None for a single batch.
        slow: Third quartile.
        batch_size: The largest batch.
        tries: Candidates looked at per token, where the decoder records them: what SGRS costs
            whatever the machine.
        saliency: Mean S(c) of the tokens, where it is known.
    """

    ms_per_token: float | None
    fast: float | None
    slow: float | None
    batch_size: int
    tries: float | None
    saliency: float | None


def sweep_cost(records: Iterable[Record], *, saliency: float | None = None) -> Cost:
    """Read a cell's costs off its records.

    Args:
        records: All of the cell's records.
        saliency: Mean S(c) from elsewhere, in place of the records' own.

    Example:
        >>> batches = [(0.4, 2), (0.1, 2), (0.2, 1)]
        >>> records = [
        ...     {"status": "ok", "seconds": s, "batch_size": n, "new_tokens": 10, "tokens": []}
        ...     for s, n in batches
        ...     for _ in range(n)
        ... ]
        >>> cost = sweep_cost(records)
        >>> cost.ms_per_token, cost.fast, cost.slow, cost.batch_size, cost.tries
        (20.0, 15.0, 30.0, 2, None)
    """
    answered = [record for record in records if record["status"] == "ok"]
    batches: dict[tuple[float, int], list[float]] = {}
    for record in answered:
        # a batch's samples share its time in equal parts
        sums = batches.setdefault((record["seconds"], record["batch_size"]), [0.0, 0.0])
        sums[0] += record["seconds"]
        sums[1] += record["new_tokens"]
    times = [1000 * seconds / tokens for seconds, tokens in batches.values() if tokens]
    several = len(times) > 1
    low, middle, high = (
        statistics.quantiles(times, n=4, method="inclusive")
        if several
        else (None, times[0] if times else None, None)
    )
    tokens = [token for record in answered for token in record["tokens"]]
    known = [token["saliency"] for token in tokens if token["saliency"] is not None]
    if saliency is None and known:
        saliency = statistics.fmean(known)
    return Cost(
        ms_per_token=middle,
        fast=low,
        slow=high,
        batch_size=max((record["batch_size"] for record in answered), default=0),
        tries=statistics.fmean(token["tries"] for token in tokens) if tokens else None,
        saliency=saliency,
    )
