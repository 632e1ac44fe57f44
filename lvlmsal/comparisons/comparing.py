"""`compare`: rows of one or several runs in tables, refused where runs do not match."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console, ConsoleOptions, RenderResult

from lvlmsal.comparisons.layout import Block, pair_table, row_table
from lvlmsal.comparisons.pairs import candidates, pairs_between
from lvlmsal.comparisons.paper import paper_document
from lvlmsal.comparisons.reading import Row, chosen, read_rows, run_names, scored
from lvlmsal.comparisons.rows import Style, comparison_csv, comparison_frame
from lvlmsal.comparisons.traits import differing_between, differing_inside, known_traits
from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.escaping import visible
from lvlmsal.evaluation.report.legend import SIGNIFICANT, any_dependent, readers_text
from lvlmsal.evaluation.results.unfinished import unfinished_text
from lvlmsal.pages import render
from lvlmsal.tables.latex import latex_document
from lvlmsal.tables.markdown import markdown_document
from lvlmsal.tables.table import Table
from lvlmsal.tables.terminal import terminal_document

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("md", "latex", "csv", "html", "json")
STYLES = {"latex": ("plain", "paper"), "csv": get_args(Style)}
"""Of the formats that have several; the first is the usual one."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Runs next to each other.

    Attributes:
        runs: The folders by the names that the tables give them.
        blocks: One table for each benchmark and metric.
        notes: Sentences on what is not alike: between runs because it was allowed, or inside one.
    """

    runs: Mapping[str, Path]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]

    @property
    def unfinished(self) -> list[str]:
        """One sentence for each run that has not come to its end."""
        sources = {row.run: row.source for block in self.blocks for row in block.rows}
        return [
            f"{run}: {unfinished_text(source.unfinished)}"
            for run, source in sources.items()
            if source.unfinished is not None
        ]

    def tables(self) -> list[Table]:
        """The rows of each benchmark, then its pairs."""
        found = []
        for block in self.blocks:
            found.append(row_table(block))
            if block.pairs:
                found.append(pair_table(block))
        return found

    def legend(self) -> list[str]:
        """What the tables do not say by themselves, and the notes."""
        text = (
            "In brackets: 95 % intervals that resample images. Δ: paired difference, sample by "
            "sample, to the row named under 'against'."
        )
        entries = [row.entry for block in self.blocks for row in block.rows]
        found = [pair.found for block in self.blocks for pair in block.pairs]
        if any(cell.strong for table in self.tables() for row in table.rows for cell in row.cells):
            text += SIGNIFICANT
        if any("seeds" in entry for entry in entries):
            text += " ±: standard deviation over seeds, around their mean."
        text += self._readers()
        if any_dependent([*entries, *found]):
            text += " *: several answers are about one image, which McNemar's test does not allow."
        return [*self.unfinished, text, *self.notes]

    def _readers(self) -> str:
        return readers_text((row.title, row.entry) for block in self.blocks for row in block.rows)

    def write(self, form: str, style: str | None = None) -> str:
        """The comparison as a text.

        Args:
            form: One of `FORMATS`.
            style: One of the `STYLES` of the format. LaTeX is ``"plain"``, with all that the other
                formats say and without a package, or ``"paper"``: a float for each metric under
                booktabs, the best value of each group in bold, differences to the control as
                subscripts. CSV is ``"tidy"`` or ``"wide"``, as `to_pandas` has it.

        Raises:
            UnknownName: There is no such format, or no such style of it.
        """
        style = style_of(form, style)
        if form == "json":
            # what is spelled as \uXXXX is the same in JSON
            text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
            return visible(text, keep="\n") + "\n"
        if form == "csv":
            return comparison_csv(self.blocks, "wide" if style == "wide" else "tidy")
        if style == "paper":
            readers = self._readers().strip()
            notes = [*self.unfinished, *([readers] if readers else []), *self.notes]
            return paper_document(self.blocks, notes)
        tables, notes = self.tables(), self.legend()
        if form == "html":
            return render("comparisons/page.html", tables=tables, notes=notes)
        return (
            latex_document(tables, notes) if form == "latex" else markdown_document(tables, notes)
        )

    def to_pandas(self, style: Style = "tidy") -> pd.DataFrame:
        """The comparison as a frame; needs the ``pandas`` extra.

        Args:
            style: ``"tidy"`` has a row for each run, model, method, benchmark and figure, with its
                interval and its paired difference to the control; then a row for each difference
                between runs and models, which has no value. ``"wide"`` has the same with all
                figures side by side, such as ``accuracy.value`` and ``accuracy.difference``.

        Returns:
            A frame in which what is undefined is missing. The columns of a tidy one are always the
            same.

        Raises:
            UnknownName: There is no such style.
            UnsupportedError: pandas is not installed.
        """
        if style not in get_args(Style):
            raise UnknownName("style of a frame", style, get_args(Style))
        return comparison_frame(self.blocks, style)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "runs": {name: str(folder) for name, folder in self.runs.items()},
            "rows": [
                {"run": row.run, **row.entry, "traits": {**row.traits, "subsets": row.digest}}
                for block in self.blocks
                for row in block.rows
            ],
            "pairs": [
                {
                    "benchmark": block.benchmark,
                    **{key: getattr(pair.row, key) for key in ("run", "model", "method")},
                    "against": {
                        key: getattr(pair.other, key) for key in ("run", "model", "method")
                    },
                    **pair.found,
                }
                for block in self.blocks
                for pair in block.pairs
            ],
            "notes": list(self.notes),
            "unfinished": self.unfinished,
        }

    def __repr__(self) -> str:
        parts = [list(self.runs), [block.benchmark for block in self.blocks]]
        runs, shown = (f"{', '.join(names[:4])}{' ...' * (len(names) > 4)}" for names in parts)
        rows = sum(len(block.rows) for block in self.blocks)
        return f"Comparison({runs}: {shown}; {rows} rows)"

    def _repr_html_(self) -> str:
        return render("tables/templates/notebook.html", tables=self.tables(), notes=self.legend())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tables, fitted to the terminal."""
        yield terminal_document(self.tables(), self.legend(), options.max_width)


