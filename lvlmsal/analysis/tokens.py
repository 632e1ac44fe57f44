"""``lvlmsal analyze tokens``: do correct mentions stand above hallucinated ones, and in what?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lvlmsal.analysis.added import Added, added_value
from lvlmsal.analysis.charts import plot_aurocs, plot_bins
from lvlmsal.analysis.described_run import describe, judged
from lvlmsal.analysis.mention_comparison import Binning, Comparison, compare, complete
from lvlmsal.analysis.mentions import MentionRow, by_cell, mention_rows, write_mentions
from lvlmsal.analysis.output import (
    Cell,
    Line,
    interval_cell,
    new_table,
    numbers,
    title_of,
    write_csv,
)
from lvlmsal.analysis.printed import next_to_printed, printed_figures
from lvlmsal.analysis.scores import SCORES
from lvlmsal.errors import UnsupportedError
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.report.paper import entries_table
from lvlmsal.evaluation.results.atomic import write_json
from lvlmsal.evaluation.results.records import finite
from lvlmsal.evaluation.results.schema import PaperEntry
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.progress import track
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.plot import new_figure
from lvlmsal.tables.table import Table


@dataclass(frozen=True)
class TokenAnalysis:
    """What `analyze_tokens` found.

    Attributes:
        folder: Where tables and plots lie.
        options: Which saliency.
        rows: One for each mention.
        comparisons: Of each model, method and benchmark.
        added: What saliency adds to the other scores, likewise; missing where a note says so.
        paper: Published figures next to those of `comparisons`; none where the config gives none.
        files: Names of the files in the folder.
        notes: What is missing, and why.
    """

    folder: Path
    options: SaliencyOptions
    rows: list[MentionRow]
    comparisons: dict[Cell, list[Comparison]]
    added: dict[Cell, Added]
    paper: list[PaperEntry]
    files: list[str]
    notes: list[str]

    def tables(self) -> list[Table]:
        """For a terminal: one a model, method and benchmark, and one of published figures."""
        found = [
            _table(cell, _counts(self.rows, cell), compared, self.added.get(cell))
            for cell, compared in self.comparisons.items()
        ]
        printed = entries_table(self.paper)
        return found if printed is None else [*found, printed]


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
    overrides = list(overrides)
    paper = printed_figures(config, overrides)
    new_figure(1, 1)  # better to learn now than after the answers that there is no matplotlib
    run = describe(config, overrides, lvlms=lvlms)
    folder = run.output("tokens", out)
    options = options or SaliencyOptions()
    rows = [
        row
        for answer in judged(run, options, lvlms=lvlms)
        for row in mention_rows(answer, run.vocabularies[answer.record["benchmark"]])
    ]
    comparisons, added, notes = {}, {}, []
    for cell, part in track(by_cell(rows).items(), "comparisons"):
        comparisons[cell] = compare(part, binning=binning)
        try:
            added[cell] = added_value(part)
        except UnsupportedError as error:
            notes.append(f"{title_of(cell)}: what saliency adds is not known: {error}")
    content = [
        {
            **dict(zip(("model", "method", "benchmark"), cell, strict=True)),
            **_counts(rows, cell),
            "options": asdict(options),
            "binning": binning,
            "scores": {entry.score: _plain(entry) for entry in found},
            "together": asdict(added[cell]) if cell in added else None,
        }
        for cell, found in comparisons.items()
    ]
    printed = next_to_printed(paper, comparisons)
    if printed:
        write_json(folder / "paper.json", finite(printed))
    write_mentions(folder / "mentions.csv", rows)
    write_json(folder / "summary.json", finite(content))
    _write_tables(folder, comparisons)
    titled = {title_of(cell): found for cell, found in comparisons.items()}
    plot_aurocs(titled, folder / "auroc.png")
    plot_bins(titled, folder / "bins.png")
    files = ["mentions.csv", "summary.json", "summary.csv", "bins.csv", "auroc.png", "bins.png"]
    files += ["paper.json"] if printed else []
    return TokenAnalysis(folder, options, rows, comparisons, added, printed, files, notes)


def _plain(entry: Comparison) -> dict[str, Any]:
    """A comparison as plain values, for JSON."""
    return {
        "sign": SCORES[entry.score].sign,
        **{kind: {"mean": mean, "sd": sd} for kind, (mean, sd) in entry.moments.items()},
        "auroc": asdict(entry.auroc),
        "saliency_minus_this": asdict(entry.gain) if entry.gain else None,
        "mann_whitney_p": entry.p_value,
        "bins": [asdict(part) for part in entry.bins],
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
                *numbers(entry.auroc),
                entry.p_value,
                *numbers(entry.gain),
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
            [*cell, entry.score, part.low, part.high, part.rate.n, *numbers(part.rate)]
            for cell, entry in entries
            for part in entry.bins
        ),
    )


def _table(
    cell: Cell, counts: Mapping[str, int], found: Sequence[Comparison], added: Added | None
) -> Table:
    title = (
        f"{title_of(cell)}: {counts['correct']} correct and {counts['hallucinated']} "
        f"hallucinated mentions in {counts['images']} images"
    )
    rows: list[Line] = []
    for entry in found:
        means = (f"{mean:.4g} ± {sd:.2g}" for mean, sd in entry.moments.values())
        rows.append(
            [
                SCORES[entry.score].heading,
                *means,
                interval_cell(entry.auroc),
                f"{entry.p_value:.2g}",
                interval_cell(entry.gain, "+"),
            ]
        )
    if added:
        for name, interval, sign in (
            ("all but saliency (fitted)", added.rivals, ""),
            ("all (fitted)", added.both, ""),
            ("what saliency adds", added.gain, "+"),
        ):
            rows.append([name, "", "", interval_cell(interval, sign), "", ""])
    heads = ("score", "correct", "hallucinated", "AUROC", "p", "S(c) minus this")
    return new_table(title, heads, rows)
