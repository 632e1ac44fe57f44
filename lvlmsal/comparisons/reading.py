"""The rows of a comparison, read from run folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from lvlmsal.errors import ConfigError, close_matches
from lvlmsal.evaluation.config.controls import opponents, saliency_rows, way_of
from lvlmsal.evaluation.report.entries import shown_cells
from lvlmsal.evaluation.report.run_scoring import OpenRun, open_run
from lvlmsal.evaluation.results.judge_replies import give_replies
from lvlmsal.evaluation.results.schema import Entry
from lvlmsal.evaluation.results.scored import Scored
from lvlmsal.evaluation.results.scoring import cells_of, score_records
from lvlmsal.metrics.base import CountMetric
from lvlmsal.registry import options_of
from lvlmsal.registry.options import declared_options


@dataclass(frozen=True)
class Row:
    """One model with one method on one benchmark, in one run.

    Attributes:
        run: What the run is called.
        source: The run.
        model: Name of the model.
        method: Name of the method.
        benchmark: Label of the benchmark.
        cells: Its answers, one cell a seed.
        asked: Prompt, target and images of each sample, failed ones included, by id.
        traits: What should be alike in a table, see `TRAITS`.
        entry: Its figures, as in ``results.json``, once `scored` has found them; several seeds are
            summed up.
    """

    run: str
    source: OpenRun
    model: str
    method: str
    benchmark: str
    cells: tuple[Scored, ...]
    asked: Mapping[str, tuple[str, str, tuple[str, ...]]]
    traits: Mapping[str, str]
    entry: Entry = field(default_factory=lambda: cast(Entry, {}))

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.run}: {self.model} with {self.method}"

    @cached_property
    def digest(self) -> str:
        """Digest of what was asked and what is right, prompts left out: another trait."""
        rows = [[key, *self.asked[key][1:]] for key in sorted(self.asked)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]


TRAITS = {
    "decoders": "how the methods decode, whatever they do against hallucinations",
    "prompts": "what the models were asked",
    "subsets": "which samples were asked, and what is right",
    "metrics": "the metric with its options: parser, rule, variant",
    "lengths": "the length limit of the answers",
    "dtypes": "the dtype of the weights",
    "attention": "the attention implementation",
}
"""What has to be alike in rows of different runs, unless it is allowed to differ."""


def run_names(folders: Sequence[Path]) -> list[str]:
    """Short names of runs: those of their folders, or as much of the path as tells them apart.

    Raises:
        ConfigError: A folder is given twice.
    """
    full = [folder.resolve() for folder in folders]
    if len(set(full)) < len(full):
        raise ConfigError(["the same run folder is given twice"])
    depth = 1
    while len({folder.parts[-depth:] for folder in full}) < len(full):
        depth += 1
    return ["/".join(folder.parts[-depth:]).lstrip("/") for folder in full]


def read_rows(folder: Path, name: str) -> list[Row]:
    """The rows of a run, not scored yet.

    Args:
        folder: The run folder.
        name: What to call the run.

    Raises:
        DataError: It is not a run folder, or its records are damaged.
        ConfigError: Its config needs something that is not there.
    """
    opened = open_run(folder)
    give_replies(folder, opened.config, opened.metrics.values())
    cells: dict[tuple[str, str, str], list[Scored]] = {}
    for cell in cells_of(opened.records, opened.metrics, opened.further):
        cells.setdefault((cell.model, cell.method, cell.benchmark), []).append(cell)
    asked: dict[tuple[str, str, str], dict[str, tuple[str, str, tuple[str, ...]]]] = {}
    settings: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for record in opened.records:
        names = (record["model"], record["method"], record["benchmark"])
        settings.setdefault(names, opened.environment["cells"][record["key"].split("/", 1)[0]])
        target = json.dumps(record["target"], sort_keys=True)
        asked.setdefault(names, {})[str(record["sample_id"])] = (
            record["prompt"],
            target,
            tuple(record["images"]),
        )
    return [
        Row(
            name,
            opened,
            *names,
            tuple(found),
            asked[names],
            _traits(settings[names], opened.environment, found[0]),
        )
        for names, found in cells.items()
    ]


def scored(rows: Sequence[Row]) -> list[Row]:
    """The same rows with their figures, computed again from the records of their runs."""
    entries: dict[tuple[str, str, str, str], Entry] = {}
    for name in dict.fromkeys(row.run for row in rows):
        own = [row for row in rows if row.run == name]
        source = own[0].source
        against = opponents(source.environment["cells"].values(), source.config.baseline)
        needed = set()
        for row in own:
            needed.add((row.model, row.method, row.benchmark))
            other = against.get((row.model, row.method))
            if other is not None:
                needed.add((row.model, other.method, row.benchmark))
        results = score_records(
            [r for r in source.records if (r["model"], r["method"], r["benchmark"]) in needed],
            source.metrics,
            baseline=source.config.baseline,
            against=against,
            saliency_rows=saliency_rows(source.environment["cells"].values()),
            further=source.further,
            samples=source.config.bootstrap.samples,
            seed=source.config.bootstrap.seed,
        )
        for entry in shown_cells(results):
            entries[name, entry["model"], entry["method"], entry["benchmark"]] = entry
    return [
        replace(row, entry=entries[row.run, row.model, row.method, row.benchmark]) for row in rows
    ]


def chosen(rows: Sequence[Row], **wanted: Sequence[str]) -> list[Row]:
    """The rows that were asked for.

    Args:
        rows: All rows.
        wanted: Names by kind (``model``, ``method``, ``benchmark``); no names are all of them.

    Raises:
        ConfigError: No run has such a model, method or benchmark; it names what there is.
    """
    problems = []
    for kind, names in wanted.items():
        known = list(dict.fromkeys(getattr(row, kind) for row in rows))
        problems += [
            f"no run has the {kind} {name!r}.{close_matches(name, known)} "
            f"They have: {', '.join(known)}"
            for name in names
            if name not in known
        ]
    if problems:
        raise ConfigError(problems)
    return [
        row
        for row in rows
        if all(not names or getattr(row, kind) in names for kind, names in wanted.items())
    ]


def _traits(
    settings: Mapping[str, Any], environment: Mapping[str, Any], cell: Scored
) -> dict[str, str]:
    model = environment["models"].get(cell.model, {})
    twin = way_of(settings).decoder.twin()
    return {
        "decoders": _called(twin.name, options_of(twin), type(twin)),
        "prompts": str(settings["benchmark"].get("prompt", "")),
        "metrics": metric_text(cell.metric),
        "lengths": f"{settings['benchmark'].get('max_new_tokens')} tokens",
        "dtypes": str(model.get("dtype") or settings["model"].get("dtype")),
        "attention": str(model.get("attention")),
    }


def metric_text(metric: CountMetric) -> str:
    """A metric with its options and its variant."""
    variant = getattr(metric, "variant", None)
    return _called(metric.name, options_of(metric), None) + (f", {variant}" if variant else "")


def _called(name: str, options: Mapping[str, Any], cls: type | None) -> str:
    """A component with its options, or those of them that are not its defaults."""
    usual = {key: o.default for key, o in declared_options(cls).items()} if cls else {}
    shown = [f"{k}={v}" for k, v in options.items() if k not in usual or usual[k] != v]
    return f"{name}({', '.join(shown)})" if shown else name
