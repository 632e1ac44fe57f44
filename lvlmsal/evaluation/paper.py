"""Published figures beside a run's own: what a config may say of them, and how they are shown.

Nothing that a run computes depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING
from rich.table import Table

from lvlmsal.errors import close_matches
from lvlmsal.evaluation.table import markdown_row, markdown_text, shown_cells

UNITS = {"percent": 100.0, "plain": 1.0}
"""What ``unit`` may say, and what our figure is multiplied by to be in it."""

_HEADS = ("model", "method", "benchmark", "figure", "paper", "ours", "ours - paper", "paper's row")


@dataclass
class PaperRow:
    """Figures that a paper gives for one method.

    Attributes:
        method: Name of the run's method that stands for the row.
        benchmarks: Labels of the run's benchmarks; of several, the mean of our figures is shown.
        figures: Our name of each figure, and the paper's value.
        model: Name of the run's model; may be left out where there is one only.
        row: What the paper calls the row.
        unit: ``percent`` where our figure is a fraction and the paper's a percentage, ``plain``
            where both are on the same scale.
    """

    method: str = MISSING
    benchmarks: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    model: str = ""
    row: str = ""
    unit: str = "percent"


@dataclass
class PaperConfig:
    """Published figures that are shown beside a run's own.

    Attributes:
        source: The paper.
        table: Which of its tables.
        rows: Its figures.
    """

    source: str = MISSING
    table: str = MISSING
    rows: list[PaperRow] = field(default_factory=list)


def paper_problems(
    paper: PaperConfig | None,
    *,
    models: Collection[str],
    methods: Collection[str],
    figures: Mapping[str, Collection[str] | None],
) -> list[str]:
    """Names that a config's published figures use and the run does not know.

    Args:
        paper: What the config says.
        models: Names of its models.
        methods: Names of its methods.
        figures: For each label of a benchmark the names of its figures; None where not known.

    Example:
        >>> row = PaperRow("greedy", ["pope"], {"acuracy": 84.0})
        >>> paper = PaperConfig("arXiv", "1", [row])
        >>> paper_problems(paper, models=["m"], methods=["greedy"], figures={"pope": ["accuracy"]})
        ["paper.rows[0]: 'pope' has no figure 'acuracy'. Did you mean 'accuracy'? It has: accuracy"]
    """
    if paper is None:
        return []
    problems = [] if paper.rows else ["paper.rows: needs at least one entry"]
    for index, row in enumerate(paper.rows):
        found = [] if row.method in ("???", *methods) else [_unknown("method", row.method, methods)]
        if row.model and row.model not in models:
            found.append(_unknown("model", row.model, models))
        if not row.model and len(models) > 1:
            found.append(f"needs a `model`, one of {', '.join(models)}")
        if row.unit not in UNITS:
            found.append(_unknown("unit", row.unit, UNITS))
        if not row.benchmarks or not row.figures:
            found.append("needs `benchmarks` (a list of labels) and `figures` (names and values)")
        found += [
            f"figures.{name}: {value} is no published figure"
            for name, value in row.figures.items()
            if not math.isfinite(value)
        ]
        for label in row.benchmarks:
            known = figures.get(label)
            if label not in figures:
                found.append(_unknown("benchmark", label, figures))
            elif known is not None:
                found += [
                    f"{label!r} has no figure {name!r}.{close_matches(name, known)} "
                    f"It has: {', '.join(known)}"
                    for name in row.figures
                    if name not in known
                ]
        problems += [f"paper.rows[{index}]: {text}" for text in found]
    return problems


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    return f"there is no {kind} {name!r}.{close_matches(name, names)} Known: {', '.join(names)}"


def beside_paper(paper: PaperConfig | None, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each published figure with ours, in the paper's unit.

    Args:
        paper: What the config says.
        results: The content of ``results.json``.

    Returns:
        One entry for each figure of each row, with ``paper``, ``ours`` and their ``difference``;
        the last two are None where the run lacks an answer or the figure is undefined.
    """
    cells = {(c["model"], c["method"], c["benchmark"]): c for c in shown_cells(results)}
    only = next(iter(dict.fromkeys(model for model, _, _ in cells)), "")
    entries = []
    for row in paper.rows if paper else []:
        for figure, value in row.figures.items():
            keys = [(row.model or only, row.method, label) for label in row.benchmarks]
            ours = _mean([cells[key]["figures"][figure]["value"] for key in keys if key in cells])
            if ours is not None and all(key in cells for key in keys):
                ours *= UNITS[row.unit]
            else:
                ours = None
            entries.append(
                {
                    "source": paper.source if paper else "",
                    "table": paper.table if paper else "",
                    "row": row.row,
                    "model": row.model or only,
                    "method": row.method,
                    "benchmarks": list(row.benchmarks),
                    "figure": figure,
                    "unit": row.unit,
                    "paper": value,
                    "ours": ours,
                    "difference": None if ours is None else ours - value,
                }
            )
    return entries


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def paper_markdown(results: Mapping[str, Any]) -> str:
    """The published figures beside ours in Markdown; empty where the config gives none.

    Args:
        results: The content of ``results.json``.
    """
    entries = results.get("paper") or []
    if not entries:
        return ""
    align = markdown_row(["---"] * 4 + ["---:"] * 3 + ["---"])
    rows = [markdown_row(_texts(entry)) for entry in entries]
    head = f"### {markdown_text(_title(entries))}"
    return "\n".join(["", head, "", markdown_row(_HEADS), align, *rows, "", _REMARK, ""])


def paper_table(results: Mapping[str, Any]) -> Table | None:
    """The same for a terminal.

    Args:
        results: The content of ``results.json``.
    """
    entries = results.get("paper") or []
    if not entries:
        return None
    table = Table(title=_title(entries), caption=_REMARK, title_justify="left", pad_edge=False)
    for place, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if 4 <= place <= 6 else "left")
    for entry in entries:
        table.add_row(*_texts(entry))
    return table


_REMARK = (
    "The paper's figures are quoted from its text. Data, prompt, decoding and scoring may differ "
    "from ours; no figure of ours depends on them."
)


def _title(entries: Sequence[Mapping[str, Any]]) -> str:
    return f"Beside {entries[0]['table']} of {entries[0]['source']}"


def _texts(entry: Mapping[str, Any]) -> list[str]:
    several = len(entry["benchmarks"]) > 1
    benchmark = ("mean of " if several else "") + ", ".join(entry["benchmarks"])
    unit = " %" if entry["unit"] == "percent" else ""
    ours, difference = entry["ours"], entry["difference"]
    return [
        entry["model"],
        entry["method"],
        benchmark,
        entry["figure"] + unit,
        f"{entry['paper']:g}",
        "-" if ours is None else f"{ours:.1f}",
        "-" if difference is None else f"{difference:+.1f}",
        entry["row"] or "-",
    ]
