"""``lvlmsal analyze layers``: which layers tell, and pictures of chosen tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lvlmsal.analysis.answer_maps import plot_answer, plot_interventions, plot_layer_grid
from lvlmsal.analysis.charts import plot_layers
from lvlmsal.analysis.described_run import describe
from lvlmsal.analysis.examples import Example, Examples, file_stem, labeled
from lvlmsal.analysis.labels import Mention
from lvlmsal.analysis.maps import plot_tokens
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
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.progress import track
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.plot import new_figure
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.statistics.auroc import auroc_intervals
from lvlmsal.statistics.intervals import Interval
from lvlmsal.tables.table import Table

ALL_LAYERS = SaliencyOptions(layers=None)
"""The defaults, with every layer of the decoder."""


@dataclass
class LayerScores:
    """S(c) of the mentions of one model, method and benchmark, in each layer alone.

    Attributes:
        layers: Indices of the layers.
        correct: Whether each mention is correct.
        images: What each mention belongs to.
        values: For each quantity one list for each layer, which holds a value for each mention.
    """

    layers: list[int]
    correct: list[bool] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    values: dict[str, list[list[float]]] = field(default_factory=dict)

    def add(self, report: SaliencyReport, mentions: Iterable[Mention], image: str) -> None:
        """Add an answer's mentions; one without any context has no S(c) and is left out."""
        quantities = {
            "saliency": report.per_layer(),
            "attention, normalized": report.per_layer("attention"),
            "gradient, normalized": report.per_layer("gradient"),
            "attention": report.per_layer(of="attention"),
        }
        for mention in mentions:
            if bool(quantities["saliency"][mention.start].isnan().any()):
                continue
            self.correct.append(not mention.hallucinated)
            self.images.append(image)
            for name, values in quantities.items():
                kept = self.values.setdefault(name, [[] for _ in self.layers])
                for column, value in zip(kept, values[mention.start].tolist(), strict=True):
                    column.append(value)

    def aurocs(self, *, draws: int = 2000) -> dict[str, dict[int, Interval]]:
        """For each quantity the AUROC of each layer: a correct mention above a hallucinated one."""
        columns = {
            f"{name}/{layer}": column
            for name, kept in self.values.items()
            for layer, column in zip(self.layers, kept, strict=True)
        }
        found = auroc_intervals(columns, self.correct, self.images, draws=draws)
        return {
            name: {layer: found[f"{name}/{layer}"] for layer in self.layers} for name in self.values
        }


@dataclass(frozen=True)
class LayerAnalysis:
    """What `analyze_layers` found.

    Attributes:
        folder: Where tables and pictures lie.
        scores: Of each model, method and benchmark.
        aurocs: By quantity and layer, likewise.
        files: Names of the files in the folder.
        notes: What could not be drawn, and why.
    """

    folder: Path
    scores: dict[Cell, LayerScores]
    aurocs: dict[Cell, dict[str, dict[int, Interval]]]
    files: list[str]
    notes: list[str]

    def tables(self) -> list[Table]:
        """One table for each model, method and benchmark, for a terminal."""
        return [
            _table(cell, self.scores[cell], quantities) for cell, quantities in self.aurocs.items()
        ]


def analyze_layers(
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    out: Path | None = None,
    options: SaliencyOptions = ALL_LAYERS,
    sample: str | None = None,
    tokens: Sequence[int] = (),
    lvlms: Mapping[str, Lvlm] | None = None,
) -> LayerAnalysis:
    """AUROC of every layer, and Figures 1, 2, 3, 6, 12, 13 and 14 on an answer of each model.

    Args:
        config: An ordinary config with a CHAIR benchmark; answers that are missing are given.
        overrides: Texts ``key=value``.
        out: Folder to write into; by default ``analysis/layers`` in the run folder.
        options: Which saliency, the same for all methods; all layers by default.
        sample: Id of the sample to draw; by default the first with both kinds of mentions.
        tokens: Indices of the tokens to draw; by default the first mention of each kind.
        lvlms: Models that are already loaded, by name.

    Raises:
        ConfigError: The config is wrong or asks for no descriptions, or there is no such token.
        UnsupportedError: matplotlib is not installed.
    """
    new_figure(1, 1)  # better to learn now than after the answers that there is no matplotlib
    run = describe(config, overrides, lvlms=lvlms)
    folder = run.output("layers", out)
    scores: dict[Cell, LayerScores] = {}
    examples = Examples(sample, tokens)
    for answer, mentions in labeled(run, options, examples, lvlms=lvlms):
        found = scores.setdefault(answer.cell, LayerScores(list(answer.report.layers)))
        found.add(answer.report, mentions, answer.sample.group)
    aurocs = {
        cell: found.aurocs() for cell, found in track(scores.items(), "intervals") if found.correct
    }
    write_csv(
        folder / "layers.csv",
        [
            *("model", "method", "benchmark", "quantity", "layer"),
            *("correct", "hallucinated", "auroc", "auroc_low", "auroc_high"),
        ],
        (
            [*cell, quantity, layer, *counts(scores[cell].correct), *numbers(found)]
            for cell, quantities in aurocs.items()
            for quantity, layers in quantities.items()
            for layer, found in layers.items()
        ),
    )
    plot_layers({title_of(cell): found for cell, found in aurocs.items()}, folder / "layers.png")
    files = ["layers.csv", "layers.png"]
    for cell, example in track(examples.found.items(), "pictures"):
        files += draw_example(example, folder, file_stem(cell))
    notes = [
        f"no pictures of {title_of(cell)}: "
        + (f"it has no sample {sample!r}" if sample else "no answer has mentions of both kinds")
        for cell in scores
        if cell not in examples.found
    ]
    return LayerAnalysis(folder, scores, aurocs, files, notes)


def draw_example(example: Example, folder: Path, stem: str) -> list[str]:
    """Draw every picture of one answer.

    Args:
        example: The answer and the chosen tokens.
        folder: Where to write.
        stem: Beginning of the files' names.

    Returns:
        Names of the files.
    """
    answer, labels, tokens = example.answer, example.labels, example.tokens
    report = answer.report
    names = [f"{stem}-{part}.png" for part in ("tokens", "grid", "answer", "locore")]
    plot_tokens(report, tokens, folder / names[0], labels=labels)
    plot_layer_grid(report, folder / names[1])
    plot_answer(report, tokens, folder / names[2], labels=labels)
    # the answer as it stands, judged without and with LocoRE, whatever gave it
    pair = {
        name: answer.lvlm.diagnose(
            report.images,
            report.prompt,
            report.token_ids,
            options=report.options,
            interventions=edits,
        )
        for name, edits in (("without LocoRE", ()), ("with LocoRE", ("locore",)))
    }
    plot_interventions(pair, folder / names[3], labels=labels)
    return names


def _table(
    cell: Cell, scores: LayerScores, quantities: Mapping[str, Mapping[int, Interval]]
) -> Table:
    correct, wrong = counts(scores.correct)
    title = f"{title_of(cell)}: AUROC of each layer, {correct} correct and {wrong} hallucinated"
    rows: list[Line] = [
        [str(layer), *(interval_cell(layers[layer]) for layers in quantities.values())]
        for layer in scores.layers
    ]
    return new_table(title, ["layer", *quantities], rows)
