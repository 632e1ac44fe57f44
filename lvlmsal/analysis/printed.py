"""Published figures on the tokens of answers, next to those of `analyze_tokens`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lvlmsal.analysis.mention_comparison import Comparison
from lvlmsal.analysis.output import Cell
from lvlmsal.analysis.scores import SCORES
from lvlmsal.errors import ConfigError, close_matches
from lvlmsal.evaluation.config.paper import PaperConfig
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.report.paper import compared
from lvlmsal.evaluation.results.schema import PaperEntry

COLUMNS = ("correct_mean", "correct_sd", "hallucinated_mean", "hallucinated_sd", "auroc")
"""Columns of ``summary.csv`` that a published figure may be of."""


def printed_figures(config: ConfigSource, overrides: Iterable[str] = ()) -> PaperConfig | None:
    """The published figures of a config; None where it gives none.

    What else is wrong with them is told with the rest of the config.

    Args:
        config: As `lvlmsal.analysis.tokens.analyze_tokens` takes it.
        overrides: Texts ``key=value``.

    Raises:
        ConfigError: A figure on tokens has a name that the analysis does not have.
    """
    read, _, name = read_config(config, overrides)
    known = [f"{score}/{column}" for score in SCORES for column in COLUMNS]
    problems = [
        f"paper.tokens[{index}].figures: there is no figure {figure!r}."
        f"{close_matches(figure, known)} Known: SCORE/COLUMN with a score of {', '.join(SCORES)} "
        f"and a column of {', '.join(COLUMNS)}"
        for index, row in enumerate(read.paper.tokens if read.paper else [])
        for figure in row.figures
        if figure not in known
    ]
    if problems:
        raise ConfigError(problems, source=name)
    return read.paper


def next_to_printed(
    paper: PaperConfig | None, comparisons: Mapping[Cell, Sequence[Comparison]]
) -> list[PaperEntry]:
    """Each published figure on tokens with ours.

    Args:
        paper: What the config says.
        comparisons: What `analyze_tokens` found.
    """
    figures = {
        cell: {
            f"{entry.score}/{column}": value
            for entry in found
            for column, value in zip(COLUMNS, _values(entry), strict=True)
        }
        for cell, found in comparisons.items()
    }
    return compared(paper, paper.tokens if paper else [], figures)


def _values(entry: Comparison) -> list[float | None]:
    """Values of `COLUMNS`; None where one is undefined."""
    moments = [value for pair in entry.moments.values() for value in pair]
    return [None if value != value else value for value in (*moments, entry.auroc.value)]
