"""Write docs/performance.md and its pictures from the results that the benchmarks left."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from support.results import RESULTS, Chart, Claim, Spread

DOCS = Path(__file__).parents[1] / "docs"
ORDER = (
    *("steps", "methods", "trained", "memory", "diagnosis", "scaling", "prefill", "throughput"),
    *("products", "shapes"),
)

INTRODUCTION = """# Performance

What each promise about speed came to, measured by the scripts in `benchmarks/`. `make bench` runs
them all, in about twenty minutes on two cores, and writes this page. Each script runs what it
compares in one process, in turn, several times: ratios of neighbors cancel the drift of a machine's
speed. Given are medians, with the middle half of the measurements in brackets; the median is
what is held against a bar.
"""

GPU = """## On a GPU

Not measured here: no accelerator was available when these numbers were taken. This command measures
the shapes of LLaVA-1.5-7B, LLaVA-1.5-13B, Qwen2-VL-7B and Qwen2.5-VL-32B (each as far as memory
goes) on one, more methods than on a CPU and the paper's way among them, and
`python benchmarks/report.py` then shows its tables on this page:

```sh
python benchmarks/shapes.py --device cuda
```
"""

FIXED = (
    "the calls that it adds to a step cost the same in any model of that depth (table of fixed "
    "cost), and the step of a model this small has no room for them under the bar."
)
BACK = (
    "the row's way back reads the same weights as its way forward, by a kernel that takes two and "
    "a half times as long in bfloat16 on this processor (`products.py`; in float32 as long). In "
    "blocks rows share it."
)
REASONS = {
    "vl-saliency, one capture": (
        "it is one pass over the answer too, forward and backward, so there is less to save; but "
        "its gradient is that of the mean loss of all tokens, which is the saliency of none of "
        "them. A token's own saliency takes a capture a token."
    ),
    "LocoRE, a token": (
        "what is left are the hooks of the scope and, in each layer, copies of the values in the "
        "window. On the cache that this library's own `generate` brings it is cheaper than stock "
        "`generate`."
    ),
    "SGRS that rejects": (
        "one pass judges all candidates of a position, five rows forward and back through the "
        "target layers, which costs about as much as two and a half plain steps. Where it cannot "
        "be foreseen that the first candidate falls, that one has a recorded pass of its own "
        "before."
    ),
    "SGRS one by one, predicting row: 1 + f + 0.05 (200M)": (
        "by less than the spread of its measurements; the candidate row and the larger model meet "
        "it."
    ),
    "SGRS one by one, predicting row (LLaVA-1.5-7B": BACK,
    "SGRS one by one, candidate row (LLaVA-1.5-7B": BACK,
    "LocoRE (LLaVA-1.5-7B": (
        "the median lies within the spread of its turns around 1; on the cache that this library's "
        "own `generate` brings it is below."
    ),
    "SGRS one by one, predicting row: 1 + f + 0.05 (50M)": FIXED,
    "SGRS one by one, candidate row: 1 + f + 0.05 (50M)": FIXED,
}
"""Beginning of a claim -> why it is not met, once that was found out."""


def main() -> None:
    """Read the results and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    paths = [options.results / f"{name}.json" for name in ORDER]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    if not results:
        raise SystemExit(f"{options.results} holds no results: run `make bench` first")
    options.docs.mkdir(parents=True, exist_ok=True)
    pictures = {result["name"]: draw(result, options.docs / "images") for result in results}
    page = options.docs / "performance.md"
    page.write_text(written(results, pictures), encoding="utf-8")
    print(f"wrote {page}")


def written(results: list[dict[str, Any]], pictures: dict[str, list[str]]) -> str:
    """The page."""
    parts = [INTRODUCTION]
    if any(result["small"] for result in results):
        parts.append("**These are numbers of tiny shapes (`--small`): they say nothing.**\n")
    parts += [bars(results), *(section(result, pictures[result["name"]]) for result in results)]
    names = {result["name"] for result in results}
    parts += [] if any("device" in result["machine"] for result in results) else [GPU]
    missing = [f"`{name}.py`" for name in ORDER if name not in names]
    if missing:
        parts.append(f"Left no result in the last run: {', '.join(missing)}.\n")
    return "\n".join([*parts, commands(results)])


def bars(results: list[dict[str, Any]]) -> str:
    """Every claim with its bar."""
    lines = ["## Bars\n", "| | measured | bar | |", "| --- | ---: | ---: | --- |"]
    reasons = []
    for result in results:
        for raw in result["claims"]:
            claim = Claim(**{**raw, "measured": Spread(**raw["measured"])})
            sign = "at least" if claim.least else "at most"
            verdict = "met" if claim.met else "**not met**"
            lines.append(
                f"| {claim.what} | {claim.measured.text(claim.digits)} "
                f"| {sign} {claim.bar:.{claim.digits}f} | {verdict} |"
            )
            reasons += [
                wrapped(f"- {claim.what}: {why}").rstrip().replace("\n", "\n  ")
                for start, why in REASONS.items()
                if claim.what.startswith(start) and not claim.met
            ]
    return "\n".join([*lines, "", *reasons, *([""] if reasons else [])])


def section(result: dict[str, Any], pictures: list[str]) -> str:
    """Text, tables and pictures of one script."""
    lines = [f"## {result['title']}\n"]
    lines += [wrapped(f"`benchmarks/{result['name']}.py`. {result['text']}")]
    for sheet in result["sheets"]:
        rest = " | ".join(["---:"] * (len(sheet["columns"]) - 1))
        lines += [f"### {sheet['title'][0].upper()}{sheet['title'][1:]}\n"]
        lines += [row(sheet["columns"]), f"| --- | {rest} |", *map(row, sheet["rows"]), ""]
        lines += [wrapped(sheet["note"])] if sheet["note"] else []
    for picture, chart in zip(pictures, result["charts"], strict=False):
        lines += [f"![{chart['title']}](images/{picture})\n"]
    return "\n".join(lines)


def wrapped(text: str) -> str:
    """A paragraph."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def row(cells: list[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def commands(results: list[dict[str, Any]]) -> str:
    """Machine, versions and commands; once for all that ran on the same machine."""
    lines = ["## Machine and commands\n"]
    machines: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        machines.setdefault(json.dumps(result["machine"]), []).append(result)
    for machine, ran in machines.items():
        for key, value in json.loads(machine).items():
            lines.append(f"- {'torch threads' if key == 'threads' else key}: {value}")
        lines += ["", "```sh"]
        lines += [f"{result['command']}  # {result['minutes']} minutes" for result in ran]
        lines += ["```", ""]
    return "\n".join(lines)


def draw(result: dict[str, Any], folder: Path) -> list[str]:
    """The pictures of one script; their file names."""
    if not result["charts"]:
        return []
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for chart in (Chart(**raw) for raw in result["charts"]):
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        # Markers tell the lines apart without their colors.
        for marker, (name, (x, y)) in zip("os^Dvx*P", chart.lines.items(), strict=False):
            axes.plot(x, y, marker=marker, label=name)
        if chart.log:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            ticks = sorted({value for x, _ in chart.lines.values() for value in x})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        else:
            axes.set_ylim(bottom=0)
        axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2)
        names.append(f"performance-{chart.name}.png")
        figure.savefig(folder / names[-1], dpi=120, metadata={"Software": None})
        plt.close(figure)
    return names


if __name__ == "__main__":
    main()
