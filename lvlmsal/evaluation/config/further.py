"""Metrics that a config names next to those of its benchmarks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lvlmsal.errors import LvlmsalError
from lvlmsal.evaluation.config.schema import BenchmarkConfig
from lvlmsal.metrics.further import further_figure
from lvlmsal.registry import METRICS, options_of

if TYPE_CHECKING:
    from lvlmsal.benchmarks.base import Benchmark
    from lvlmsal.metrics.base import CountMetric

TRIED = 8
"""How many samples a metric is tried on before anything is answered."""


def metric_problems(entry: BenchmarkConfig, *, imports: bool = False) -> list[str]:
    """Problems of the names, labels and options of a benchmark's further metrics.

    Args:
        entry: The benchmark.
        imports: Import and build the classes; otherwise their outlines are asked.
    """
    problems = []
    for index, given in enumerate(entry.metrics):
        problems += [f"metrics[{index}]: {text}" for text in _problems(given, imports=imports)]
    problems += [
        f"metrics: {label!r} stands there {count} times; give each its own, such as "
        f"{{name: {label}, label: {label}-2}}"
        for label, count in Counter(map(_label, entry.metrics)).items()
        if count > 1 and label
    ]
    return problems


def _problems(given: Mapping[str, Any], *, imports: bool) -> list[str]:
    name, label = given.get("name"), given.get("label", "-")
    if not isinstance(name, str):
        return [f"a metric needs a `name`, such as {{name: pope}}; got {dict(given)!r}"]
    if not isinstance(label, str) or not label.strip():
        return [f"`label` must be a text, got {label!r}"]
    options = _options(given)
    problems = (METRICS.problems if imports else METRICS.outline_problems)(name, options)
    if problems or not imports:
        return problems
    # deferred, because it imports torch
    from lvlmsal.metrics.judged import JudgedMetric

    if isinstance(METRICS.build(name, **options), JudgedMetric):
        return [
            f"metric {name!r} asks a judge model, which only the own metric of a benchmark can: "
            "take it out of `metrics`, or write a benchmark whose `metric` returns it"
        ]
    return []


def _label(given: Mapping[str, Any]) -> str:
    return str(given.get("label", given.get("name", "")))


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in ("name", "label")}


def further_metrics(entry: BenchmarkConfig) -> dict[str, CountMetric]:
    """The further metrics of a benchmark, by label.

    Raises:
        ConfigError: A name or an option is wrong.
    """
    return {
        _label(given): METRICS.build(str(given["name"]), **_options(given))
        for given in entry.metrics
    }


def figures_of(entry: BenchmarkConfig, benchmark: Benchmark) -> list[str] | None:
    """What a run calls the figures of a benchmark, those of its own metric first.

    Returns:
        The names; None where the benchmark's files, told of elsewhere, are needed first.
    """
    try:
        own = list(benchmark.metric().figure_info)
    except LvlmsalError:
        return None
    further = further_metrics(entry).items()
    return [*own, *(name for label, metric in further for name in _figures(label, metric))]


def _figures(label: str, metric: CountMetric) -> list[str]:
    return [further_figure(label, name, metric.figure_info) for name in metric.figure_info]


def namesakes(entries: Sequence[BenchmarkConfig], benchmarks: Mapping[str, Benchmark]) -> list[str]:
    """Labels of metrics and names of figures that would mean two things in one table.

    Args:
        entries: The benchmarks of a config, whose metrics have no other problem.
        benchmarks: The benchmarks by label.
    """
    problems = []
    meaning: dict[str, tuple[str, dict[str, Any]]] = {}
    for place, entry in enumerate(entries):
        names = Counter(figures_of(entry, benchmarks[entry.label]) or ())
        for index, (label, metric) in enumerate(further_metrics(entry).items()):
            where = f"benchmarks[{place}]: metrics[{index}]"
            if twice := [name for name in _figures(label, metric) if names[name] > 1]:
                problems.append(
                    f"{where}: {entry.label!r} has a figure {twice[0]!r} already; give the metric "
                    f"a label of its own: {{name: {metric.name}, label: ...}}"
                )
            means = metric.name, options_of(metric)
            if meaning.setdefault(label, means) != means:
                problems.append(
                    f"{where}: {label!r} is another metric, or has other options, next to another "
                    "benchmark; give one of the two a label of its own: "
                    f"{{name: {metric.name}, label: ...}}"
                )
    return problems


def misfits(entries: Sequence[BenchmarkConfig], label: str, benchmark: Benchmark) -> list[str]:
    """Further metrics that cannot count the answers to a benchmark, tried on a few samples.

    Args:
        entries: The benchmarks of a config.
        label: Of the benchmark.
        benchmark: The benchmark, whose files have no problem.
    """
    place, entry = next(each for each in enumerate(entries) if each[1].label == label)
    if not entry.metrics:
        return []
    samples = benchmark.samples()
    some = samples[:: max(1, len(samples) // TRIED)][:TRIED]
    # as they will be read back from the records
    targets = [json.loads(json.dumps(sample.target)) for sample in some]
    problems = []
    for index, metric in enumerate(further_metrics(entry).values()):
        said = _misfit(metric, targets)
        if said:
            shown = repr(targets[0])
            shown = shown if len(shown) <= 200 else f"{shown[:200]} ..."
            problems.append(
                f"benchmarks[{place}]: metrics[{index}]: metric {metric.name!r} cannot count "
                f"answers to {label!r}, whose targets are such as {shown}: {said}"
            )
    return problems


def _misfit(metric: CountMetric, targets: Sequence[Any]) -> str:
    """What is wrong with a metric's counts of answers to these targets; empty if nothing is."""
    try:
        sums = metric.sums(["Yes"] * len(targets), targets)
        found = list(metric.figures(sums + metric.failed_rows(targets).sum(0)))
    except LvlmsalError as error:
        return str(error)
    except Exception as error:  # code of others, which may fail in any way
        return f"{type(error).__name__}: {error}"
    if found != list(metric.figure_info):
        return f"`figures` returned {found}, and `figure_info` lists {list(metric.figure_info)}"
    return ""
