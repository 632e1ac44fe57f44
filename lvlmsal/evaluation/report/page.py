"""One static page about a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.report.legend import legend
from lvlmsal.evaluation.report.paper import paper_table
from lvlmsal.evaluation.report.plots import NO_PLOTS, plots
from lvlmsal.evaluation.report.run_tables import cost_table, run_tables
from lvlmsal.evaluation.report.samples import FAILURES, failures, shown_samples
from lvlmsal.evaluation.report.significance import significance_table
from lvlmsal.evaluation.report.warnings import merged_warnings
from lvlmsal.evaluation.results.schema import Results
from lvlmsal.evaluation.results.scored import Scored
from lvlmsal.evaluation.results.unfinished import unfinished_text
from lvlmsal.pages import render


def report_page(
    results: Results,
    config: RunConfig,
    environment: Mapping[str, Any],
    cells: Sequence[Scored],
) -> str:
    """A run as one HTML page that loads nothing: tables, plots, samples, settings, versions.

    Args:
        results: The content of ``results.json``.
        config: The resolved config.
        environment: The content of ``environment.json``.
        cells: The answers behind the results.
    """
    opponents = {
        entry["method"]: entry["compared_with"]
        for entry in results["cells"]
        if entry["compared_with"] is not None
    }
    unfinished, failed = results.get("unfinished"), failures(cells)
    made = {key: value for key, value in environment.items() if key != "cells"}
    return render(
        "evaluation/report/templates/report.html",
        name=Path(config.shown()["output"]).name,
        asked=_asked(config),
        unfinished=unfinished_text(unfinished) if unfinished else "",
        significance=significance_table(results),
        tables=run_tables(results),
        legend=legend(results),
        further_tables=[t for t in (cost_table(results), paper_table(results)) if t is not None],
        warnings=merged_warnings(results),
        plots=plots(results),
        no_plots=NO_PLOTS,
        failures=failed[:FAILURES],
        more_failures=len(failed) - FAILURES,
        samples=shown_samples(cells, config, opponents),
        settings=config.to_yaml(),
        versions=_versions(environment),
        made=json.dumps(made, indent=2, ensure_ascii=False),
    )


def _asked(config: RunConfig) -> str:
    """What the run was about, in one line."""
    parts = (
        [model.name for model in config.models],
        [method.name for method in config.methods],
        [entry.label or entry.name for entry in config.benchmarks],
    )
    return "; ".join(", ".join(part) for part in parts)


def _versions(environment: Mapping[str, Any]) -> str:
    packages = {"python": environment["python"], **environment["packages"]}
    listed = ", ".join(f"{name} {number}" for name, number in packages.items())
    return f"{environment['platform']}; {environment['device']}; {listed}"
