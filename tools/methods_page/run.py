"""What runs found of all methods: a page, and what of it concerns one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lvlmsal.errors import UnknownName
from lvlmsal.escaping import markdown_text
from lvlmsal.evaluation.report.entries import shown_cells
from lvlmsal.evaluation.report.legend import SIGNIFICANT
from lvlmsal.evaluation.report.result import read_result
from lvlmsal.evaluation.report.run_scoring import OpenRun, open_run
from lvlmsal.evaluation.report.run_tables import markdown_tables
from lvlmsal.evaluation.results.schema import Results
from lvlmsal.tables.markdown import markdown_table
from lvlmsal.tables.table import Table
from methods_page.differences import (
    Difference,
    chance_text,
    differences_tables,
    differences_to,
    paired_differences,
    verdicts_table,
)
from methods_page.listing import Known
from methods_page.published import names_of
from methods_page.text import joined, wrapped


@dataclass(frozen=True)
class Runs:
    """Runs of several methods, each next to its control.

    Attributes:
        folders: Of the runs.
        opened: The runs.
        results: Their results.
        known: Names of what does something against hallucinations.
    """

    folders: Sequence[Path]
    opened: Sequence[OpenRun]
    results: Sequence[Results]
    known: Collection[str]

    @classmethod
    def read(cls, folders: Sequence[Path], known: Collection[str]) -> Runs:
        """Read the runs in some folders.

        Raises:
            DataError: A folder is none of a run.
        """
        opened = [open_run(folder) for folder in folders]
        return cls(folders, opened, [read_result(folder).results for folder in folders], known)

    @cached_property
    def differences(self) -> list[Difference]:
        """All of them, run by run."""
        return [each for results in self.results for each in paired_differences(results)]

    @cached_property
    def acting(self) -> dict[str, list[str]]:
        """What acts in each method of the runs."""
        methods = [method for run in self.opened for method in run.config.methods]
        return {
            method.name: [name for name in names_of(vars(method)) if name in self.known]
            for method in methods
        }

    def of(self, name: str) -> list[Difference]:
        """The differences of methods in which nothing but a registered one acts."""
        return [each for each in self.differences if self.acting[each.entry["method"]] == [name]]

    def tables(self, name: str) -> list[Table]:
        """The same as tables, one a model."""
        return differences_tables(self.of(name))

    def verdicts(self, name: str) -> Counter[str]:
        """How many of them are better, worse, unclear or the same."""
        return Counter(each.verdict for each in self.of(name))

    def chance(self) -> str:
        """How much of all this chance explains."""
        return chance_text(self.differences)

    def page(self, methods: Sequence[Known], controls: Sequence[str]) -> str:
        """The page about the runs.

        Args:
            methods: All that there are.
            controls: Methods of the runs to compare those with, too, that decode like them.

        Raises:
            UnknownName: No run has such a control.
        """
        if unknown := [name for name in controls if name not in self.acting]:
            raise UnknownName("method", unknown[0], sorted(self.acting))
        parts = ["# What runs found of the methods", "[All methods](../methods.md)"]
        for opened, results in zip(self.opened, self.results, strict=True):
            world = opened.config.world
            place = f" on {world.kind}" if world is not None else ""
            parts += [f"## The run{place}", wrapped(markdown_text(_asked(opened, results)))]
        parts += [
            self._missing(methods),
            "## Differences to the control",
            wrapped(
                "The first figure of each benchmark, paired sample by sample with the row that "
                "decodes alike with nothing done against hallucinations; 95 % intervals that "
                f"resample images.{SIGNIFICANT}"
            ),
        ]
        each_run = [differences_tables(paired_differences(results)) for results in self.results]
        parts += [markdown_table(table) for tables in each_run for table in tables]
        for control in controls:
            parts += [
                f"## Differences to '{markdown_text(control)}'",
                "The same, compared with another row that decodes alike.",
            ]
            for folder, results in zip(self.folders, self.results, strict=True):
                against = differences_to(folder, results, control)
                parts += map(markdown_table, differences_tables(against))
        return joined(
            [
                *parts,
                "## How much of this is chance",
                wrapped(self.chance()),
                markdown_table(verdicts_table(self.differences)),
                "## All figures",
                *(markdown_tables(results).rstrip() for results in self.results),
            ]
        )

    def _missing(self, methods: Sequence[Known]) -> str:
        used = {name for names in self.acting.values() for name in names}
        missing = [f"`{method.name}`" for method in methods if method.name not in used]
        return f"Measured in none of these: {', '.join(missing)}." if missing else ""


def _asked(opened: OpenRun, results: Results) -> str:
    """What was asked of whom, with what."""
    config, cells = opened.config, shown_cells(results)
    counts: dict[str, Any] = {cell["benchmark"]: (cell["n"], cell["groups"]) for cell in cells}
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
