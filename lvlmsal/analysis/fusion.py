"""``lvlmsal analyze fusion``: ways to fuse attention and gradient, and how well each one tells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lvlmsal.analysis.charts import plot_intervals
from lvlmsal.analysis.described_run import describe
from lvlmsal.analysis.examples import Examples, file_stem, labeled
from lvlmsal.analysis.folds import FOLDS
from lvlmsal.analysis.labels import Mention
from lvlmsal.analysis.maps import plot_fusions
from lvlmsal.analysis.mlp import cross_validated_scores
from lvlmsal.analysis.output import (
    Cell,
    Line,
    counts,
    interval_cell,
    new_table,
    numbers,
    title_of,
    write_csv,
)
from lvlmsal.errors import UnsupportedError
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.progress import track
from lvlmsal.saliency.options import FUSIONS, SaliencyOptions
from lvlmsal.saliency.plot import new_figure
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.statistics.auroc import auroc_differences, auroc_intervals
from lvlmsal.statistics.intervals import Interval
from lvlmsal.tables.table import Table


@dataclass
class FusionScores:
    """S(c) of the mentions of one model, method and benchmark under every fusion.

    Attributes:
        correct: Whether each mention is correct.
        images: What each mention belongs to.
        values: S(c) for each fusion.
        features: For each mention S(c) of attention alone and of gradient alone in each layer,
            one behind the other, shape (2 * layers,): what the fusion ``mlp`` concatenates.
        log_probabilities: Of the mentions' first tokens.
        note: Why there is no ``mlp``; empty where there is one.
    """

    correct: list[bool] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FUSIONS})
    features: list[Tensor] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    note: str = ""

    def add(self, report: SaliencyReport, mentions: Iterable[Mention], image: str) -> None:
        """Add an answer's mentions; one without any context has no S(c) and is left out."""
        values = {fusion: report.token_saliency(fusion) for fusion in FUSIONS}
        features = torch.cat([report.per_layer("attention"), report.per_layer("gradient")], dim=1)
        for mention in mentions:
            found = {fusion: column[mention.start] for fusion, column in values.items()}
            if None in found.values():
                continue
            for fusion, value in found.items():
                assert value is not None  # looked at above
                self.values[fusion].append(value)
            self.correct.append(not mention.hallucinated)
            self.images.append(image)
            self.features.append(features[mention.start])
            self.log_probabilities.append(report.log_probabilities[mention.start])

    def likeness(self, fusion: str) -> float:
        """Spearman's correlation of a fusion with the log-probability of the token.

        A fusion that is near 1 or -1 tells what the model's own confidence tells already. The
        correlation is nan where one of the two does not vary.
        """
        # deferred: no listing should wait for scipy
        from scipy.stats import spearmanr

        sides = self.values[fusion], self.log_probabilities
        if min(len(set(side)) for side in sides) < 2:
            return math.nan
        return float(spearmanr(*sides).statistic)

    def fit(self) -> None:
        """Add the fusion ``mlp``: scores of a network that was fitted on other images."""
        try:
            self.values["mlp"] = cross_validated_scores(
                torch.stack(self.features), self.correct, self.images
            )
        except UnsupportedError as error:
            self.note = f"no fusion 'mlp': {error}"


@dataclass(frozen=True)
class FusionAnalysis:
    """What `analyze_fusion` found.

    Attributes:
        folder: Where tables and pictures lie.
        scores: Of each model, method and benchmark.
        aurocs: Of each fusion, likewise.
        gains: AUROC of the product minus that of each other fusion, likewise.
        files: Names of the files in the folder.
        notes: What is missing, and why.
    """

    folder: Path
    scores: dict[Cell, FusionScores]
    aurocs: dict[Cell, dict[str, Interval]]
    gains: dict[Cell, dict[str, Interval]]
    files: list[str]
    notes: list[str]

    def tables(self) -> list[Table]:
        """One table for each model, method and benchmark, for a terminal."""
        return [_table(cell, self) for cell in self.aurocs]


