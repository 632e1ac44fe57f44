"""``lvlmsal analyze``: the paper's analyses, each one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lvlmsal.saliency.options import SaliencyOptions

analyze_app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Config = Annotated[
    str,
    typer.Argument(
        help="Config of a run with the benchmark chair (YAML file, or the name of a packaged one)."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Such as benchmarks.chair.limit=50"),
]
Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Folder to write into; by default one in the run folder."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Which saliency: row=candidate, layers=0.5:1.0, context=output ...",
    ),
]


@analyze_app.command()
def tokens(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    settings: Settings = None,
    bins: Annotated[
        str, typer.Option(help="Ten ranges of a score: equal-width or equal-count.")
    ] = "equal-width",
) -> None:
    """Saliency of correct against hallucinated mentions, beside other scores (Table 5, Figure 10).

    Answers that are missing are given first; a run that is there is read.
    """
    from lvlmsal.analysis.tokens import analyze_tokens
    from lvlmsal.errors import ConfigError

    if bins not in ("equal-width", "equal-count"):
        raise ConfigError([f"--bins {bins}: expected equal-width or equal-count"])
    binning: Any = bins
    found = analyze_tokens(
        config, overrides or [], out=out, options=_options(settings or []), binning=binning
    )
    _report(found.tables(), found.folder, found.files)


def _options(settings: list[str]) -> SaliencyOptions:
    from lvlmsal.cli.ask import saliency_options
    from lvlmsal.cli.listing import parse_settings
    from lvlmsal.errors import ConfigError

    options, problems = saliency_options(parse_settings(settings))
    if problems:
        raise ConfigError(problems)
    return options


def _report(tables: list[Any], folder: Path, files: list[str]) -> None:
    from rich.console import Console

    console = Console()
    console = console if console.is_terminal else Console(width=140)
    for table in tables:
        console.print(table)
    for name in files:
        console.print(f"written: {folder / name}", markup=False, highlight=False, soft_wrap=True)
