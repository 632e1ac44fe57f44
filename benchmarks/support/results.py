"""What a benchmark hands over: claims with their bars, tables, series for plots, the machine."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parents[1] / "results"
"""Where results are kept unless ``--results`` says otherwise."""


@dataclass(frozen=True)
class Spread:
    """The median of some measurements and their middle half."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def over(self, base: float) -> Spread:
        """Relative to a number."""
        return Spread(self.median / base, self.low / base, self.high / base, self.count)

    def text(self, digits: int = 3) -> str:
        """The median, and the middle half in brackets where there is one."""
        if self.count == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} - {self.high:.{digits}f})"


@dataclass(frozen=True)
class Claim:
    """A bar, and what was measured.

    Attributes:
        what: what is held against it.
        bar: the number.
        measured: the median decides.
        least: whether the bar is a lower one.
        digits: after the point, in print.
    """

    what: str
    bar: float
    measured: Spread
    least: bool = False
    digits: int = 3

    @property
    def met(self) -> bool:
        """Whether the median is on the right side of the bar."""
        value = self.measured.median
        return value >= self.bar if self.least else value <= self.bar


@dataclass
class Chart:
    """A plot of lines.

    Attributes:
        name: of its file, without ending.
        title: what it shows.
        x: what the horizontal axis is.
        y: likewise.
        lines: name -> [x values, y values].
        log: whether both axes are logarithmic.
    """

    name: str
    title: str
    x: str
    y: str
    lines: dict[str, list[list[float]]]
    log: bool = False


@dataclass
class Sheet:
    """A table.

    Attributes:
        title: what it shows.
        columns: heads; the first column is a name.
        rows: cells as they are printed.
        note: what a reader has to know.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass
class Result:
    """Everything that one script found."""

    name: str
    title: str
    text: str
    claims: list[Claim] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)


def arguments(description: str | None, extra: Sequence[tuple[str, dict[str, Any]]] = ()) -> Any:
    """The options that all scripts share, parsed."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny shapes: does it run at all?")
    parser.add_argument("--seconds", type=float, default=600.0, help="do fewer rounds above this")
    parser.add_argument(
        "--results",
        type=Path,
        help=f"folder of the JSON file; {RESULTS.name}/ here by default, a new one with --small",
    )
    for name, options in extra:
        parser.add_argument(name, **options)
    given = parser.parse_args()
    if given.results is None:
        # numbers of tiny shapes must not stand in the place of measured ones
        given.results = Path(tempfile.mkdtemp()) if given.small else RESULTS
    return given


def machine() -> dict[str, str]:
    """What the numbers depend on; nothing that names the machine itself."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {platform.machine()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    for package in ("torch", "transformers", "lvlmsal"):
        found[package] = importlib.metadata.version(package)
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def finish(result: Result, arguments: Any, began: float) -> None:
    """Print a result and keep it as ``<name>.json``."""
    console = Console(width=120, highlight=False)
    for sheet in result.sheets:
        table = Table(title=sheet.title, caption=sheet.note or None)
        for index, column in enumerate(sheet.columns):
            table.add_column(column, justify="right" if index else "left")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    for claim in result.claims:
        sign = "at least" if claim.least else "at most"
        console.print(
            f"{'met    ' if claim.met else 'NOT MET'} {claim.what}: "
            f"{claim.measured.text(claim.digits)}, {sign} {claim.bar:.{claim.digits}f}"
        )
    kept = {
        **asdict(result),
        "small": arguments.small,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_options()]),
        "minutes": round((time.perf_counter() - began) / 60, 1),
        "machine": machine(),
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"{result.name}.json"
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    console.print(f"{result.name}: {kept['minutes']} minutes")


def _options() -> list[str]:
    """The command line without the folder of the results, which is no one's business."""
    words = sys.argv[1:]
    if "--results" in words:
        place = words.index("--results")
        words = words[:place] + words[place + 2 :]
    return words