def analyze_fusion(
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    out: Path | None = None,
    options: SaliencyOptions | None = None,
    sample: str | None = None,
    tokens: Sequence[int] = (),
    lvlms: Mapping[str, Lvlm] | None = None,
) -> FusionAnalysis:
    """Compare the ways to fuse attention and gradient (Figure 9), on one answer and on all.

    Besides the fusions of `SaliencyOptions` there is ``mlp``: attention and gradient of every
    target layer side by side, weighed by a small network (`cross_validated_scores`). It alone is
    fitted on labels, on other images than those it is judged on.

    Args:
        config: An ordinary config with a CHAIR benchmark; answers that are missing are given.
        overrides: Texts ``key=value``.
        out: Folder to write into; by default ``analysis/fusion`` in the run folder.
        options: Which saliency, the same for all methods, but for its fusion.
        sample: Id of the sample to draw; by default the first with both kinds of mentions.
        tokens: Indices of the tokens to draw; by default the first mention of each kind.
        lvlms: Models that are already loaded, by name.

    Raises:
        ConfigError: The config is wrong or asks for no descriptions, or there is no such token.
        UnsupportedError: matplotlib is not installed.
    """
    new_figure(1, 1)  # better to learn now than after the answers that there is no matplotlib
    run = describe(config, overrides, lvlms=lvlms)
    folder = run.output("fusion", out)
    scores: dict[Cell, FusionScores] = {}
    examples = Examples(sample, tokens)
    for answer, mentions in labeled(run, options or SaliencyOptions(), examples, lvlms=lvlms):
        found = scores.setdefault(answer.cell, FusionScores())
        found.add(answer.report, mentions, answer.sample.group)
    aurocs, gains = {}, {}
    for cell, found in track(scores.items(), "intervals"):
        found.fit()
        aurocs[cell] = auroc_intervals(found.values, found.correct, found.images)
        gains[cell] = auroc_differences(found.values, "product", found.correct, found.images)
    write_csv(
        folder / "fusion.csv",
        [
            *("model", "method", "benchmark", "fusion", "correct", "hallucinated"),
            *("auroc", "auroc_low", "auroc_high"),
            *("product_minus_this", "difference_low", "difference_high"),
            "rank_correlation_with_log_probability",
        ],
        (
            [
                *(*cell, fusion, *counts(scores[cell].correct)),
                *numbers(interval),
                *numbers(gains[cell].get(fusion)),
                scores[cell].likeness(fusion),
            ]
            for cell, intervals in aurocs.items()
            for fusion, interval in intervals.items()
        ),
    )
    titled = {title_of(cell): intervals for cell, intervals in aurocs.items()}
    title = "AUROC of each fusion: a correct mention above a hallucinated one"
    plot_intervals(titled, title, folder / "fusion.png")
    files = ["fusion.csv", "fusion.png"]
    for cell, example in track(examples.found.items(), "pictures"):
        for token in example.tokens:
            files.append(f"{file_stem(cell)}-token{token}.png")
            plot_fusions(
                example.answer.report,
                token,
                folder / files[-1],
                labels=example.labels,
                aurocs=aurocs[cell],
            )
    notes = [f"{title_of(cell)}: {found.note}" for cell, found in scores.items() if found.note]
    return FusionAnalysis(folder, scores, aurocs, gains, files, notes)


def _table(cell: Cell, found: FusionAnalysis) -> Table:
    correct, wrong = counts(found.scores[cell].correct)
    title = f"{title_of(cell)}: {correct} correct and {wrong} hallucinated mentions"
    rows: list[Line] = []
    for fusion, interval in found.aurocs[cell].items():
        name = f"mlp (fitted, {FOLDS} folds of images)" if fusion == "mlp" else fusion
        gain = found.gains[cell].get(fusion)
        likeness = f"{found.scores[cell].likeness(fusion):+.2f}"
        rows.append([name, interval_cell(interval), interval_cell(gain, "+"), likeness])
    heads = ("fusion", "AUROC", "product minus this", "with log-probability")
    return new_table(title, heads, rows)
