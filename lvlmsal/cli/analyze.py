"""``lvlmsal analyze``: the paper's analyses, each one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lvlmsal.cli.commands import Commands, whole_number
from lvlmsal.cli.console import print_report

if TYPE_CHECKING:
    from lvlmsal.saliency.options import SaliencyOptions

analyze_app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)

Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="Config of a run with the benchmark chair: YAML file, name of a packaged one, or run "
        "folder.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Such as benchmarks.chair.limit=50"),
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
Sample = Annotated[
    str | None,
    typer.Option(help="Id of the sample to draw; by default the first with both kinds."),
]
Token = Annotated[
    list[int] | None,
    typer.Option(
        "--token",
        parser=whole_number(0),
        metavar="N",
        help="Index of a token to draw; may be given repeatedly. By default the first correct and "
        "the first hallucinated mention.",
    ),
]


@analyze_app.command(epilog="lvlmsal analyze tokens runs/demo")
def tokens(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    settings: Settings = None,
    bins: Annotated[
        str, typer.Option(help="Ten ranges of a score: equal-width or equal-count.")
    ] = "equal-width",
) -> None:
    """Saliency of correct against hallucinated mentions, next to other scores (Table 5, Figure 10).

    An existing run is read; missing answers are generated first.
    """
    from lvlmsal.errors import ConfigError

    if bins not in ("equal-width", "equal-count"):
        raise ConfigError([f"--bins {bins}: expected equal-width or equal-count"])
    binning: Any = bins
    _check(config, overrides or [])
    from lvlmsal.analysis.tokens import analyze_tokens

    found = analyze_tokens(
        config, overrides or [], out=out, options=_options(settings or []), binning=binning
    )
    print_report(found.tables(), found.folder, found.files, found.notes)


@analyze_app.command(epilog="lvlmsal analyze layers analyze benchmarks.chair.limit=50")
def layers(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    settings: Settings = None,
    sample: Sample = None,
    token: Token = None,
) -> None:
    """AUROC of every layer alone, and pictures of chosen tokens (Figures 1-3, 6, 12-14)."""
    _check(config, overrides or [])
    from lvlmsal.analysis.layers import analyze_layers

    options = _options(settings or [], layers=None)
    found = analyze_layers(
        config, overrides or [], out=out, options=options, sample=sample, tokens=token or []
    )
    print_report(found.tables(), found.folder, found.files, found.notes)


@analyze_app.command(epilog="lvlmsal analyze fusion runs/demo -o figures")
def fusion(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    settings: Settings = None,
    sample: Sample = None,
    token: Token = None,
) -> None:
    """Compare ways to fuse attention and gradient, with the AUROC of each (Figure 9)."""
    _check(config, overrides or [])
    from lvlmsal.analysis.fusion import analyze_fusion

    options = _options(settings or [])
    found = analyze_fusion(
        config, overrides or [], out=out, options=options, sample=sample, tokens=token or []
    )
    print_report(found.tables(), found.folder, found.files, found.notes)


def _check(config: str, overrides: list[str]) -> None:
    """Refuse a wrong config before the analysis is imported, which takes seconds."""
    from lvlmsal.evaluation.config.stated import refuse_misstated

    refuse_misstated(config, overrides)


def _options(settings: list[str], **defaults: Any) -> SaliencyOptions:
    from lvlmsal.cli.ask import saliency_options
    from lvlmsal.cli.listing import parse_settings

    return saliency_options({**defaults, **parse_settings(settings)})
