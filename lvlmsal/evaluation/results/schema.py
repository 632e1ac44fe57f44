"""The form of ``results.json``; docs/results.md says what each key means.

Undefined numbers are null in the file. The types are those of what is written and read: a run that
an earlier version scored may lack what came later.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

SCHEMA_VERSION = 1
"""Goes up when a key of ``results.json`` changes its meaning or is removed, not with a new key."""


IntervalKind = Literal["bootstrap", "wilson", "wilson over groups"]
"""How an interval was found; the last one treats each group (image) as one trial."""


class Bounds(TypedDict):
    """A value with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


class Figure(Bounds):
    """One value of a metric; the last three are those of a summary over seeds."""

    interval: IntervalKind
    higher_is_better: bool | None
    difference: Bounds | None
    std: NotRequired[float | None]
    min: NotRequired[float | None]
    max: NotRequired[float | None]


class McNemarTest(TypedDict):
    """McNemar's exact test against the method that a cell is compared with."""

    figure: str
    only_this: int
    only_other: int
    p_value: float
    independent: bool


class Cost(TypedDict):
    """What the answers took."""

    ms_per_token: float | None
    forwards_per_token: float | None
    peak_memory: int | None


class JudgeNote(TypedDict):
    """Who has judged a cell, and how much of it."""

    judge: str | None
    official_judge: str
    prompt: str
    unjudged: int
    read: int | None
    of: int | None


class FurtherMetric(TypedDict):
    """A metric that the config names next to the benchmark's own."""

    label: str
    metric: str
    metric_options: dict[str, Any]
    variant: str | None
    figures: list[str]


class Entry(TypedDict):
    """What a cell and a summary over seeds have in common."""

    model: str
    method: str
    benchmark: str
    metric: str
    metric_options: dict[str, Any]
    variant: str | None
    n: int
    failed: int
    groups: int
    compared_with: str | None
    decoder_differs: bool | None
    changed: int | None
    tokens_changed: int | None
    mcnemar: McNemarTest | None
    new_tokens: int
    tokens_per_second: float | None
    cost: Cost
    figures: dict[str, Figure]
    metrics: NotRequired[list[FurtherMetric]]
    saliency_row: NotRequired[str]


class Cell(Entry):
    """The answers of one model with one method on one benchmark, with one seed."""

    seed: int
    judge: NotRequired[JudgeNote]


class Summary(Entry):
    """The cells of a method that differ in their seed only."""

    seeds: list[int]


class Bootstrap(TypedDict):
    """How intervals were resampled."""

    samples: int
    seed: int


class UnfinishedCell(TypedDict):
    """A cell with answers that are still to come."""

    model: str
    method: str
    benchmark: str
    seed: int
    answers: int
    expected: int


class Unfinished(TypedDict):
    """How much of a run was answered when it was scored."""

    answers: int
    expected: int
    cells: list[UnfinishedCell]


class PaperEntry(TypedDict):
    """A published value next to ours."""

    source: str
    table: str
    row: str
    model: str
    method: str
    benchmarks: list[str]
    figure: str
    unit: str
    paper: float
    ours: float | None
    difference: float | None


class Results(TypedDict):
    """The content of ``results.json``."""

    schema_version: int
    baseline: str
    bootstrap: Bootstrap
    cells: list[Cell]
    over_seeds: list[Summary]
    warnings: list[str]
    unfinished: Unfinished | None
    paper: list[PaperEntry]
