"""``lvlmsal detect compare``: every detector on the answers of a run, in one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lvlmsal.analysis.described_run import describe
from lvlmsal.analysis.detector_fits import with_fitted
from lvlmsal.analysis.detector_mentions import (
    DetectedMention,
    detected_mentions,
    write_detected,
)
from lvlmsal.analysis.detector_scores import (
    FALSE_ALARMS,
    REFERENCE,
    CellScores,
    DetectorScores,
    score_detectors,
)
from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.analysis.labels import listed_words
from lvlmsal.analysis.output import (
    Cell,
    Line,
    interval_cell,
    new_table,
    numbers,
    title_of,
    write_csv,
)
from lvlmsal.errors import UnsupportedError
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.results.folder import write_json
from lvlmsal.evaluation.results.records import finite
from lvlmsal.evaluation.run.replay import recorded_answers
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.registry import DETECTORS
from lvlmsal.tables.table import Table


@dataclass(frozen=True)
class DetectorComparison:
    """What `compare_detectors` found.

    Attributes:
        folder: Where tables lie.
        mentions: One for each mention of an object.
        cells: Scores of each model, method and benchmark.
        files: Names of the files in the folder.
        notes: What is missing, and why.
    """

    folder: Path
    mentions: list[DetectedMention]
    cells: dict[Cell, CellScores]
    files: list[str]
    notes: list[str]

    def tables(self) -> list[Table]:
        """One table for each model, method and benchmark, for a terminal."""
        return [_table(cell, found) for cell, found in self.cells.items()]


def compare_detectors(
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    out: Path | None = None,
    detectors: Sequence[str] = (),
    scalings: Path | None = None,
    lvlms: Mapping[str, Lvlm] | None = None,
    draws: int = 2000,
) -> DetectorComparison:
    """Judge the objects in a run's descriptions by every detector, and score these by CHAIR.

    Args:
        config: An ordinary config with a CHAIR benchmark; answers that are missing are given.
        overrides: Texts ``key=value``.
        out: Folder for tables; by default ``analysis/detectors`` in the run folder.
        detectors: Names; all by default.
        scalings: Folder with a file ``<model>.json`` for each model, as ``lvlmsal fit`` writes
            them; by default those that are shipped.
        lvlms: Models that are already loaded, by name.
        draws: Number of resamples of the images.

    Raises:
        ConfigError: The config is wrong or asks for no descriptions.
        DataError, UnsupportedError: A file of scalings is missing, damaged or another model's.
    """
    run = describe(config, overrides, lvlms=lvlms)
    folder = run.output("detectors", out)
    ready: dict[str, ReadyDetectors] = {}
    mentions: list[DetectedMention] = []
    for answer in recorded_answers(run.folder, benchmarks=list(run.vocabularies), lvlms=lvlms):
        vocabulary = run.vocabularies[answer.record["benchmark"]]
        if answer.model not in ready:
            file = None if scalings is None else scalings / f"{answer.model}.json"
            ready[answer.model] = ReadyDetectors.of(
                detectors, answer.lvlm, file, listed_words(vocabulary)
            )
        mentions += detected_mentions(answer, vocabulary, ready[answer.model])
    notes = [f"{model}: {note}" for model, found in ready.items() for note in found.notes]
    return compared(mentions, notes, folder, draws=draws)


def compared(
    mentions: Sequence[DetectedMention], notes: Sequence[str], folder: Path, *, draws: int = 2000
) -> DetectorComparison:
    """Fit what has to be fitted, score every detector, and write what was found.

    Args:
        mentions: Of any models, methods and benchmarks, which are scored apart.
        notes: What is missing so far.
        folder: To write into.
        draws: Number of resamples of the images.
    """
    notes = list(notes)
    by_cell: dict[Cell, list[DetectedMention]] = {}
    for mention in mentions:
        by_cell.setdefault(mention.cell, []).append(mention)
    for cell, part in by_cell.items():
        try:
            by_cell[cell] = with_fitted(part)
        except UnsupportedError as error:
            notes.append(f"{title_of(cell)}: nothing is fitted on labels: {error}")
    mentions = [mention for part in by_cell.values() for mention in part]
    cells = {cell: score_detectors(part, draws=draws) for cell, part in by_cell.items()}
    write_detected(folder / "mentions.csv", mentions)
    write_json(
        folder / "summary.json",
        finite(
            [
                {
                    **dict(zip(("model", "method", "benchmark"), cell, strict=True)),
                    **asdict(found),
                    "base_rate": found.base_rate,
                }
                for cell, found in cells.items()
            ]
        ),
    )
    _write_summary(folder / "summary.csv", cells)
    files = ["mentions.csv", "summary.json", "summary.csv"]
    return DetectorComparison(folder, mentions, cells, files, notes)


def _write_summary(path: Path, cells: Mapping[Cell, CellScores]) -> None:
    figures = ("precision", "aurc", "ratio", "recall", "ece")
    write_csv(
        path,
        [
            *("model", "method", "benchmark", "mentions", "wrong", "images", "detector"),
            *("auroc", "auroc_low", "auroc_high", "gain", "gain_low", "gain_high"),
            *figures,
            *("auroc_all", "auroc_all_low", "auroc_all_high"),
        ],
        (
            [
                *cell,
                *(found.mentions, found.wrong, found.images, entry.detector),
                *numbers(entry.auroc),
                *numbers(entry.gain),
                *(getattr(entry, name) for name in figures),
                *numbers(entry.every),
            ]
            for cell, found in cells.items()
            for entry in found.detectors
        ),
    )


def _table(cell: Cell, found: CellScores) -> Table:
    title = (
        f"{title_of(cell)}: {found.mentions} first mentions in {found.images} images, "
        f"{found.wrong} wrong (base rate {found.base_rate:.3f}, best AURC {found.best:.4f})"
    )
    heads = (
        *("detector", "AUROC", f"minus {REFERENCE}", "AP", "AURC"),
        *(f"recall at {FALSE_ALARMS:.0%} false alarms", "ECE", "AUROC, all mentions", "cost"),
    )
    return new_table(title, heads, [_line(entry) for entry in found.detectors])


def _line(entry: DetectorScores) -> Line:
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
        (f"+ {passes}" if (passes := DETECTORS.get(entry.detector).passes) else "")
        if known
        else "",
    ]
