"""A judge's replies in a run: given to its metrics, and told in its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.judge_config import endpoint_of
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.records import Record, text_of
from lvlmsal.evaluation.results.schema import Cell, Results
from lvlmsal.judges import ReplyStore
from lvlmsal.judges.judging import Part
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judged import JudgedMetric
from lvlmsal.secrets import hide

Place = tuple[str, str, str, int]
"""Model, method, benchmark and seed."""


def judged_parts(
    records: Iterable[Record], metrics: Mapping[str, CountMetric]
) -> dict[Place, Part]:
    """The answers whose metric asks a judge, by model, method, benchmark and seed.

    Args:
        records: Records of a run.
        metrics: The metric of each benchmark, by label.

    Returns:
        One part for each place. Metrics that need no judge under their options are left out.

    Raises:
        DataError: A record holds a target that its metric does not know.
    """
    split: dict[Place, list[Record]] = {}
    for record in records:
        if record["status"] == "ok" and isinstance(metrics.get(record["benchmark"]), JudgedMetric):
            split.setdefault(_place(record), []).append(record)
    parts: dict[Place, Part] = {}
    for place, found in split.items():
        metric = metrics[place[2]]
        assert isinstance(metric, JudgedMetric)  # checked above
        answers = [text_of(record) for record in found]
        targets = [record["target"] for record in found]
        metric.replies = {}
        try:
            asks = metric.set_requests(answers, targets)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"records of {place[2]} by {place[0]} with {place[1]} hold a target that the "
                f"metric does not know ({type(error).__name__}: {error})"
            ) from error
        if asks:
            parts[place] = (metric, answers, targets)
    return parts


def _place(entry: Record | Cell) -> Place:
    """Where a record, or a cell of the results, belongs."""
    return (entry["model"], entry["method"], entry["benchmark"], entry.get("seed", 0))


def give_replies(run: Path, config: RunConfig, metrics: Iterable[CountMetric]) -> str:
    """Give metrics the stored replies of the judge that counts.

    Args:
        run: A run folder.
        config: The run's config. Where it names no judge, the only judge whose replies are there
            counts, and none where there are several.
        metrics: The metrics of the run.

    Returns:
        The judge's name; empty where there is none.

    Raises:
        DataError: The store is damaged.
    """
    store = ReplyStore(run / names.REPLIES)
    endpoint = endpoint_of(config)
    if endpoint is not None:
        judge = endpoint.judge
    else:
        judge = store.judges[0] if len(store.judges) == 1 else ""
    for metric in metrics:
        if isinstance(metric, JudgedMetric):
            metric.replies = store.replies(judge)
    return judge


def note_judge(results: Results, parts: Mapping[Place, Part], judge: str, run: Path) -> None:
    """Say in the results who has judged, with which prompt, and what is not judged yet.

    Args:
        results: The content of ``results.json``; its cells get ``judge``, its warnings a line for
            each cell that is not judged to the end.
        parts: What is judged, with its replies.
        judge: The judge's name; empty where there is none.
        run: The run folder, for what to type.
    """
    command = f"lvlmsal judge {hide(str(run))}" + ("" if judge else " judge.model=MODEL")
    for cell in results["cells"]:
        place = _place(cell)
        if place not in parts:
            continue
        metric, answers, targets = parts[place]
        waiting = len({request.key for request in metric.set_requests(answers, targets)})
        rows = metric.rows(answers, targets)
        heard, asked = metric.heard_of(rows) or (None, None)
        cell["judge"] = {
            "judge": judge or None,
            "official_judge": metric.judge_model,
            "prompt": metric.prompt_digest,
            "unjudged": waiting,
            "read": heard,
            "of": asked,
        }
        where = f"{place[0]} with {place[1]} on {place[2]}"
        results["warnings"] += [f"{where}: {text}" for text in metric.unread(rows)]
        if waiting:
            results["warnings"].append(
                f"{where}: {waiting} questions to the judge "
                f"have no reply yet, so the figures are of a part of the answers: type `{command}`"
            )
