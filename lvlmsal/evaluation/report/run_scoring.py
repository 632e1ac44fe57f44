"""Run folders read back from the disk, and scored without a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evaluation.config.check import placed
from lvlmsal.evaluation.config.controls import opponents, saliency_rows
from lvlmsal.evaluation.config.further import further_metrics, metric_problems, namesakes
from lvlmsal.evaluation.config.plugins import import_plugins
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.report.page import report_page
from lvlmsal.evaluation.report.paper import compared_with_paper
from lvlmsal.evaluation.report.result import Result
from lvlmsal.evaluation.results import names, schema
from lvlmsal.evaluation.results.atomic import write_json, write_text
from lvlmsal.evaluation.results.belonging import Wanted, check_belonging, unfinished
from lvlmsal.evaluation.results.config_changes import differences
from lvlmsal.evaluation.results.folder import check_run_folder, read_environment, write_config
from lvlmsal.evaluation.results.judge_replies import give_replies, judged_parts, note_judge
from lvlmsal.evaluation.results.locks import RunLock
from lvlmsal.evaluation.results.manifests import read_manifest
from lvlmsal.evaluation.results.records import Record, all_lines
from lvlmsal.evaluation.results.scoring import cells_of, score_records
from lvlmsal.metrics.base import CountMetric
from lvlmsal.registry import BENCHMARKS, SCORERS

WORDS = "vocabulary.txt"
"""Next to the data of a scene world: the list of words that CHAIR reads captions by."""


@dataclass(frozen=True)
class OpenRun:
    """A run folder as far as scoring needs it.

    Attributes:
        config: The config.
        environment: The content of ``environment.json``.
        records: The records of the cells that the run was last asked for.
        metrics: The metric of each benchmark, by label.
        further: The metrics that the config names next to those, by benchmark and label.
        unfinished: What is still to be answered, see `belonging.unfinished`.
    """

    config: RunConfig
    environment: dict[str, Any]
    records: list[Record]
    metrics: dict[str, CountMetric]
    further: dict[str, dict[str, CountMetric]]
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
    check_run_folder(run)
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
    benchmarks = {
        entry.label: BENCHMARKS.build(entry.name, **entry.options) for entry in config.benchmarks
    }
    metrics = {label: benchmark.metric() for label, benchmark in benchmarks.items()}
    for index, entry in enumerate(config.benchmarks):
        problems += placed(f"benchmarks[{index}]", metric_problems(entry, imports=True))
    problems = problems or namesakes(config.benchmarks, benchmarks)
    problems = problems or _lost_words(config, environment)
    if problems:
        raise ConfigError(problems, source=source)
    further = {entry.label: further_metrics(entry) for entry in config.benchmarks}
    return OpenRun(config, environment, records, metrics, further, unfinished(lines, wanted))


def _lost_words(config: RunConfig, environment: dict[str, Any]) -> list[str]:
    """Lists of words by which answers were read and which are no longer there.

    A benchmark that finds its list next to its data would silently take another one.
    """
    problems = []
    for entry in config.benchmarks:
        files = environment["data"].get(entry.label, {}).get("files", {})
        path = Path(entry.options.get("root") or "", WORDS)
        found = entry.options.get("vocabulary", "auto") == "auto"
        if WORDS in files and found and not path.is_file():
            problems.append(
                f"{entry.label}: {path}, by whose words the answers were read, is not there: type "
                "the command in the folder where the run was made, or give "
                f"benchmarks.{entry.name}.vocabulary=FILE"
            )
    return problems


def _overlaps(environment: dict[str, Any], results: schema.Results) -> list[str]:
    """What is said of answers about images on which their method was fitted."""
    fits = environment.get("fits", {})
    return [
        f"{cell['model']} with {cell['method']} on {cell['benchmark']}: {fit['name']} was fitted "
        f"on {count} of these images (allow_overlap)"
        for cell in results["cells"]
        for fit in fits.get(cell["method"], ())
        if (count := fit["overlap"].get(cell["benchmark"], 0))
    ]


def _wanted(run: Path, cell: dict[str, Any], environment: dict[str, Any]) -> Wanted:
    label = cell["benchmark"]["label"]
    samples = read_manifest(run, label)
    data = environment["data"].get(label)
    if data is None:
        raise DataError(f"is damaged: data has no {label}", path=run / names.ENVIRONMENT)
    name = (cell["model"]["name"], cell["method"], label, cell["seed"])
    return Wanted(*name, data["samples"], None if samples is None else samples.keys())


@dataclass(frozen=True)
class Unwritten:
    """Figures that are not written yet.

    Attributes:
        result: The figures.
        table: The content of ``results.md``.
        page: The content of ``report.html``.
        config: The config of the run, if it was changed.
    """

    result: Result
    table: str
    page: str
    config: RunConfig | None = None

    def write(self) -> None:
        """Write results, tables and report into the run folder.

        Raises:
            LvlmsalError: A file cannot be written.
        """
        run = self.result.folder
        if self.config is not None:
            with RunLock(run):
                write_config(run, self.config)
        write_json(run / names.RESULTS, self.result.results)
        write_text(run / names.TABLE, self.table)
        write_text(run / names.REPORT, self.page)


@overload
def score(run: Path | str, overrides: Iterable[str] = ..., /) -> Result: ...


@overload
def score(scorer: str, /, **options: object) -> dict[str, Any]: ...


def score(
    run: Path | str, overrides: Iterable[str] = (), /, **options: object
) -> Result | dict[str, Any]:
    """Score a run folder, or the answer files of any tool, without a model.

    A run folder is scored from its records, and results, tables and report are written into it. The
    figures of a run that has not come to its end are those of what is answered; the tables and
    `Result.unfinished` say so.

    Args:
        run: A folder that `evaluate` has written, or with options the name of a scorer.
        overrides: Texts ``key=value`` for the run's config, which keeps them: whatever changes no
            answer, such as ``benchmarks.*.metrics=[NAME]``.
        options: Of the scorer, as ``lvlmsal score NAME --help`` lists them: for instance
            ``score("mme", results="answers")``. Nothing is written.

    Returns:
        The figures of the run; those of the answer files as a dictionary of what JSON can hold.

    Raises:
        DataError: It is not a run folder, or records or answer files are damaged.
        ConfigError: The config needs something that is not installed or no longer there, an
            override would change answers, or an option of the scorer is wrong or missing.
        UnknownName: There is no such scorer.
        LvlmsalError: The folder cannot be written; `score_only` does not write.
    """
    if options or (run in SCORERS and not Path(run).exists()):
        return SCORERS.build(str(run), **options).score()
    scored = score_only(run, overrides)
    scored.write()
    return scored.result


def score_only(run: Path | str, overrides: Iterable[str] = ()) -> Unwritten:
    """Score a run folder as `score` does, and write nothing.

    Args:
        run: A folder that `evaluate` has written.
        overrides: Texts ``key=value`` for its config.

    Raises:
        DataError: It is not a run folder, or its records are damaged.
        ConfigError: Its config needs something that is not installed or no longer there, or an
            override would change answers.
    """
    run, overrides = Path(run), list(overrides)
    opened = open_run(run, overrides)
    if overrides and (wrong := differences(run, opened.config)):
        raise ConfigError(
            wrong,
            source=f"{run} cannot be scored with what would change its answers: leave it out, or "
            "answer again with `lvlmsal evaluate` and another output",
        )
    config, records, metrics = opened.config, opened.records, opened.metrics
    judged = judged_parts(records, metrics)
    judge = give_replies(run, config, metrics.values())
    results = score_records(
        records,
        metrics,
        baseline=config.baseline,
        against=opponents(opened.environment["cells"].values(), config.baseline),
        saliency_rows=saliency_rows(opened.environment["cells"].values()),
        further=opened.further,
        samples=config.bootstrap.samples,
        seed=config.bootstrap.seed,
    )
    results["warnings"] += _overlaps(opened.environment, results)
    results["unfinished"] = opened.unfinished
    note_judge(results, judged, judge, run)
    results["paper"] = compared_with_paper(config.paper, results)
    cells = cells_of(records, metrics, opened.further)
    result = Result(run, results)
    page = report_page(results, config, opened.environment, cells)
    return Unwritten(result, result.markdown(), page, config if overrides else None)
