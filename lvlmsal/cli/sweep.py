"""``lvlmsal sweep``, and the two of the paper's analyses that are sweeps."""

from __future__ import annotations

from typing import Annotated

import typer

from lvlmsal.cli.console import new_console, say

Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="Config of a sweep (YAML file, or the name of a packaged one)."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Such as sweep.method.decoder.k=10"),
]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only try the config, on tiny random models.")
]


def sweep(config: Config, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Answer every point of one or more grids of options, with tables and plots.

    Rerun the same command to resume a sweep that was stopped.
    """
    _run(config, overrides or [], dry_run=dry_run)


def decay(config: Config, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Weaken the attention to the latest context, a gain r = 1 + beta at a time (Table 6)."""
    _run(config, overrides or [], dry_run=dry_run, axes=("locore.beta",))


def ablation(config: Config, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """SGRS' alpha by LocoRE's beta, with the time per token (Table 3 and Figure 5)."""
    _run(config, overrides or [], dry_run=dry_run, axes=("sgrs.alpha", "locore.beta"))


def _run(config: str, overrides: list[str], *, dry_run: bool, axes: tuple[str, ...] = ()) -> None:
    from lvlmsal.evaluation.config.stated import with_data_root
    from lvlmsal.sweeps.stated import refuse_misstated_sweep

    given = with_data_root(config, overrides) if dry_run else overrides
    refuse_misstated_sweep(config, given, axes=axes)
    from lvlmsal.sweeps import dry_sweep
    from lvlmsal.sweeps import sweep as run

    console = new_console()
    if dry_run:
        console.print(dry_sweep(config, overrides, axes=axes))
        return
    result = run(config, overrides, axes=axes)
    console.print(result)
    for name in ("sweep.csv", "sweep.md", *(path.name for path in result.pictures)):
        say(f"written: {result.folder / name}")
