"""The figures and pairs of a comparison as rows of values, for files and for frames of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lvlmsal.comparisons.layout import Block
from lvlmsal.comparisons.reading import Row
from lvlmsal.evaluation.report.entries import difference_values
from lvlmsal.frames import data_frame
from lvlmsal.tables.csv import csv_text

if TYPE_CHECKING:
    import pandas as pd

Style = Literal["tidy", "wide"]

_HEAD = {
    **dict.fromkeys(("run", "model", "method", "benchmark", "seeds", "metric"), "object"),
    **dict.fromkeys(("n", "failed"), "int64"),
    "against": "object",
    **dict.fromkeys(("changed", "tokens_changed"), "Int64"),
}
_FIGURE = {
    **dict.fromkeys(("value", "low", "high", "std"), "float64"),
    **dict.fromkeys(("difference", "difference_low", "difference_high"), "float64"),
    "significant": "boolean",
    "mcnemar_p": "float64",
}
_TIDY = {**_HEAD, "figure": "object", "higher_is_better": "object", **_FIGURE}


def comparison_frame(blocks: Sequence[Block], style: Style) -> pd.DataFrame:
    """The rows as a frame; `Comparison.to_pandas` says what it holds."""
    if style == "tidy":
        return data_frame(_tidy(blocks), _TIDY)
    rows, columns = _wide(blocks)
    return data_frame(rows, columns)


def comparison_csv(blocks: Sequence[Block], style: Style) -> str:
    """The rows as a CSV file with a line of headings."""
    if style == "tidy":
        return csv_text(_tidy(blocks), _TIDY)
    return csv_text(*_wide(blocks))


def _tidy(blocks: Iterable[Block]) -> Iterator[dict[str, Any]]:
    """One figure a row: of each model with each method, then the differences of the pairs."""
    for block in blocks:
        for row in block.rows:
            entry = row.entry
            other = entry["compared_with"]
            against = None if other is None else f"{row.run}: {row.model} with {other}"
            for name, figure in entry["figures"].items():
                if not block.shows(name):
                    continue
                yield {
                    **_head(row, against, entry),
                    "figure": name,
                    "higher_is_better": figure["higher_is_better"],
                    **{key: figure.get(key) for key in ("value", "low", "high", "std")},
                    **difference_values(name, figure["difference"], entry),
                }
        for pair in block.pairs:
            for name, difference in pair.found["differences"].items():
                if not block.shows(name):
                    continue
                yield {
                    **_head(pair.row, pair.other.title, pair.found),
                    "figure": name,
                    "higher_is_better": pair.row.entry["figures"][name]["higher_is_better"],
                    **difference_values(name, difference, pair.found),
                }


def _head(row: Row, against: str | None, found: Mapping[str, Any]) -> dict[str, Any]:
    """What is the same for all figures: of a row, or of what was `found` against another."""
    return {
        **{key: getattr(row, key) for key in ("run", "model", "method", "benchmark")},
        "seeds": " ".join(str(cell.seed) for cell in row.cells),
        **{key: row.entry[key] for key in ("metric", "n", "failed")},
        "against": against,
        **{key: found[key] for key in ("changed", "tokens_changed")},
    }


def _wide(blocks: Iterable[Block]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The tidy rows with all figures of a row, or pair, side by side; and the columns they have."""
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    figures: dict[str, None] = {}
    for row in _tidy(blocks):
        figures[row["figure"]] = None
        head = {key: row[key] for key in _HEAD}
        line = lines.setdefault(tuple(head.values()), head)
        values = {f"{row['figure']}.{key}": row.get(key) for key in _FIGURE}
        line.update({name: value for name, value in values.items() if value is not None})
    known = {name for line in lines.values() for name in line}
    columns = {f"{figure}.{key}": kind for figure in figures for key, kind in _FIGURE.items()}
    return list(lines.values()), {
        name: kind for name, kind in {**_HEAD, **columns}.items() if name in known
    }
