"""What `evaluate` returns, and scoring a run folder without a model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from rich.console import Console, ConsoleOptions, Group, RenderResult

from lvlmsal.errors import ConfigError, DataError, LvlmsalError
from lvlmsal.evaluation.config.controls import opponents, saliency_rows
from lvlmsal.evaluation.config.plugins import import_plugins
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.report.entries import shown_cells
from lvlmsal.evaluation.report.page import report_page
from lvlmsal.evaluation.report.paper import compared_with_paper, paper_table
from lvlmsal.evaluation.report.run_tables import cost_table, markdown_tables, terminal_tables
from lvlmsal.evaluation.results import folder as names
from lvlmsal.evaluation.results import schema
from lvlmsal.evaluation.results.belonging import Wanted, check_belonging, unfinished
from lvlmsal.evaluation.results.folder import has_begun, read_environment, write_json, write_text
from lvlmsal.evaluation.results.judge_replies import give_replies, judged_parts, note_judge
from lvlmsal.evaluation.results.manifests import read_manifest
from lvlmsal.evaluation.results.records import Record, all_lines, all_records
from lvlmsal.evaluation.results.scoring import cells_of, score_records
from lvlmsal.metrics.base import CountMetric
from lvlmsal.registry import BENCHMARKS
from lvlmsal.tables.markdown import markdown_table
from lvlmsal.tables.terminal import terminal_table


@dataclass(frozen=True)
class Result:
    """The figures of a run.

    Attributes:
        folder: The run folder.
        results: The content of its ``results.json``.
    """

    folder: Path
    results: schema.Results

    @classmethod
    def of_other_process(cls, folder: Path) -> Self:
        """What processes other than the first return: they neither score nor write."""
        return cls(folder, score_records([], {}))

    @property
    def is_of_other_process(self) -> bool:
        """Whether another process of the run has the figures."""
        return not self.results["cells"]

    @property
    def unfinished(self) -> schema.Unfinished | None:
        """How much of the run was answered when it was scored; None if it was everything.

        ``answers``, ``expected``, and ``cells``, which says the same of each model with each method
        on each benchmark that lacks some.
        """
        return self.results.get("unfinished")

    def cell(
        self, model: str, method: str, benchmark: str, seed: int | None = None
    ) -> schema.Cell | schema.Summary:
        """Everything about one model with one method on one benchmark.

        Args:
            model: Name of the model.
            method: Name of the method.
            benchmark: Label of the benchmark.
            seed: One of several seeds; by default the summary over all of them.

        Raises:
            LvlmsalError: The run has no such cell.
        """
        found = self.results["cells"] if seed is not None else shown_cells(self.results)
        for cell in found:
            same = (cell["model"], cell["method"], cell["benchmark"]) == (model, method, benchmark)
            if same and seed in (None, cell.get("seed")):
                return cell
        raise LvlmsalError(
            f"the run has no {model!r} with {method!r} on {benchmark!r}; it has "
            f"{sorted({c['model'] for c in self.results['cells']})} with "
            f"{sorted({c['method'] for c in self.results['cells']})} on "
            f"{sorted({c['benchmark'] for c in self.results['cells']})}"
        )

    def value(
        self, model: str, method: str, benchmark: str, figure: str, seed: int | None = None
    ) -> float | None:
        """One figure, see `cell`; None where it is undefined (a ratio without a denominator).

        Raises:
            LvlmsalError: The run has no such cell or figure.
        """
        figures = self.cell(model, method, benchmark, seed)["figures"]
        if figure not in figures:
            raise LvlmsalError(f"there is no figure {figure!r}; there are {sorted(figures)}")
        value: float | None = figures[figure]["value"]
        return value

    def records(self) -> list[Record]:
        """The records of the run, one for each answer."""
        return list(all_records(self.folder / names.RECORDS).values())

    def markdown(self) -> str:
        """The tables in Markdown, as in ``results.md``."""
        further = (cost_table(self.results), paper_table(self.results))
        parts = [markdown_table(table) + "\n" for table in further if table is not None]
        return "\n".join([markdown_tables(self.results), *parts])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tables, fitted to the terminal."""
        yield terminal_tables(self.results, width=options.max_width)
        table = paper_table(self.results)
        if table is not None:
            yield Group(*terminal_table(table, options.max_width))

    def __str__(self) -> str:
        """The tables as plain text."""
        console = Console(width=140, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


@dataclass(frozen=True)
class OpenRun:
    """A run folder as far as scoring needs it.

    Attributes:
        config: The config.
        environment: The content of ``environment.json``.
        records: The records of the cells that the run was last asked for.
        metrics: The metric of each benchmark, by label.
        unfinished: What is still to be answered, see `belonging.unfinished`.
    """

    config: RunConfig
    environment: dict[str, Any]
    records: list[Record]
    metrics: dict[str, CountMetric]
    unfinished: schema.Unfinished | None


def open_run(run: Path, overrides: Iterable[str] = ()) -> OpenRun:
    """Read a run folder.

    Args:
        run: A folder that `evaluate` has written.
        overrides: Texts ``key=value`` for its config.

    Raises:
        DataError: It is not a run folder, or its records are damaged.
        ConfigError: Its config needs something that is not installed or no longer there.
    """
    for name in (names.CONFIG, names.ENVIRONMENT, names.RECORDS):
        if not (run / name).is_file() and not (name == names.RECORDS and has_begun(run)):
            raise DataError(f"is not a run folder (no {name})", path=run)
    config, problems, source = read_config(run / names.CONFIG, overrides)
    problems += import_plugins(config.plugins)
    if problems:
        raise ConfigError(problems, source=source)
    environment = read_environment(run)
    lines = all_lines(run / names.RECORDS)
    cells = environment["cells"]
    wanted = {digest: _wanted(run, cell, environment) for digest, cell in cells.items()}
    check_belonging(lines, wanted, names.ENVIRONMENT)
    for key, line in lines.items():
        line.record.setdefault("seed", wanted[key.split("/", 1)[0]].seed)
    records = [line.record for line in lines.values()]
    metrics = {
        entry.label: BENCHMARKS.build(entry.name, **entry.options).metric()
        for entry in config.benchmarks
    }
    return OpenRun(config, environment, records, metrics, unfinished(lines, wanted))


def _wanted(run: Path, cell: dict[str, Any], environment: dict[str, Any]) -> Wanted:
    label = cell["benchmark"]["label"]
    samples = read_manifest(run, label)
    data = environment["data"].get(label)
    if data is None:
        raise DataError(f"is damaged: data has no {label}", path=run / names.ENVIRONMENT)
    name = (cell["model"]["name"], cell["method"], label, cell["seed"])
    return Wanted(*name, data["samples"], None if samples is None else samples.keys())


def read_result(run: Path) -> Result:
    """The figures of a run as they were last scored.

    Args:
        run: A folder that `evaluate` has written.

    Raises:
        DataError: It holds none.
    """
    path = run / names.RESULTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"holds no figures; `lvlmsal score {run}` writes them", path=path
        ) from error
    if not isinstance(content, dict) or not content.get("cells"):
        raise DataError(f"holds no figures; `lvlmsal score {run}` writes them", path=path)
    version = content.get("schema_version", schema.SCHEMA_VERSION)
    if version > schema.SCHEMA_VERSION:
        raise DataError(
            f"has schema_version {version}, and this lvlmsal reads up to {schema.SCHEMA_VERSION}: "
            f"install a newer one, or type `lvlmsal score {run}` to write it again",
            path=path,
        )
    return Result(run, cast(schema.Results, content))  # older ones lack what came later


