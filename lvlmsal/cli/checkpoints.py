"""``lvlmsal load-check`` and ``lvlmsal convert``: what a checkpoint is, and what it may become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvlmsal.cli.console import print_json, say


def add_commands(app: typer.Typer, panel: str) -> None:
    """Add the commands of this module.

    Args:
        app: Of the command line.
        panel: Of its help under which they stand.
    """
    app.command("load-check", rich_help_panel=panel, epilog="lvlmsal load-check llava-1.5-7b")(
        load_check
    )
    example = "lvlmsal convert llava-v1.5-7b -o llava-hf --allow-bin"
    app.command(rich_help_panel=panel, epilog=example)(convert)


def load_check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Catalog name, hub id or folder of a checkpoint.")
    ],
    image: Annotated[
        Path | None, typer.Option(help="What to ask about; by default a picture is drawn.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the adapter of a LoRA folder goes into."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how a checkpoint would be loaded and asked: family, prompt, spans, grids, dtype.

    Nothing is answered, and no weights are fetched or held in memory.
    """
    from lvlmsal.model.load_check import load_check as check

    found = check(name, image=image, base=base)
    if as_json:
        print_json(found.to_dict())
    else:
        say(str(found))


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder in the form of LLaVA's own code.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write, in the form of transformers.")
    ],
    vision_tower: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="CLIP's folder or hub id; by default as in config.json."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="Language model that a LoRA, or a projector alone, stands on."),
    ] = None,
    allow_bin: Annotated[
        bool,
        typer.Option("--allow-bin", help="Also read pickled .bin files (weights_only)."),
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="llava|cca-llava",
            help="What it is; by default as the folder's name and model card say.",
        ),
    ] = None,
) -> None:
    """Convert a checkpoint of LLaVA's own code, for example one of liuhaotian/llava-v1.5-7b."""
    from lvlmsal.adapters.forms import read_config
    from lvlmsal.model.conversion import convert as write

    written = write(
        source, output, vision_tower=vision_tower, base=base, allow_bin=allow_bin, kind=kind
    )
    concentric = read_config(written)["model_type"] == "cca_llava"
    say(f"written as {'CCA-LLaVA' if concentric else 'LLaVA'}: {written}")
