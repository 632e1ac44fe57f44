"""One static page about a run; everything that comes from data or models is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlmsal.escaping import html_text
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.report.cost_table import REMARK as COST_REMARK
from lvlmsal.evaluation.report.cost_table import cost_grid
from lvlmsal.evaluation.report.grid import html_grid
from lvlmsal.evaluation.report.paper import REMARK as PAPER_REMARK
from lvlmsal.evaluation.report.paper import paper_grid
from lvlmsal.evaluation.report.plots import plots
from lvlmsal.evaluation.report.samples import failures_table, samples_page
from lvlmsal.evaluation.report.table import legend, run_grids
from lvlmsal.evaluation.results.scored import Scored
from lvlmsal.evaluation.results.unfinished import unfinished_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 92rem; padding: 0 1rem;
  color: #222; background: #fff }
.wide { overflow-x: auto } .wide table { font-size: 12.5px }
.wide td, .wide th { padding: .2rem .35rem }
.wide th { white-space: normal; max-width: 8em }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: right;
  vertical-align: top; white-space: nowrap }
th:nth-child(-n+2), td:nth-child(-n+2), .text td, .text th { text-align: left }
.text td { white-space: pre-wrap; overflow-wrap: anywhere }
.text td:first-child, .text td:last-child { white-space: nowrap }
pre { background: #f6f6f6; overflow-x: auto; padding: 1rem; font-size: 13px }
.warning { border-left: 4px solid #e69f00; padding-left: .7rem }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem }
svg { font-size: 12px } svg line { stroke: #ddd } svg .zero { stroke: #555 }
svg .head { font-weight: 600 } svg .tick { text-anchor: middle; fill: #555; font-size: 11px }
svg .label { text-anchor: end }
svg circle { fill: #0072b2 } svg path { stroke: #0072b2; stroke-width: 1.5; fill: none }
svg circle.clear { fill: #d55e00 } svg path.clear { stroke: #d55e00 }
.sample { display: grid; grid-template-columns: 210px 1fr; gap: 1rem; border-top: 1px solid #ddd;
  padding: .8rem 0 } .sample p { margin: .1rem 0 } .sample table { margin: .4rem 0 }
.sample > div { min-width: 0 } .sample img { width: 200px }
.prompt { white-space: pre-wrap; overflow-wrap: anywhere; font-style: italic }
.id { font-weight: 600 } .missing { color: #777; font-size: 13px }
b.good { color: #00704d } b.bad { color: #b04a00 } b.changed { color: #0060a0 }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def report_page(
    results: Mapping[str, Any],
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
        cell["method"]: cell["compared_with"]
        for cell in results["cells"]
        if cell["compared_with"] is not None
    }
    name = html_text(Path(config.shown()["output"]).name)
    warnings = "".join(f"<p class='warning'>{html_text(w)}</p>" for w in results["warnings"])
    failures = failures_table(cells)
    settings = config.to_yaml()
    made = {key: value for key, value in environment.items() if key != "cells"}
    parts = [
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        "<meta name='viewport' content='width=device-width'>",
        f"<title>{name}</title><style>{_STYLE}</style></head>\n<body>",
        f"<h1>{name}</h1>",
        f"<p>{html_text(_asked(config))}</p>",
        _tables(results),
        f"<h2>Warnings</h2>{warnings}" if warnings else "",
        "<h2>Figures</h2>",
        "<p>Points with 95 % intervals. In the plots of differences (Δ), what lies clear of zero "
        "is orange.</p>",
        plots(results),
        f"<h2>Failed samples</h2>{failures}" if failures else "",
        "<h2>Samples</h2>",
        "<p>Samples that methods answer differently come first, and more of them are shown than "
        "their share: this is no picture of how often they differ. Of several seeds the first.</p>",
        samples_page(cells, config, opponents),
        f"<h2>Settings</h2>\n<details><summary>The config with every default filled in</summary>"
        f"<pre>{html_text(settings)}</pre></details>",
        "<h2>Made with</h2>",
        f"<p>{html_text(_versions(environment))}</p>",
        "<details><summary>Models, data, devices</summary><pre>"
        f"{html_text(json.dumps(made, indent=2, ensure_ascii=False))}</pre></details>",
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


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


def _tables(results: Mapping[str, Any]) -> str:
    """The tables of the run, each group with what has to be said of it."""
    parts = [*map(html_grid, run_grids(results)), f"<p>{html_text(legend(results))}</p>"]
    if results.get("unfinished"):
        said = html_text(unfinished_text(results["unfinished"]))
        parts.insert(0, f"<p class='warning'>{said}</p>")
    for grid, remark in (
        (cost_grid(results), COST_REMARK),
        (paper_grid(results), PAPER_REMARK),
    ):
        if grid is not None:
            parts += [html_grid(grid), f"<p>{html_text(remark)}</p>"]
    return "\n".join(parts)
