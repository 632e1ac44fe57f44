"""The page about all methods: what they are, what they cost and what a run found of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from lvlmsal.escaping import markdown_text
from lvlmsal.evaluation.config.schema import MethodConfig
from lvlmsal.evaluation.report.entries import shown_cells
from lvlmsal.evaluation.report.legend import SIGNIFICANT
from lvlmsal.evaluation.report.result import read_result
from lvlmsal.evaluation.report.run_scoring import OpenRun, open_run
from lvlmsal.evaluation.report.run_tables import markdown_tables
from lvlmsal.evaluation.results.schema import Results
from lvlmsal.tables.markdown import markdown_table
from methods_page.differences import (
    chance_text,
    differences_tables,
    differences_to,
    paired_differences,
    verdicts_table,
)
from methods_page.listing import (
    Costs,
    Known,
    known_methods,
    method_section,
    methods_table,
    read_costs,
)


def method_page(
    runs: Sequence[Path] = (),
    *,
    costs: Path | None = None,
    controls: Sequence[str] = (),
    command: str = "",
) -> str:
    """Write a page about every registered method, in Markdown.

    Args:
        runs: Run folders, whose results it shows one after the other.
        costs: The file that ``benchmarks/methods.py`` has left.
        controls: Methods of the runs with which those are compared that decode like them.
        command: What makes the page, for its readers.

    Raises:
        DataError: A run folder or the file is none.
        UnknownName: A run has no such control.
    """
    methods = known_methods()
    measured = read_costs(costs) if costs else None
    parts = [
        "# Methods",
        _wrapped(
            "Generated from the registries, the cost benchmark and a run; no line is written by "
            "hand."
        ),
        f"```sh\n{command}\n```" if command else "",
        "## What there is",
        markdown_table(methods_table(methods, measured)),
        _wrapped(_LEGEND),
        _costs_text(measured),
        "## Each method",
        "\n".join(method_section(method) for method in methods).rstrip(),
    ]
    parts += _results(runs, methods, controls) if runs else []
    return "\n\n".join(part for part in parts if part) + "\n"


_LEGEND = (
    "'beams' and 'SGRS': whether it may act under beam search and under SGRS. 'shared prefix': "
    "whether questions about one image can share the image's keys and values. 'second stream': "
    "whether a second sequence is decoded next to the answer. A method that the cost "
    "benchmark does not list was not measured."
)


def _costs_text(costs: Costs | None) -> str:
    if costs is None:
        return "Costs were not measured: `python benchmarks/methods.py` measures them."
    small = "**Numbers of a tiny model (`--small`): they say nothing.** " if costs.small else ""
    text = _wrapped(
        f"{small}Costs are ratios to stock `generate`, with the middle half of their measurements "
        f"in brackets. {costs.text} Machine: {costs.machine}."
    )
    return f"{text}\n\n```sh\n{costs.command}\n```"


def _results(runs: Sequence[Path], methods: list[Known], controls: Sequence[str]) -> list[str]:
    opened = [open_run(run) for run in runs]
    read = [read_result(run).results for run in runs]
    parts = [part for run, found in zip(opened, read, strict=True) for part in _run(run, found)]
    parts += [
        _missing(methods, opened),
        "## Differences to the control",
        _wrapped(
            "The first figure of each benchmark, paired sample by sample with the row that decodes "
            "alike with nothing done against hallucinations; 95 % intervals that resample images."
            f"{SIGNIFICANT}"
        ),
    ]
    differences = [paired_differences(results) for results in read]
    parts += [markdown_table(table) for found in differences for table in differences_tables(found)]
    for control in controls:
        parts += [
            f"## Differences to '{markdown_text(control)}'",
            "The same, compared with another row that decodes alike.",
        ]
        for run, results in zip(runs, read, strict=True):
            against = differences_to(run, results, control)
            parts += map(markdown_table, differences_tables(against))
    everything = [difference for found in differences for difference in found]
    return [
        *parts,
        "## How much of this is chance",
        _wrapped(chance_text(everything)),
        markdown_table(verdicts_table(everything)),
        "## All figures",
        *(markdown_tables(results).rstrip() for results in read),
    ]


def _run(run: OpenRun, results: Results) -> list[str]:
    """What a run was, under a heading."""
    world = run.config.world
    place = f" on {world.kind}" if world is not None else ""
    return [f"## What a run{place} found", _wrapped(markdown_text(_asked(run, results)))]


def _asked(opened: OpenRun, results: Results) -> str:
    """What was asked of whom, with what."""
    config, cells = opened.config, shown_cells(results)
    counts = {cell["benchmark"]: (cell["n"], cell["groups"]) for cell in cells}
    asked = ", ".join(
        f"{label}: {n} questions on {groups} images" if n != groups else f"{label}: {n} images"
        for label, (n, groups) in counts.items()
    )
    versions = ", ".join(f"{k} {v}" for k, v in opened.environment["packages"].items() if v)
    return (
        f"Models: {', '.join(model.name for model in config.models)}. Asked: {asked}. Seeds: "
        f"{', '.join(map(str, config.all_seeds()))}. Made with {versions} on "
        f"{opened.environment['device']}."
    )


def _missing(methods: list[Known], runs: list[OpenRun]) -> str:
    used = {name for run in runs for method in run.config.methods for name in _names(method)}
    missing = [f"`{method.name}`" for method in methods if method.name not in used]
    return f"Measured in none of these: {', '.join(missing)}." if missing else ""


def _names(method: MethodConfig) -> list[str]:
    return [method.decoder["name"], *(edit["name"] for edit in method.interventions)]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)
