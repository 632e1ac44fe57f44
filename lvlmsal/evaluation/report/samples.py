"""Samples of a report: small pictures, prompts, and the answers of all methods side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.adapters import open_image
from lvlmsal.errors import LvlmsalError
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.results.scored import Scored, outcomes_of
from lvlmsal.pictures import encode_image
from lvlmsal.registry import BENCHMARKS

DIFFERENT, ALIKE = 4, 2
"""Samples of each model and benchmark: where methods differ, and where they do not."""

SAMPLES = 60
FAILURES = 50
PICTURE_BYTES = 2_000_000
"""Most that a page shows of each, all models and benchmarks together; pictures as base64."""

_TEXT = 1500
_EDGE = 200

Answers = dict[str, dict[str, Record]]
"""Records by method, by sample."""


@dataclass(frozen=True)
class Picture:
    """A small copy of an image.

    Attributes:
        name: Of its file; where there is no copy, with the reason.
        source: The copy as a ``data:`` address; empty without one.
    """

    name: str
    source: str = ""


@dataclass(frozen=True)
class ShownAnswer:
    """What one method answered.

    Attributes:
        method: Name of the method.
        text: The answer, or why there is none.
        mark: The metric's judgment in a word; empty where it gives none.
        good: Whether that is good.
        changed: Whether the method that it is compared with answers differently.
    """

    method: str
    text: str
    mark: str
    good: bool
    changed: bool


@dataclass(frozen=True)
class ShownSample:
    """A sample with the answers of all methods.

    Attributes:
        id: Of the sample.
        prompt: What was asked.
        target: What the benchmark expects.
        pictures: Its images.
        answers: One for each method.
    """

    id: str
    prompt: str
    target: str
    pictures: list[Picture]
    answers: list[ShownAnswer]


@dataclass(frozen=True)
class ShownBlock:
    """Samples of one model and benchmark.

    Attributes:
        title: Names of both.
        samples: Some of them.
    """

    title: str
    samples: list[ShownSample]


def shown_samples(
    cells: Sequence[Scored], config: RunConfig, opponents: Mapping[str, str]
) -> list[ShownBlock]:
    """Some samples of each model and benchmark.

    They are spread over the samples in the order of their ids; two thirds of them are samples to
    which methods answer differently, so they are no picture of how often that happens.

    Args:
        cells: The answers; of several seeds only the first is shown.
        config: The resolved config, which says where the images are.
        opponents: What each method is compared with.
    """
    by_block: dict[tuple[str, str], list[Scored]] = {}
    for cell in cells:
        own = by_block.setdefault((cell.model, cell.benchmark), [])
        if cell.method not in [other.method for other in own]:
            own.append(cell)
    most = max(1, SAMPLES // max(1, len(by_block)))
    pictures = _Pictures(config)
    blocks = []
    for (model, benchmark), own in list(by_block.items())[:SAMPLES]:
        answers: Answers = {}
        for cell in own:
            for record in cell.records:
                answers.setdefault(str(record["sample_id"]), {})[cell.method] = record
        marks = {cell.method: _marks(cell) for cell in own}
        chosen = [
            _sample(sample, answers[sample], marks, opponents, pictures)
            for sample in choose_samples(answers)[:most]
        ]
        blocks.append(ShownBlock(f"{model}: {benchmark}", chosen))
    return blocks


def choose_samples(answers: Answers) -> list[str]:
    """Ids of samples to show: first some that methods answer differently, then some others.

    Example:
        >>> same, other = {"a": {"answer": "x"}}, {"a": {"answer": "x"}, "b": {"answer": "y"}}
        >>> choose_samples({"1": same, "2": other, "3": same})
        ['2', '1', '3']
    """
    ids = sorted(answers)
    differ = [s for s in ids if len({r["answer"] for r in answers[s].values()}) > 1]
    alike = [s for s in ids if s not in set(differ)]
    return [*_spread(differ, DIFFERENT), *_spread(alike, ALIKE)]


def _spread(ids: Sequence[str], count: int) -> list[str]:
    """So many of the ids, at even distances."""
    if len(ids) <= count:
        return list(ids)
    return [ids[index * len(ids) // count] for index in range(count)]


def failures(cells: Sequence[Scored]) -> list[tuple[str, ...]]:
    """Model, method, benchmark, id and error of each sample that failed."""
    return [
        (cell.model, cell.method, cell.benchmark, str(record["sample_id"]), str(record["error"]))
        for cell in cells
        for record in cell.records
        if record["status"] != "ok"
    ]


def _marks(cell: Scored) -> dict[str, tuple[bool, str]]:
    """For each sample, whether the answer is good and in a word why, where the metric says so."""
    found = outcomes_of(cell.metric, cell.rows)
    if found is None:
        return {}
    figure, hits = found
    higher = cell.metric.figure_info[figure]
    marks = {}
    for record, hit in zip(cell.records, hits, strict=True):
        if higher:
            marks[str(record["sample_id"])] = (hit, "right" if hit else "wrong")
        else:
            marks[str(record["sample_id"])] = (not hit, f"{figure}: {'yes' if hit else 'no'}")
    return marks


def _sample(
    sample: str,
    records: Mapping[str, Record],
    marks: Mapping[str, Mapping[str, tuple[bool, str]]],
    opponents: Mapping[str, str],
    pictures: _Pictures,
) -> ShownSample:
    first = next(iter(records.values()))
    target = first["target"]
    shown = target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)
    answers = []
    for method, record in records.items():
        good, mark = marks[method].get(sample, (False, ""))
        other = records.get(opponents.get(method, ""))
        changed = other is not None and other["answer"] != record["answer"]
        text = record["answer"] if record["status"] == "ok" else f"failed: {record['error']}"
        answers.append(ShownAnswer(method, _cut(str(text)), mark, good, changed))
    return ShownSample(sample, _cut(first["prompt"]), _cut(shown), pictures.of(first), answers)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + " … (cut)"


class _Pictures:
    """Finds the images of samples and makes small copies of them, as long as there is room."""

    def __init__(self, config: RunConfig) -> None:
        self._entries = {entry.label: entry for entry in config.benchmarks}
        self._paths: dict[str, dict[str, tuple[Path, ...]]] = {}
        self._made: dict[Path, Picture] = {}
        self._left = PICTURE_BYTES

    def of(self, record: Record) -> list[Picture]:
        """Copies of the images of a sample; a word where an image is not there any more."""
        paths = self._files(record)
        if not record.get("images"):
            return []
        if not paths:
            return [Picture(f"image not found: {', '.join(map(str, record['images'][:4]))}")]
        return [self._picture(path) for path in paths[:4]]

    def _files(self, record: Record) -> tuple[Path, ...]:
        label = record["benchmark"]
        if label not in self._entries or not record.get("images"):
            return ()
        entry = self._entries[label]
        try:
            benchmark = BENCHMARKS.build(entry.name, **entry.options)
            # images usually lie in one folder: no need to read the questions again
            flat = tuple(benchmark.image_root() / name for name in record["images"])
            if all(path.is_file() for path in flat):
                return flat
            if label not in self._paths:
                self._paths[label] = {s.id: s.images for s in benchmark.samples()}
        except (LvlmsalError, OSError):
            # a run can be scored where its data are not: the page says which image is missing
            self._paths[label] = {}
        return self._paths[label].get(str(record["sample_id"]), ())

    def _picture(self, path: Path) -> Picture:
        if path not in self._made:
            self._made[path] = self._encoded(path)
        return self._made[path]

    def _encoded(self, path: Path) -> Picture:
        try:
            image = open_image(path)
        except LvlmsalError:
            return Picture(f"image not found: {path.name}")
        # many stand on one page: no PNG, which takes several times as much
        source = encode_image(image, _EDGE, lossless=0, quality=75)["src"]
        if len(source) > self._left:
            return Picture(path.name)
        self._left -= len(source)
        return Picture(path.name, source)