@dataclass(frozen=True)
class Scored:
    """Figures that are not written yet.

    Attributes:
        result: The figures.
        table: The content of ``results.md``.
        page: The content of ``report.html``.
    """

    result: Result
    table: str
    page: str

    def write(self) -> None:
        """Write results, tables and report into the run folder.

        Raises:
            LvlmsalError: A file cannot be written.
        """
        run = self.result.folder
        write_json(run / names.RESULTS, self.result.results)
        write_text(run / names.TABLE, self.table)
        write_text(run / names.REPORT, self.page)


def score(run: Path | str) -> Result:
    """Score a run folder from its records and write results, tables and report.

    The figures of a run that has not come to its end are those of what is answered; the tables and
    `Result.unfinished` say so.

    Args:
        run: A folder that `evaluate` has written.

    Returns:
        The figures.

    Raises:
        DataError: It is not a run folder, or its records are damaged.
        ConfigError: Its config needs something that is not installed or no longer there.
        LvlmsalError: The folder cannot be written; `score_only` does not write.
    """
    scored = score_only(run)
    scored.write()
    return scored.result


def score_only(run: Path | str) -> Scored:
    """Score a run folder as `score` does, and write nothing.

    Args:
        run: A folder that `evaluate` has written.

    Raises:
        DataError: It is not a run folder, or its records are damaged.
        ConfigError: Its config needs something that is not installed or no longer there.
    """
    run = Path(run)
    opened = open_run(run)
    config, records, metrics = opened.config, opened.records, opened.metrics
    judged = judged_parts(records, metrics)
    judge = give_replies(run, config, metrics.values())
    results = score_records(
        records,
        metrics,
        baseline=config.baseline,
        against=opponents(opened.environment["cells"].values(), config.baseline),
        saliency_rows=saliency_rows(opened.environment["cells"].values()),
        samples=config.bootstrap.samples,
        seed=config.bootstrap.seed,
    )
    results["unfinished"] = opened.unfinished
    note_judge(results, judged, judge, run)
    results["paper"] = compared_with_paper(config.paper, results)
    cells = cells_of(records, metrics)
    result = Result(run, results)
    page = report_page(results, config, opened.environment, cells)
    return Scored(result, result.markdown(), page)
