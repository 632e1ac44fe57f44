"""``lvlmsal methods``: a page about every registered method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvlmsal.cli.console import say
from lvlmsal.errors import ConfigError


def methods(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Run folder whose results are shown.")
    ] = None,
    costs: Annotated[
        Path | None, typer.Option(help="JSON file that benchmarks/methods.py has written.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="Method of the run beside which to show those that decode like it."),
    ] = None,
    command: Annotated[str, typer.Option(help="What the page calls the command behind it.")] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write instead of printing.")
    ] = None,
) -> None:
    """Write a Markdown page about all methods: what they are and cost, and what a run found."""
    from lvlmsal.compare.method_page import method_page

    page = method_page(run, costs=costs, controls=control or (), command=command)
    if output is None:
        print(page, end="")
        return
    try:
        output.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError([f"{output} cannot be written: {error.strerror}"]) from error
    say(f"written: {output}")
