"""A judge's replies that were fetched elsewhere, matched with what a metric asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lvlmsal.errors import DataError
from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest
from lvlmsal.readers.rows import Row, listed, read_json_rows


def give_replies(
    metric: JudgedMetric,
    path: Path | str,
    asks: Mapping[str, Callable[[], list[JudgeRequest]]],
    *,
    judge: str = "",
    last_attempt: int | None = None,
    numbering: str = "",
) -> list[str]:
    """Give a metric the replies of a file.

    A line holds ``reply`` and either ``key`` (that of the request, as this library stores replies)
    or ``id`` and, where the judge was asked again, ``attempt`` (0, 1, ...). What has the same words
    is asked once: where the same question, reference and answer stand under several ids, the reply
    to the first of them counts for all.

    Args:
        metric: Its `replies` are set.
        path: JSON lines or a JSON array.
        asks: What the metric has to ask next, by id.
        judge: Take the lines of this judge model only; by default all lines must be of one judge.
        last_attempt: The highest ``attempt`` that the metric can ask for; None: it is not checked.
        numbering: How attempts are counted, one sentence for messages; needed where attempts are
            more than tries one after the other.

    Returns:
        Warnings: ids for which a reply is missing, and ids whose reply another one stands for.

    Raises:
        DataError: A line has neither key nor id, an unknown id, or an id and attempt twice; an
            attempt is out of range, or an id lacks one and has another that nothing asks for; or
            the replies are those of several judges, or of none that is called `judge`.
    """
    by_key: dict[str, str] = {}
    by_id: dict[tuple[str, int], Row] = {}
    for row in _of_one_judge(read_json_rows(path), judge):
        if "key" in row.data:
            by_key[row.text("key")] = row.text("reply")
            continue
        attempt = row.identifier("attempt") if "attempt" in row.data else 0
        if not isinstance(attempt, int) or attempt < 0:
            raise row.error(f"'attempt' must be 0, 1, ..., got {attempt!r}")
        if last_attempt is not None and attempt > last_attempt:
            raise row.error(
                f"'attempt' must be from 0 to {last_attempt}, got {attempt}. {numbering}".rstrip()
            )
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
    missing: dict[str, int] = {}
    asked = set()
    for name, ask in asks.items():
        while requests := ask():
            request = requests[0]
            asked.add((name, request.attempt))
            reply = by_key.get(request.key)
            if reply is None and (row_of := by_id.get((name, request.attempt))) is not None:
                reply = row_of.text("reply")
            if reply is None:
                missing[name] = request.attempt
                break
            found[request.key] = reply
    for (name, attempt), row in by_id.items():
        if name in missing and (name, attempt) not in asked:
            raise row.error(
                f"nothing asks for attempt {attempt} of {name!r}, and its attempt {missing[name]} "
                f"is missing. {numbering}".rstrip()
            )
    metric.replies = {}  # so that all first requests are asked for
    differing = [
        name
        for name, ask in asks.items()
        for request in ask()[:1]
        if (row_of := by_id.get((name, request.attempt))) is not None
        and found[request.key] != row_of.text("reply")
    ]
    metric.replies = found
    return _warnings(list(missing), differing, len(asks))


def _of_one_judge(rows: list[Row], judge: str) -> list[Row]:
    """The rows of one judge; what one said must not be mixed with what another said."""
    judges: dict[str, list[Row]] = {}
    for row in rows:
        model = row.data.get("model", "")
        at = [str(row.data[key]) for key in ("endpoint", "options") if row.data.get(key)]
        if not judge or model == judge:
            judges.setdefault(" with ".join([str(model), *at]), []).append(row)
    if len(judges) == 1:
        return next(iter(judges.values()))
    if not judges:
        models = sorted({str(row.data.get("model", "")) for row in rows})
        raise DataError(f"no reply is one of {judge!r}; there are {models}", path=rows[0].path)
    raise DataError(
        f"holds replies of several judges ({'; '.join(judges)}): say which model counts with "
        "the option `judge`, or give a file of one judge",
        path=rows[0].path,
    )


def _warnings(missing: list[str], differing: list[str], total: int) -> list[str]:
    """What to say of replies that are missing or were not taken."""
    texts = []
    if missing:
        texts.append(
            f"{len(missing)} of {total} answers have no usable reply of the judge: "
            f"{listed(missing)}"
        )
    if differing:
        texts.append(
            f"{len(differing)} of {total} replies were not taken, because the judge replied "
            f"otherwise to the same words under another id or key: {listed(differing)}"
        )
    return texts
