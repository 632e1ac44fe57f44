"""``lvlmsal check``: whether answers depend on the batch size on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from lvlmsal.cli.commands import Commands, whole_number
from lvlmsal.cli.console import new_console, print_json

check_app = typer.Typer(cls=Commands, no_args_is_help=True)

DIFFERS = 1


@check_app.callback()
def _group() -> None:
    """Check batch-size invariance."""


@check_app.command("batch", epilog="lvlmsal check batch demo --sizes 2,8 --limit 20")
def check_batch(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="YAML file, name of a packaged config, or run folder."
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Such as seed=1")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Batch sizes, comma-separated.")] = "2,8",
    limit: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1), metavar="N", help="Maximum number of images per benchmark."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Answer a config's samples one by one and in batches, and count the differences.

    The exit code is 1 if answers differ in float32, and 0 if they differ in 16 bits only, where the
    order of summation decides ties.
    """
    from dataclasses import asdict

    from lvlmsal.errors import ConfigError
    from lvlmsal.evaluation.config.stated import refuse_misstated

    parts = [part.strip() for part in sizes.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError([f"--sizes {sizes!r}: expected whole numbers from 1, such as 1,2,8"])
    numbers = [int(part) for part in parts]
    refuse_misstated(config, overrides or [])
    from lvlmsal.evaluation.run.batch_check import check_batches, checks_table
    from lvlmsal.tables.terminal import terminal_table

    checks = list(check_batches(config, overrides or [], sizes=numbers, limit=limit))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        console = new_console()
        console.print(*terminal_table(checks_table(checks), console.width), sep="\n", end="")
    if any(check.is_wrong for check in checks):
        raise typer.Exit(DIFFERS)
