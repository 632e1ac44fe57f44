"""How salient the answers of a sweep are, by one measure for all of its points."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lvlmsal.evaluation.config.plan import Cell, Plan
from lvlmsal.evaluation.results.atomic import write_json
from lvlmsal.evaluation.run.replay import Replayed, replay
from lvlmsal.saliency.options import SaliencyOptions

SALIENCY = "sweep_saliency.json"
"""File of the run folder that keeps what was found, so that it is not computed again."""


def mean_saliencies(
    run: Path, plan: Plan, *, lvlms: Mapping[str, Any] | None = None
) -> dict[str, float | None]:
    """Mean S(c) over all tokens of each cell's answers.

    Every answer is judged under the interventions that made it and by the default
    `SaliencyOptions`, whatever the decoder read: points that differ in layers, row or context are
    then measured alike.

    Args:
        run: The folder of the finished run.
        plan: Its plan.
        lvlms: Models that are already loaded, by name.

    Returns:
        By digest of the cell; None where no token has a saliency.
    """
    path = run / SALIENCY
    known: dict[str, float | None] = {}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
    open_cells = [cell for cell in plan.cells if _key(cell) not in known]
    for model, of_model in itertools.groupby(open_cells, lambda cell: cell.model.name):
        wanted = {(cell.method, cell.label): cell for cell in of_model}
        entries = replay(
            run,
            models=[model],
            methods=sorted({method for method, _ in wanted}),
            options=SaliencyOptions(),
            lvlms=lvlms,
        )
        for names, answers in itertools.groupby(entries, _names):
            if names in wanted:
                known[_key(wanted[names])] = _mean(answers)
                write_json(path, known)
    return {cell.digest: known.get(_key(cell)) for cell in plan.cells}


def _names(entry: Replayed) -> tuple[str, str]:
    return entry.method, entry.record["benchmark"]


def _mean(answers: Iterable[Replayed]) -> float | None:
    """The mean over the tokens of one cell's answers, which are judged as they are asked for."""
    every = [value for answer in answers for value in answer.report.saliency]
    values = [value for value in every if value is not None]
    return statistics.fmean(values) if values else None


def _key(cell: Cell) -> str:
    """What the mean depends on: the cell's settings, and how many of its samples are asked."""
    return f"{cell.digest}/{len(cell.benchmark.samples())}"
