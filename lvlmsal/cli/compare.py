"""``lvlmsal compare``: runs in one table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lvlmsal.cli.console import UNFINISHED, new_console, say
from lvlmsal.errors import ConfigError
from lvlmsal.escaping import visible

DIFFERS = 1


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders.", exists=True)],
    form: Annotated[
        str | None, typer.Option("--format", help="md, latex, csv, html or json.")
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help="plain or paper (LaTeX under booktabs, ready for a paper); tidy (a line for each "
            "figure) or wide (for each row) of CSV."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write instead of printing.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="What may differ between runs: decoders, prompts, subsets, metrics, lengths, "
            "dtypes, attention."
        ),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Show this model only.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Show this method only.")] = None,
    benchmark: Annotated[list[str] | None, typer.Option(help="Show this benchmark only.")] = None,
    figure: Annotated[
        list[str] | None, typer.Option(help="Show this figure only, such as accuracy.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare one run with a packed one (lvlmsal export run), sample by sample.",
            exists=True,
        ),
    ] = None,
) -> None:
    """Show one run, or several next to each other, with paired differences.

    Rows of one run are compared with their control. Runs that do not match are refused.

    Options may be given repeatedly; --allow takes several names, comma-separated. The exit code is
    1 if a run is unfinished, or not the same as its --reference.
    """
    if reference is not None:
        others = (form, style, output, allow, model, method, benchmark, figure)
        if len(runs) > 1 or any(other is not None for other in others):
            raise ConfigError(["--reference goes with one run and no other option"])
        _with_reference(runs[0], reference)
        return
    from lvlmsal.comparisons.comparing import compare as run
    from lvlmsal.comparisons.comparing import style_of

    if form is None and output is not None:
        form = _form_of(output)
    if form is not None:
        style_of(form, style)
    elif style is not None:
        raise ConfigError([f"--style {style} needs a format: add --format latex or --format csv"])
    found = run(
        runs,
        allow=allow or (),
        models=model or (),
        methods=method or (),
        benchmarks=benchmark or (),
        figures=figure or (),
    )
    if form is not None and output is not None:
        try:
            output.write_text(found.write(form, style), encoding="utf-8", newline="\n")
        except OSError as error:
            raise ConfigError([f"{output} cannot be written: {error.strerror}"]) from error
        say(f"written: {output}")
    elif form is not None:
        print(found.write(form, style), end="")
    else:
        new_console().print(found)
    if found.unfinished:
        if form is not None:
            print(*map(visible, found.unfinished), sep="\n", file=sys.stderr)
        raise typer.Exit(UNFINISHED)


def _with_reference(run: Path, reference: Path) -> None:
    from lvlmsal.comparisons.reference import compare_with_reference

    match = compare_with_reference(run, reference)
    say(str(match))
    if not match.same:
        raise typer.Exit(DIFFERS)


def _form_of(output: Path) -> str:
    """The format that a file's suffix asks for."""
    forms = {".md": "md", ".tex": "latex", ".csv": "csv", ".html": "html", ".json": "json"}
    if output.suffix not in forms:
        raise ConfigError(
            [f"{output}: choose a format with --format; known suffixes: {', '.join(forms)}"]
        )
    return forms[output.suffix]