def compare(
    runs: Path | str | Sequence[Path | str],
    *,
    allow: str | Sequence[str] = (),
    models: str | Sequence[str] = (),
    methods: str | Sequence[str] = (),
    benchmarks: str | Sequence[str] = (),
    figures: str | Sequence[str] = (),
) -> Comparison:
    """Put runs into one table for each benchmark.

    Every run is scored again from its records. Inside a run each row is compared with its control,
    whatever else differs, and a note says what does. Rows of different runs are compared only if
    they decode alike (whatever they do against hallucinations), and were asked the same samples
    with the same prompts, length limits, dtypes and attention implementations, under the same
    metric.

    Args:
        runs: Run folders; here as below one may stand in place of a list of one.
        allow: What may differ nevertheless: names out of `lvlmsal.comparisons.reading.TRAITS`.
        models: Names of the models to show; all where there is none. Likewise the next two.
        methods: Names of methods.
        benchmarks: Labels of benchmarks.
        figures: Names of the figures that tables show, in this order, such as ``accuracy``.

    Raises:
        UnknownName: No row has a figure of that name.
        ConfigError: Rows of different runs do not belong together; it says in what they differ.
        DataError: A folder holds no run.
    """
    allowed = known_traits(_listed(allow))
    figures = _listed(figures)
    folders = [Path(run) for run in _listed(runs)]
    if not folders:
        raise ConfigError(["expected one or more run folders"])
    names = run_names(folders)
    rows = [
        row for folder, name in zip(folders, names, strict=True) for row in read_rows(folder, name)
    ]
    wanted = {"model": models, "method": methods, "benchmark": benchmarks}
    rows = chosen(rows, **{kind: _listed(names) for kind, names in wanted.items()})
    if not rows:
        raise ConfigError(["the runs hold no answers"], source="compare")
    by_benchmark: dict[str, list[Row]] = {}
    for row in rows:
        by_benchmark.setdefault(row.benchmark, []).append(row)
    between = _told({name: differing_between(candidates(r)) for name, r in by_benchmark.items()})
    problems = [text for trait, text in between if trait not in allowed]
    if problems:
        traits = dict.fromkeys(trait for trait, _ in between if trait not in allowed)
        raise ConfigError(
            problems,
            source="these rows do not belong in one table; choose some with --model, --method and "
            f"--benchmark, or add --allow {','.join(traits)}",
        )
    inside = _told({name: differing_inside(r) for name, r in by_benchmark.items()})
    bootstrap = rows[0].source.config.bootstrap
    blocks = []
    for benchmark, found in by_benchmark.items():
        ready = scored(found)
        for metric in dict.fromkeys(row.entry["metric"] for row in ready):
            own = [row for row in ready if row.entry["metric"] == metric]
            pairs = pairs_between(own, samples=bootstrap.samples, seed=bootstrap.seed)
            blocks.append(Block(benchmark, tuple(own), tuple(pairs), tuple(figures)))
    known = list(
        dict.fromkeys(name for b in blocks for row in b.rows for name in row.entry["figures"])
    )
    for figure in figures:
        if figure not in known:
            raise UnknownName("figure", figure, known)
    notes = (
        *(f"Allowed to differ: {text}." for _, text in between),
        *(f"Not alike in one run, where rows keep to their control: {text}." for _, text in inside),
    )
    return Comparison(dict(zip(names, folders, strict=True)), tuple(blocks), notes)


def _listed(given: Path | str | Sequence[Any]) -> list[Any]:
    """A list: a name, read as one, would be its letters."""
    return [given] if isinstance(given, str | Path) else list(given)


def style_of(form: str, style: str | None) -> str | None:
    """The style that a format is written in.

    Raises:
        UnknownName: There is no such format, or no such style of it.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, list(FORMATS))
    styles = STYLES.get(form, ())
    if style is None:
        return next(iter(styles), None)
    if not styles:
        owners = [f"{name} has {', '.join(known)}" for name, known in STYLES.items()]
        raise ConfigError([f"{form} has no style {style!r}; {'; '.join(owners)}"])
    if style not in styles:
        raise UnknownName(f"style of {form}", style, styles)
    return style


def _told(by_benchmark: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """Traits that differ with a text on each; the same text on several benchmarks stands once."""
    where: dict[tuple[str, str], list[str]] = {}
    for benchmark, found in by_benchmark.items():
        for trait, text in found.items():
            where.setdefault((trait, text), []).append(benchmark)
    return [
        (trait, f"{', '.join(benchmarks)}: {trait}: {text}")
        for (trait, text), benchmarks in where.items()
    ]
