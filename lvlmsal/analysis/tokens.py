"""``lvlmsal analyze tokens``: do correct mentions stand above hallucinated ones, and in what?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lvlmsal.analysis.answers import describe, judged
from lvlmsal.analysis.charts import plot_aurocs, plot_bins
from lvlmsal.analysis.compare import Binning, Comparison, compare, complete
from lvlmsal.analysis.mentions import MentionRow, by_cell, mention_rows, write_csv, write_mentions
from lvlmsal.analysis.scores import SCORES
from lvlmsal.evaluation.config import ConfigSource
from lvlmsal.evaluation.folder import write_json
from lvlmsal.evaluation.records import finite
from lvlmsal.lvlm import Lvlm
from lvlmsal.metrics.statistics import Interval
from lvlmsal.saliency.options import SaliencyOptions

Cell = tuple[str, str, str]


@dataclass(frozen=True)
class TokenAnalysis:
    """What `analyze_tokens` found.

    Attributes:
        folder: Where tables and plots lie.
        options: Which saliency.
        rows: One for each mention.
        comparisons: Of each model, method and benchmark.
        files: Names of the files in the folder.
    """

    folder: Path
    options: SaliencyOptions
    rows: list[MentionRow]
    comparisons: dict[Cell, list[Comparison]]
    files: list[str]

    def tables(self) -> list[Table]:
        """One table for each model, method and benchmark, for a terminal."""
        return [
            _table(cell, _counts(self.rows, cell), found)
            for cell, found in self.comparisons.items()
        ]


def analyze_tokens(
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    out: Path | None = None,
    options: SaliencyOptions | None = None,
    binning: Binning = "equal-width",
    lvlms: Mapping[str, Lvlm] | None = None,
) -> TokenAnalysis:
    """Compare saliency and its rivals on correct and hallucinated mentions (Table 5, Figure 10).

    Args:
        config: An ordinary config with a CHAIR benchmark; answers that are missing are given.
        overrides: Texts ``key=value``.
        out: Folder for tables and plots; by default ``analysis/tokens`` in the run folder.
        options: Which saliency, the same for all methods; the defaults if not given.
        binning: How the ten ranges of a score are cut, see `compare`.
        lvlms: Models that are already loaded, by name.

    Raises:
        ConfigError: The config is wrong or asks for no descriptions.
        UnsupportedError: matplotlib is not installed.
    """
    run = describe(config, overrides, lvlms=lvlms)
    folder = run.output("tokens", out)
    options = options or SaliencyOptions()
    rows = [
        row
        for answer in judged(run, options, lvlms=lvlms)
        for row in mention_rows(answer, run.vocabularies[answer.record["benchmark"]])
    ]
    comparisons = {cell: compare(part, binning=binning) for cell, part in by_cell(rows).items()}
    write_mentions(folder / "mentions.csv", rows)
    content = [
        summary(cell, _counts(rows, cell), found, options, binning)
        for cell, found in comparisons.items()
    ]
    write_json(folder / "summary.json", finite(content))
    _write_tables(folder, comparisons)
    titled = {" · ".join(cell): found for cell, found in comparisons.items()}
    plot_aurocs(titled, folder / "auroc.png")
    plot_bins(titled, folder / "bins.png")
    files = ["mentions.csv", "summary.json", "summary.csv", "bins.csv", "auroc.png", "bins.png"]
    return TokenAnalysis(folder, options, rows, comparisons, files)


def summary(
    cell: Cell,
    counts: Mapping[str, int],
    found: Sequence[Comparison],
    options: SaliencyOptions,
    binning: Binning,
) -> dict[str, Any]:
    """Everything about one model, method and benchmark, as plain values."""
    return {
        **dict(zip(("model", "method", "benchmark"), cell, strict=True)),
        **counts,
        "options": asdict(options),
        "binning": binning,
        "scores": {
            entry.score: {
                "sign": SCORES[entry.score].sign,
                **{kind: {"mean": mean, "sd": sd} for kind, (mean, sd) in entry.moments.items()},
                "auroc": asdict(entry.auroc),
                "saliency_minus_this": asdict(entry.gain) if entry.gain else None,
                "mann_whitney_p": entry.p_value,
                "bins": [asdict(part) for part in entry.bins],
            }
            for entry in found
        },
    }


def _counts(rows: Sequence[MentionRow], cell: Cell) -> dict[str, int]:
    mine = [row for row in rows if row.cell == cell]
    whole = complete(mine)
    wrong = sum(row.hallucinated for row in whole)
    return {
        "mentions": len(whole),
        "correct": len(whole) - wrong,
        "hallucinated": wrong,
        "left_out": len(mine) - len(whole),
        "images": len({row.image for row in whole}),
    }


def _write_tables(folder: Path, comparisons: Mapping[Cell, Sequence[Comparison]]) -> None:
    entries = [(cell, entry) for cell, found in comparisons.items() for entry in found]
    kinds = ("correct", "hallucinated")
    write_csv(
        folder / "summary.csv",
        [
            *("model", "method", "benchmark", "score", "sign"),
            *(f"{kind}_{figure}" for kind in kinds for figure in ("n", "mean", "sd")),
            *("auroc", "auroc_low", "auroc_high", "mann_whitney_p"),
            *("saliency_minus_this", "difference_low", "difference_high"),
        ],
        (
            [
                *cell,
                entry.score,
                SCORES[entry.score].sign,
                *(len(entry.correct), *entry.moments["correct"]),
                *(len(entry.hallucinated), *entry.moments["hallucinated"]),
                *_numbers(entry.auroc),
                entry.p_value,
                *(_numbers(entry.gain) if entry.gain else (None, None, None)),
            ]
            for cell, entry in entries
        ),
    )
    write_csv(
        folder / "bins.csv",
        [
            *("model", "method", "benchmark", "score", "low", "high"),
            *("mentions", "hallucination_rate", "rate_low", "rate_high"),
        ],
        (
            [*cell, entry.score, part.low, part.high, part.rate.n, *_numbers(part.rate)]
            for cell, entry in entries
            for part in entry.bins
        ),
    )


def _numbers(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def _table(cell: Cell, counts: Mapping[str, int], found: Sequence[Comparison]) -> Table:
    title = (
        f"{' · '.join(cell)}: {counts['correct']} correct and {counts['hallucinated']} "
        f"hallucinated mentions in {counts['images']} images"
    )
    table = Table(title=title, title_justify="left", pad_edge=False)
    for heading in ("score", "correct", "hallucinated", "AUROC", "p", "S(c) minus this"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for entry in found:
        means = (f"{mean:.4g} ± {sd:.2g}" for mean, sd in entry.moments.values())
        table.add_row(
            SCORES[entry.score].heading,
            *means,
            _shown(entry.auroc),
            f"{entry.p_value:.2g}",
            _shown(entry.gain, "+") if entry.gain else "",
        )
    return table


def _shown(interval: Interval, sign: str = "") -> str:
    value, low, high = (f"{number:{sign}.3f}" for number in _numbers(interval))
    return f"{value} [{low}, {high}]"
