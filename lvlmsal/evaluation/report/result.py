"""What `evaluate` returns, and scoring a run folder without a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from rich.console import Console, ConsoleOptions, Group, RenderResult

from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.evaluation.report.entries import shown_cells
from lvlmsal.evaluation.report.frames import Level, run_frame
from lvlmsal.evaluation.report.legend import legend
from lvlmsal.evaluation.report.paper import paper_table
from lvlmsal.evaluation.report.run_tables import (
    cost_table,
    markdown_tables,
    run_tables,
    terminal_tables,
    unfinished_notes,
)
from lvlmsal.evaluation.results import names, schema
from lvlmsal.evaluation.results.records import Record, all_records
from lvlmsal.evaluation.results.scoring import score_records
from lvlmsal.pages import render
from lvlmsal.tables.markdown import markdown_table
from lvlmsal.tables.terminal import plain_text, terminal_table

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ("model", "method", "benchmark")


@dataclass(frozen=True, repr=False)
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

    def to_pandas(self, level: Level = "scores") -> pd.DataFrame:
        """The run as a frame; needs the ``pandas`` extra.

        Args:
            level: ``"scores"`` has a row for each model, method, benchmark, seed and figure, with
                its interval and its paired difference to the method it is compared with;
                ``"records"`` one for each answer; ``"tokens"`` one for each token of the answers.

        Returns:
            A frame whose columns do not depend on the run. What is undefined is missing.

        Raises:
            UnknownName: There is no such level.
            UnsupportedError: pandas is not installed.
        """
        return run_frame(level, self.results, self.records() if level != "scores" else ())

    def markdown(self) -> str:
        """The tables in Markdown, as in ``results.md``."""
        further = (cost_table(self.results), paper_table(self.results))
        parts = [markdown_table(table) + "\n" for table in further if table is not None]
        return "\n".join([markdown_tables(self.results), *parts])

    def __repr__(self) -> str:
        cells = self.results["cells"]
        seen = {key: list(dict.fromkeys(str(cell.get(key)) for cell in cells)) for key in _SHOWN}
        parts = [f"{', '.join(names[:4])}{' ...' * (len(names) > 4)}" for names in seen.values()]
        count = sum(cell["n"] for cell in cells)
        told = ", unfinished" if self.unfinished else ""
        return f"Result({str(self.folder)!r}: {'; '.join(parts)}; {count} answers{told})"

    def _repr_html_(self) -> str:
        notes = [*unfinished_notes(self.results), legend(self.results), *self.results["warnings"]]
        tables = [*run_tables(self.results), paper_table(self.results)]
        return render(
            "tables/templates/notebook.html",
            tables=[table for table in tables if table is not None],
            notes=notes,
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tables, fitted to the terminal."""
        yield terminal_tables(self.results, width=options.max_width)
        table = paper_table(self.results)
        if table is not None:
            yield Group(*terminal_table(table, options.max_width))

    def __str__(self) -> str:
        """The tables as plain text."""
        return plain_text(self)


def read_result(run: Path | str) -> Result:
    """The figures of a run as they were last scored.

    Args:
        run: A folder that `evaluate` has written.

    Raises:
        DataError: It holds none.
    """
    run = Path(run)
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
