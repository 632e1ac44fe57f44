"""A judge's replies that were fetched elsewhere, matched with what a metric asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lvlmsal.files import Row, listed, read_json_rows
from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest


def give_replies(
    metric: JudgedMetric,
    path: Path | str,
    asks: Mapping[str, Callable[[], list[JudgeRequest]]],
) -> list[str]:
    """Give a metric the replies of a file.

    A line holds ``reply`` and either ``key`` (that of the request, as this library stores replies)
    or ``id`` and, where the judge was asked again, ``attempt`` (0, 1, ...).

    Args:
        metric: Its `replies` are set.
        path: JSON lines or a JSON array.
        asks: What the metric has to ask next, by id.

    Returns:
        The ids for which a reply is missing.

    Raises:
        DataError: A line has neither key nor id, an unknown id, or an id and attempt twice.
    """
    by_key: dict[str, str] = {}
    by_id: dict[tuple[str, int], Row] = {}
    for row in read_json_rows(path):
        if "key" in row.data:
            by_key[row.text("key")] = row.text("reply")
            continue
        attempt = row.identifier("attempt") if "attempt" in row.data else 0
        if not isinstance(attempt, int) or attempt < 0:
            raise row.error(f"'attempt' must be 0, 1, ..., got {attempt!r}")
        place = (str(row.identifier("id")), attempt)
        if place[0] not in asks:
            raise row.error(
                f"nothing is asked under the id {place[0]!r}; ids are such as {listed(asks, 3)}"
            )
        if place in by_id:
            raise row.error(
                f"the id {place[0]!r} has a second reply for attempt {attempt}; the first is in "
                f"line {by_id[place].line}"
            )
        by_id[place] = row
    found: dict[str, str] = {}
    metric.replies = found
    missing = []
    for name, ask in asks.items():
        while requests := ask():
            request = requests[0]
            reply = by_key.get(request.key)
            if reply is None and (row_of := by_id.get((name, request.attempt))) is not None:
                reply = row_of.text("reply")
            if reply is None:
                missing.append(name)
                break
            found[request.key] = reply
    return missing


def unjudged(missing: list[str], total: int) -> list[str]:
    """What to say of answers for which the judge's reply is missing, as warnings."""
    if not missing:
        return []
    return [
        f"{len(missing)} of {total} answers have no usable reply of the judge: {listed(missing)}"
    ]
