"""``lvlmsal export``: methods for other tools, and runs to be shared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvlmsal.cli.commands import Commands
from lvlmsal.cli.console import say

export_app = typer.Typer(cls=Commands, no_args_is_help=True)


@export_app.callback()
def _group() -> None:
    """Write methods for other tools, and runs to be shared."""


@export_app.command(
    "hub", epilog="lvlmsal export hub sgrs-llava --method sgrs --model pocket-llava"
)
def export_hub(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to make.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Decoder or intervention (lvlmsal list methods); may be given repeatedly. Without "
            "one, callers choose by method=.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Option of the method (alpha=0.5), or of one of several (locore.beta=0.3).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Catalog name, hub id or folder of a checkpoint: the folder becomes this model "
            "with the method switched on.",
        ),
    ] = None,
    copy_weights: Annotated[
        bool, typer.Option("--copy-weights", help="Copy the weights in place of linking to them.")
    ] = False,
) -> None:
    """Write a custom_generate repository of transformers, or a model with a method switched on."""
    from lvlmsal.cli.listing import parse_settings
    from lvlmsal.errors import ConfigError, close_matches
    from lvlmsal.hub.methods import Spec, take_options

    specs: list[Spec] = [{"name": name} for name in method or []]
    by_name = {spec["name"]: spec for spec in specs}
    plain = {}
    for key, value in parse_settings(settings or []).items():
        owner, dot, option = key.rpartition(".")
        if not dot:
            plain[option] = value
        elif owner in by_name:
            by_name[owner][option] = value
        else:
            raise ConfigError(
                [
                    f"--set {key}: {owner!r} is not in use.{close_matches(owner, by_name)} "
                    f"In use: {', '.join(by_name) or 'no method'}"
                ]
            )
    if len(specs) == 1:
        specs[0].update(plain)
    elif plain:
        take_options(specs, plain)
        if plain:
            raise ConfigError([f"--set {key}: no method here has it" for key in plain])
    from lvlmsal.hub import export

    written = export(folder, specs or None, model=model, copy_weights=copy_weights)
    say(f"written: {written}")
    if model is None:
        call = f"custom_generate={str(written)!r}, trust_remote_code=True"
        say(f"next: model.generate(**inputs, {call})")
    else:
        say(f"next: transformers serve {written} --trust-remote-code")


@export_app.command("run", epilog="lvlmsal export run runs/demo reference/demo.tar.gz")
def export_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", exists=True)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write; ends in .tar.gz.")],
) -> None:
    """Pack a finished run to be shared: records, results, environment and digests, no images."""
    from lvlmsal.comparisons.packing import pack_run

    say(f"written: {pack_run(run, file)}")
    say(f"next: lvlmsal compare RUN --reference {file}")
