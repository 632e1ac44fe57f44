"""What the comparison of detectors found, as a table for a terminal and as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lvlmsal.analysis.detector_scores import (
    FALSE_ALARMS,
    REFERENCE,
    CellScores,
    DetectorScores,
)
from lvlmsal.analysis.output import (
    Cell,
    Line,
    interval_cell,
    new_table,
    numbers,
    title_of,
    write_csv,
)
from lvlmsal.registry import DETECTORS
from lvlmsal.tables.table import Table


def write_summary(path: Path, cells: Mapping[Cell, CellScores]) -> None:
    """Write a line for each detector of each cell as CSV."""
    figures = ("precision", "aurc", "ratio", "recall", "ece")
    write_csv(
        path,
        [
            *("model", "method", "benchmark", "mentions", "wrong", "images", "detector"),
            *("auroc", "auroc_low", "auroc_high", "gain", "gain_low", "gain_high"),
            *figures,
            *("auroc_all", "auroc_all_low", "auroc_all_high"),
            *("expected", "auroc_expecting", "auroc_expecting_low", "auroc_expecting_high"),
            *("auroc_seeing", "auroc_seeing_low", "auroc_seeing_high", "unjudged"),
        ],
        (
            [
                *cell,
                *(found.mentions, found.wrong, found.images, entry.detector),
                *numbers(entry.auroc),
                *numbers(entry.gain),
                *(getattr(entry, name) for name in figures),
                *numbers(entry.every),
                found.expected,
                *numbers(entry.expecting),
                *numbers(entry.seeing),
                entry.unjudged,
            ]
            for cell, found in cells.items()
            for entry in found.detectors
        ),
    )


def detector_table(cell: Cell, found: CellScores) -> Table:
    """One table for a model, method and benchmark; kinds of errors as far as they are known."""
    title = (
        f"{title_of(cell)}: {found.mentions} first mentions in {found.images} images, "
        f"{found.wrong} wrong (base rate {found.base_rate:.3f}, best AURC {found.best:.4f})"
    )
    kinds: tuple[str, ...] = ()
    if found.expected is not None:
        title += f"; habits suggest {found.expected} of the wrong ones"
        kinds = ("AUROC, expecting", "AUROC, seeing")
    heads = (
        *("detector", "AUROC", f"minus {REFERENCE}", "AP", "AURC"),
        *(f"recall at {FALSE_ALARMS:.0%} false alarms", "ECE", "AUROC, all mentions"),
        *kinds,
        "cost",
    )
    return new_table(title, heads, [_line(entry, kinds=bool(kinds)) for entry in found.detectors])


def _line(entry: DetectorScores, *, kinds: bool) -> Line:
    known = entry.detector in DETECTORS
    return [
        entry.detector,
        interval_cell(entry.auroc),
        interval_cell(entry.gain, "+"),
        f"{entry.precision:.3f}",
        f"{entry.aurc:.4f}",
        f"{entry.recall:.3f}",
        f"{entry.ece:.3f}",
        f"{entry.every.value:.3f}",
        *(
            "" if kind is None else f"{kind.value:.3f}"
            for kind in ((entry.expecting, entry.seeing) if kinds else ())
        ),
        (f"+ {passes}" if (passes := DETECTORS.get(entry.detector).passes) else "")
        if known
        else "",
    ]
