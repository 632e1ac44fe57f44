"""A run next to a packed one of the same config: the first difference, and why there may be one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lvlmsal.comparisons.packing import unpacked
from lvlmsal.errors import DataError
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.folder import read_environment
from lvlmsal.evaluation.results.manifests import Asked, read_manifest
from lvlmsal.evaluation.results.records import Record, all_records

CLOSE = 1e-9
"""Figures that are nearer than this are the same: other machines round the last digits."""

_LOADED = ("class", "dtype", "attention", "processor", "image_processor", "image_backend")
_MACHINE = ("packages", "python", "device", "gpus", "threads", "world")
_METRIC = ("metric", "metric_options", "variant", "metrics", "judge")


class Cell(NamedTuple):
    """What one seed of a method on a benchmark is called in both runs."""

    model: str
    method: str
    benchmark: str
    seed: int

    def __str__(self) -> str:
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.model}, {self.method}, {self.benchmark}{seed}"


@dataclass(frozen=True)
class RunFiles:
    """What a run folder says of its run.

    Attributes:
        config: The content of ``config.yaml``.
        environment: Of ``environment.json``.
        results: Of ``results.json``.
        records: Records by sample, of each cell.
        settings: What each cell was asked with.
        asked: Digests of what was asked, by benchmark and sample.
    """

    config: dict[str, Any]
    environment: dict[str, Any]
    results: dict[str, Any]
    records: dict[Cell, dict[str, Record]]
    settings: dict[Cell, dict[str, Any]]
    asked: dict[str, dict[str, Asked]]

    @classmethod
    def read(cls, folder: Path) -> RunFiles:
        """Read a run folder.

        Raises:
            DataError: It is none, or a file is damaged.
        """
        try:
            config = yaml.safe_load((folder / names.CONFIG).read_text(encoding="utf-8"))
            results = json.loads((folder / names.RESULTS).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DataError(f"holds no run that is scored: {error}", path=folder) from error
        environment = read_environment(folder)
        records: dict[Cell, dict[str, Record]] = {}
        settings: dict[Cell, dict[str, Any]] = {}
        for key, record in all_records(folder / names.RECORDS).items():
            said = environment["cells"].get(key.partition("/")[0])
            if said is None:
                continue  # of a method that was taken out of the config
            label = said["benchmark"]["label"]
            cell = Cell(said["model"]["name"], said["method"], label, said["seed"])
            settings[cell] = said
            records.setdefault(cell, {})[record["sample_id"]] = record
        labels = {cell.benchmark for cell in records}
        asked = {label: read_manifest(folder, label) or {} for label in labels}
        return cls(config, environment, results, records, settings, asked)


@dataclass(frozen=True)
class Match:
    """A run next to a reference.

    Attributes:
        answers: How many both have.
        different: How many of them are not the same, token for token.
        first: The first of those, as a sentence; empty if there is none.
        figures: Figures that differ, one sentence each.
        missing: What only one of them has, one sentence each.
        causes: What else is not the same, likeliest first; only where something differs.
    """

    answers: int
    different: int
    first: str
    figures: list[str]
    missing: list[str]
    causes: list[str]

    @property
    def same(self) -> bool:
        """Whether all answers and figures are those of the reference."""
        return not (self.different or self.figures or self.missing)

    def __str__(self) -> str:
        if self.same:
            return f"the same: {self.answers} answers, token for token, and all figures"
        lines = [f"{self.different} of {self.answers} answers differ"]
        lines += [f"first: {self.first}"] if self.first else []
        lines += _some("figure", self.figures)
        lines += _some("missing", self.missing)
        if not self.causes:
            lines.append("nothing else that runs write down differs: sums of another machine may")
        return "\n".join([*lines, *(f"why it may be: {cause}" for cause in self.causes)])


def _some(title: str, texts: list[str], most: int = 5) -> list[str]:
    more = [f"{title}: {len(texts) - most} more"] if len(texts) > most else []
    return [*(f"{title}: {text}" for text in texts[:most]), *more]


def compare_with_reference(run: Path | str, reference: Path | str) -> Match:
    """Compare a run with a packed one, sample by sample.

    Cells go together by the names of model, method and benchmark and by the seed, samples by their
    ids, whatever their settings: those are what is to be found.

    Args:
        run: A run folder.
        reference: A file that `pack_run` has written.

    Raises:
        DataError: One of them is no run, or damaged.
    """
    with unpacked(reference) as folder:
        theirs = RunFiles.read(folder)
    mine = RunFiles.read(Path(run))
    missing = [f"{cell}: only in the reference" for cell in theirs.records.keys() - mine.records]
    missing += [f"{cell}: only in this run" for cell in mine.records.keys() - theirs.records]
    answers: list[tuple[Cell, str]] = []
    for cell, records in theirs.records.items():
        own = mine.records.get(cell, {})
        lacking = records.keys() ^ own.keys() if own else set()
        if lacking:
            missing.append(f"{cell}: {len(lacking)} samples, such as {min(lacking)!r}")
        answers += [(cell, key) for key in records if key in own]
    different = [
        (cell, key)
        for cell, key in answers
        if _answer(mine.records[cell][key]) != _answer(theirs.records[cell][key])
    ]
    found = next(iter(different), None)
    figures = list(_figures(mine, theirs))
    causes: list[str] = []
    if found is not None:
        causes = list(_causes(mine, theirs, *found))
    elif figures or missing:
        cell = next(iter(theirs.records))
        causes = [*_scoring(mine, theirs), *_machine(mine, theirs, cell)]
    first = "" if found is None else _first(mine, theirs, *found)
    return Match(len(answers), len(different), first, figures, sorted(missing), causes)


def _answer(record: Record) -> tuple[Any, ...]:
    return record["status"], record["answer"], record.get("token_ids")


def _first(mine: RunFiles, theirs: RunFiles, cell: Cell, key: str) -> str:
    """The two answers of a sample, and where they part."""
    a, b = mine.records[cell][key], theirs.records[cell][key]
    text = f"{cell}, sample {key}: {a['answer']!r} here, {b['answer']!r} in the reference"
    ids = zip_longest(a.get("token_ids", []), b.get("token_ids", []))
    place = next((index for index, (x, y) in enumerate(ids) if x != y), None)
    return text if place is None else f"{text}; they part at token {place + 1}"


def _figures(mine: RunFiles, theirs: RunFiles) -> Iterator[str]:
    """Values of figures that are not those of the reference."""
    own = {_name(entry): entry for entry in mine.results["cells"]}
    for entry in theirs.results["cells"]:
        here = own.get(_name(entry), {}).get("figures")
        for name, figure in entry["figures"].items() if here is not None else ():
            value, mine_is = figure["value"], here.get(name, {}).get("value")
            if not _close(mine_is, value):
                yield f"{_name(entry)}: {name} is {mine_is}, in the reference {value}"


def _name(entry: Mapping[str, Any]) -> Cell:
    return Cell(entry["model"], entry["method"], entry["benchmark"], entry.get("seed", 0))


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE)


def _causes(mine: RunFiles, theirs: RunFiles, cell: Cell, key: str) -> Iterator[str]:
    """What differs for a sample besides its answer, from what is nearest to it outwards."""
    a, b = mine.records[cell][key], theirs.records[cell][key]
    for name in ("error", "prompt", "images"):
        yield from _unlike(name, a[name], b[name])
    asked, there = (run.asked[cell.benchmark].get(key) for run in (mine, theirs))
    if asked is not None and there is not None:
        pixels = [[digest for _, digest in each.images] for each in (asked, there)]
        if pixels[0] != pixels[1]:
            yield "the images of the sample are other files (digests in samples/)"
        if asked.digest != there.digest:
            yield "the sample is another one: its question, its target or its group"
    yield from _unlike("", mine.settings[cell], theirs.settings[cell])
    yield from _machine(mine, theirs, cell)
    batches = [record.get("batch_size") for record in (a, b)]
    yield from _unlike("batch size", *batches)


def _machine(mine: RunFiles, theirs: RunFiles, cell: Cell) -> Iterator[str]:
    """What the model was loaded as, with which packages and on what."""
    models = [run.environment["models"].get(cell.model, {}) for run in (mine, theirs)]
    for name in (*_LOADED, "weights", "files", "revision"):
        title = f"{name} (digest)" if name in ("weights", "files") else name
        yield from _unlike(title, *(model.get(name) for model in models))
    trainers = [run.config.get("trainer", {}) for run in (mine, theirs)]
    yield from _unlike("precision", *(trainer.get("precision") for trainer in trainers))
    for name in _MACHINE:
        yield from _unlike(name, *(run.environment.get(name) for run in (mine, theirs)))


def _scoring(mine: RunFiles, theirs: RunFiles) -> Iterator[str]:
    """What figures are made with, where answers are the same."""
    own = {_name(entry): entry for entry in mine.results["cells"]}
    told = set()
    for entry in theirs.results["cells"]:
        other = own.get(_name(entry), entry)
        for name in _METRIC:
            told |= {
                f"{entry['benchmark']}: {text}"
                for text in _unlike(name, other.get(name), entry.get(name))
            }
    yield from sorted(told)


def _unlike(title: str, mine: Any, theirs: Any) -> Iterator[str]:
    """Each leaf in which two JSON values differ, as a sentence."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in dict.fromkeys([*theirs, *mine]):
            inner = f"{title} {name}".strip()
            yield from _unlike(inner, mine.get(name), theirs.get(name))
    elif mine != theirs:
        yield f"{title}: {mine!r} here, {theirs!r} in the reference"
