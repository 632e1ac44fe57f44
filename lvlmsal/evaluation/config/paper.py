"""Published figures next to a run's own: what a config may say of them.

Nothing that a run computes depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from omegaconf import MISSING

from lvlmsal.errors import close_matches

UNITS = {"percent": 100.0, "plain": 1.0}
"""What ``unit`` may say, and what our figure is multiplied by to be in it."""


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
    """Published figures that are shown next to a run's own.

    Attributes:
        source: The paper.
        table: Which of its tables.
        rows: Its figures.
        tokens: Its figures on the tokens of answers, for ``lvlmsal analyze tokens``: a figure is
            called ``SCORE/COLUMN``, such as ``saliency_last/correct_mean``, after the score and the
            columns of its ``summary.csv``.
    """

    source: str = MISSING
    table: str = MISSING
    rows: list[PaperRow] = field(default_factory=list)
    tokens: list[PaperRow] = field(default_factory=list)


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
    every = [(f"paper.rows[{index}]", row, figures) for index, row in enumerate(paper.rows)]
    unknown = dict.fromkeys(figures)  # `lvlmsal analyze tokens` knows the names of its figures
    every += [(f"paper.tokens[{index}]", row, unknown) for index, row in enumerate(paper.tokens)]
    problems = [] if every else ["paper.rows: needs at least one entry"]
    for where, row, known_figures in every:
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
            known = known_figures.get(label)
            if label not in known_figures:
                found.append(_unknown("benchmark", label, known_figures))
            elif known is not None:
                found += [
                    f"{label!r} has no figure {name!r}.{close_matches(name, known)} "
                    f"It has: {', '.join(known)}"
                    for name in row.figures
                    if name not in known
                ]
        problems += [f"{where}: {text}" for text in found]
    return problems


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    return f"there is no {kind} {name!r}.{close_matches(name, names)} Known: {', '.join(names)}"
