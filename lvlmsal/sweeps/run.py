"""`sweep`: the points of one or more grids, answered as methods of one ordinary run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from rich.console import Console, ConsoleOptions, RenderResult

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import Result, evaluate
from lvlmsal.evaluation.config.plan import Cell
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.config.stated import with_data_root
from lvlmsal.evaluation.config.trainer import quiet_lightning
from lvlmsal.evaluation.results.atomic import write_text
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.run.dry import DryRun
from lvlmsal.frames import data_frame
from lvlmsal.pages import render
from lvlmsal.progress import track
from lvlmsal.sweeps.axes import shown
from lvlmsal.sweeps.costs import sweep_cost
from lvlmsal.sweeps.plot import plot_grid
from lvlmsal.sweeps.reading import Sweep, read_sweep, spread
from lvlmsal.sweeps.saliency import mean_saliencies
from lvlmsal.sweeps.stated import read_stated
from lvlmsal.sweeps.table import Measured, legend, tables
from lvlmsal.tables.csv import csv_text
from lvlmsal.tables.markdown import markdown_document
from lvlmsal.tables.table import Table
from lvlmsal.tables.terminal import terminal_document

if TYPE_CHECKING:
    import pandas as pd

CSV = "sweep.csv"
TABLE = "sweep.md"

# Types of the columns of a frame; the others hold words and values of options.
_TYPES = {
    **dict.fromkeys(("n", "new_tokens", "batch_size"), "Int64"),
    **dict.fromkeys(("value", "low", "high", "tries_per_token", "saliency"), "float64"),
    **dict.fromkeys(("difference", "difference_low", "difference_high"), "float64"),
    **dict.fromkeys(("ms_per_token", "ms_first_quartile", "ms_third_quartile"), "float64"),
}


@dataclass(frozen=True, repr=False)
class SweepResult:
    """What a sweep has found.

    Attributes:
        sweep: The config, its plan and its grids.
        result: The run's own result: figures, records, folder.
        measured: Figures and costs of every method, the ordinary ones included.
        pictures: The plots that were written, in the order of the grids.
    """

    sweep: Sweep
    result: Result
    measured: tuple[Measured, ...]
    pictures: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.result.folder

    def rows(self) -> list[dict[str, Any]]:
        """What ``sweep.csv`` holds: one row for each method, model, benchmark and figure.

        A point that lies on several grids has one method and so one row. The options that are
        swept stand in columns of their own, with the value that this checkpoint really used.
        """
        axes = list(dict.fromkeys(axis for grid in self.sweep.grids for axis in grid.axes))
        rows = []
        for measured in self.measured:
            cell, cost = measured.cell, measured.cost
            head = {key: cell[key] for key in ("model", "benchmark", "method")}
            options = {axis: shown(measured.options.get(axis, "")) for axis in axes}
            tail = {
                "baseline": self.result.results["baseline"],
                "n": cell["n"],
                "new_tokens": cell["new_tokens"],
                "tries_per_token": cost.tries,
                "saliency": cost.saliency,
                "ms_per_token": cost.ms_per_token,
                "ms_first_quartile": cost.fast,
                "ms_third_quartile": cost.slow,
                "batch_size": cost.batch_size,
            }
            for figure, entry in cell["figures"].items():
                difference = entry["difference"]
                values = {
                    "figure": figure,
                    "value": entry["value"],
                    "low": entry["low"],
                    "high": entry["high"],
                    "interval": entry["interval"],
                    "difference": difference["value"] if difference else None,
                    "difference_low": difference["low"] if difference else None,
                    "difference_high": difference["high"] if difference else None,
                }
                rows.append({**head, **options, **values, **tail})
        return rows

    def to_pandas(self) -> pd.DataFrame:
        """A frame of :meth:`rows`; needs the ``pandas`` extra.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        rows = self.rows()
        return data_frame(rows, {name: _TYPES.get(name, "object") for row in rows for name in row})

    def __repr__(self) -> str:
        points = sum(len(grid.points) for grid in self.sweep.grids)
        return f"SweepResult({points} points, {self.result!r})"

    def markdown(self) -> str:
        """The tables in Markdown, as in ``sweep.md``."""
        return markdown_document(self._tables(), [self._legend()])

    def _repr_html_(self) -> str:
        # a notebook has a style of its own for tables
        notes = [self._legend(), *self.result.results["warnings"]]
        return render("tables/templates/notebook.html", tables=self._tables(), notes=notes)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tables, fitted to the terminal."""
        warnings = self.result.results["warnings"]
        yield terminal_document(self._tables(), [self._legend()], options.max_width, warnings)

    def _tables(self) -> list[Table]:
        return tables(self.measured, self.sweep.grids, self.result.results)

    def _legend(self) -> str:
        return legend(self.measured, self.result.results)


def dry_sweep(
    cfg: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    models: Mapping[str, Any] | None = None,
    axes: Sequence[str] = (),
) -> DryRun:
    """Try the run that a sweep comes to on tiny models, as `lvlmsal.evaluate` does a dry run.

    Args:
        cfg: As `sweep` takes it, and so the rest.
        overrides: Texts ``key=value``.
        models: Models that the real sweep would be given, by name.
        axes: One of the grids must be over exactly these.

    Raises:
        ConfigError: Anything is wrong.
    """
    stated = read_stated(cfg, with_data_root(cfg, overrides), axes=axes)
    content, _, problems = spread(stated)
    if problems:
        raise ConfigError(problems, source=f"dry run of {stated.name}")
    return evaluate(content, models=models, dry_run=True)


def sweep(
    cfg: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    models: Mapping[str, Any] | None = None,
    axes: Sequence[str] = (),
) -> SweepResult:
    """Answer every point of the grids of a config, score the answers, and draw what came out.

    The points become methods of one ordinary run, so that records, scoring, intervals and paired
    differences are those of `lvlmsal.evaluate`: a sweep that was stopped goes on when it is given
    again, points may be added to it, and one that changes points is refused. Beside the run's own
    files it writes ``sweep.csv``, ``sweep.md`` and a plot of each grid.

    Args:
        cfg: A YAML file, the name of a packaged config (``sweep_sgrs``), a dictionary or an
            OmegaConf object; `read_sweep` says what it may hold.
        overrides: Texts ``key=value``.
        models: Models that are already loaded, by the name that the config gives them.
        axes: One of the grids must be over exactly these.

    Raises:
        ConfigError: The config is wrong, or the run folder holds another config's run.
        LvlmsalError: As `lvlmsal.evaluate`.
    """
    with quiet_lightning():
        found = read_sweep(cfg, overrides, given=list(models or {}), axes=axes)
    try:
        result = evaluate(found.config, models=models)
    except ConfigError as error:
        source = found.name if error.source == "config" else error.source
        raise ConfigError(error.problems, source=source) from None
    if getattr(rank_zero_only, "rank", 0) != 0:
        return SweepResult(found, result, (), ())
    lvlms = {name: ready for name, ready in (models or {}).items() if not isinstance(ready, tuple)}
    saliency = mean_saliencies(result.folder, found.plan, lvlms=lvlms) if found.diagnose else None
    measured = tuple(_measured(found, result, saliency or {}))
    pictures = []
    for grid in track(found.grids, "pictures"):
        figure = plot_grid(grid, measured, result.results, start=found.start)
        if figure is not None:
            pictures.append(result.folder / f"sweep-{grid.slug}.png")
            figure.savefig(pictures[-1], dpi=120)
    done = SweepResult(found, result, measured, tuple(pictures))
    rows = done.rows()
    write_text(result.folder / CSV, csv_text(rows, rows[0]))
    write_text(result.folder / TABLE, done.markdown())
    return done


def _measured(
    found: Sweep, result: Result, saliency: Mapping[str, float | None]
) -> Iterable[Measured]:
    """Every scored cell with its costs and the options that it was answered with."""
    planned = {(cell.model.name, cell.method, cell.label): cell for cell in found.plan.cells}
    records: dict[str, list[Record]] = {}
    for record in result.records():
        records.setdefault(record["key"].split("/", 1)[0], []).append(record)
    for cell in result.results["cells"]:
        plan = planned[cell["model"], cell["method"], cell["benchmark"]]
        cost = sweep_cost(records[plan.digest], saliency=saliency.get(plan.digest))
        yield Measured(cell, cost, _options(plan))


def _options(cell: Cell) -> dict[str, Any]:
    """The options of a cell's components, each under the name that an axis would have."""
    parts = [cell.settings["decoder"], *cell.settings["interventions"]]
    return {
        f"{part['name']}.{option}": value
        for part in parts
        for option, value in part.items()
        if option != "name"
    }
