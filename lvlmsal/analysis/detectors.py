"""``lvlmsal detect compare``: every detector on the answers of a run, in one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lvlmsal.analysis.answer_labels import ObjectLabels, labels_of
from lvlmsal.analysis.described_run import answered_run
from lvlmsal.analysis.detector_fits import with_fitted
from lvlmsal.analysis.detector_mentions import (
    DetectedMention,
    detected_mentions,
    write_detected,
)
from lvlmsal.analysis.detector_passes import PASSES, PassStore, mark_of
from lvlmsal.analysis.detector_scores import CellScores, score_detectors
from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.analysis.detector_tables import detector_table, write_summary
from lvlmsal.analysis.expectations import Expectations
from lvlmsal.analysis.labels import listed_words
from lvlmsal.analysis.output import Cell, made_folder, title_of
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.results.atomic import write_json
from lvlmsal.evaluation.results.records import finite
from lvlmsal.evaluation.run.replay import recorded_answers
from lvlmsal.model.lvlm import Lvlm
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
        return [detector_table(cell, found) for cell, found in self.cells.items()]


def compare_detectors(
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    out: Path | None = None,
    detectors: Sequence[str] = (),
    ask: bool = False,
    scalings: Path | None = None,
    lvlms: Mapping[str, Lvlm] | None = None,
    draws: int = 2000,
) -> DetectorComparison:
    """Judge the labeled words of a run's answers by every detector, and score the detectors.

    What was found of an answer is kept as soon as it is there, so a comparison that was stopped
    goes on where it was.

    Args:
        config: An ordinary config with descriptions (``chair``, AMBER) or yes-no questions (POPE,
            MME, AMBER), see `lvlmsal.analysis.answer_labels`; answers that are missing are given.
        overrides: Texts ``key=value``.
        out: Folder for tables; by default ``analysis/detectors`` in the run folder.
        detectors: Names; by default all that need no more than one further pass.
        ask: Whether those that ask the model more are compared as well.
        scalings: Folder with a file ``<model>.json`` for each model, as ``lvlmsal fit`` writes
            them; by default those that are shipped.
        lvlms: Models that are already loaded, by name.
        draws: Number of resamples of the images.

    Raises:
        ConfigError: The config is wrong or asks for no descriptions.
        DataError, UnsupportedError: A file of scalings is missing, damaged or another model's.
    """
    run, labels = answered_run(config, overrides, labels_of, lvlms=lvlms)
    folder = made_folder(out or run / "analysis" / "detectors")
    # a lens compares the words of descriptions, also where questions stand next to them
    described = [held for held in labels.values() if isinstance(held, ObjectLabels)]
    words = listed_words([*described, *labels.values()][0].words)
    store = PassStore(folder / PASSES)
    ready: dict[str, ReadyDetectors] = {}
    marks: dict[str, str] = {}
    habits: dict[str, Expectations | None] = {}
    mentions: list[DetectedMention] = []
    for answer in recorded_answers(run, benchmarks=list(labels), lvlms=lvlms):
        label = answer.cell[2]
        if label not in habits:
            is_described = isinstance(labels[label], ObjectLabels)
            habits[label] = Expectations.of(answer.benchmark) if is_described else None
        if answer.model not in ready:
            file = None if scalings is None else scalings / f"{answer.model}.json"
            ready[answer.model] = ReadyDetectors.of(detectors, answer.lvlm, file, words, ask=ask)
            marks[answer.model] = mark_of(ready[answer.model])
        key, mark = str(answer.record["key"]), marks[answer.model]
        found = store.of(key, mark)
        if found is None:
            mine = ready[answer.model]
            found = detected_mentions(answer, labels[label], mine, habits[label])
            store.add(key, mark, found)
        mentions += found
    notes = [f"{model}: {note}" for model, held in ready.items() for note in held.notes]
    notes += [f"{label}: {known.note()}" for label, known in habits.items() if known is not None]
    return compared(mentions, notes, folder, draws=draws)


def score_passes(folder: Path, *, draws: int = 2000) -> DetectorComparison:
    """Score what `compare_detectors` has left in a folder once more, without a model.

    Args:
        folder: That it wrote into.
        draws: Number of resamples of the images.

    Raises:
        DataError: There is no such file, or answers were judged by different detectors.
    """
    path = folder / PASSES
    if not path.is_file():
        raise DataError("there is no such file: type  lvlmsal detect compare CONFIG", path=path)
    return compared(PassStore(path).latest(), [], folder, draws=draws)


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
    notes += [
        f"{title_of(cell)}: {entry.detector} cannot judge {entry.unjudged} of {found.mentions} "
        "first mentions and is scored on the others, also against log-probability"
        for cell, found in cells.items()
        for entry in found.detectors
        if entry.unjudged
    ]
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
    write_summary(folder / "summary.csv", cells)
    files = ["mentions.csv", "summary.json", "summary.csv"]
    return DetectorComparison(folder, mentions, cells, files, notes)
