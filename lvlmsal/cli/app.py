"""The commands and their options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lvlmsal.cli.analyze import analyze_app
from lvlmsal.cli.check import check_app
from lvlmsal.cli.checkpoints import add_commands
from lvlmsal.cli.commands import Commands, WithSettings, whole_number
from lvlmsal.cli.compare import compare
from lvlmsal.cli.console import new_console, print_json, say
from lvlmsal.cli.data import data_app
from lvlmsal.cli.describe import describe
from lvlmsal.cli.detect import detect_app
from lvlmsal.cli.detectors import fit
from lvlmsal.cli.explore import explore
from lvlmsal.cli.export import export_app
from lvlmsal.cli.judge import judge
from lvlmsal.cli.score import score_app
from lvlmsal.cli.shown import ImageFile
from lvlmsal.cli.sweep import ablation, decay, sweep
from lvlmsal.errors import LvlmsalError, ProcessLost
from lvlmsal.escaping import visible
from lvlmsal.model import MAX_NEW_TOKENS

USER_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143


class _Commands(Commands):
    """Shows errors that the user can fix as a message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except LvlmsalError as error:
            if not (isinstance(error, ProcessLost) and error.told):
                print(visible(f"error: {error}", keep="\n\t"), file=sys.stderr)
            raise SystemExit(USER_ERROR) from None
        except KeyboardInterrupt:
            _say_stopped()
            raise SystemExit(INTERRUPTED) from None
        except SystemExit as end:
            if end.code == TERMINATED:
                _say_stopped()
            raise


def _say_stopped() -> None:
    # everything is already on disk; of several processes one prints this
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print("stopped; rerun the same command to resume", file=sys.stderr)


RUN, LOOK, COUNT, FIND = "Run", "Look", "Score and compare", "Find out what there is"

app = typer.Typer(
    cls=_Commands,
    help="Hallucination diagnosis and mitigation for vision-language models.",
    epilog="Start with:  lvlmsal evaluate demo   or   lvlmsal generate photo.jpg 'What is this?'",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _group, _name, _panel, _help in (
    (
        score_app,
        "score",
        COUNT,
        "Score a run folder (score RUN), or files of answers made by any tool (score NAME).",
    ),
    (data_app, "data", FIND, "Benchmark files: show, check, list, export, frames."),
    (export_app, "export", RUN, "A method for other tools (hub), or a run to be shared (run)."),
    (check_app, "check", RUN, "Check batch-size invariance: check batch."),
    (analyze_app, "analyze", LOOK, "The paper's analyses, on the answers of a run."),
    (
        detect_app,
        "detect",
        LOOK,
        "Which words of an answer are probably wrong (detect IMAGE PROMPT).",
    ),
):
    app.add_typer(_group, name=_name, help=_help, rich_help_panel=_panel)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="The question.")]
ModelName = Annotated[
    str,
    typer.Option(metavar="NAME", help="Catalog name (lvlmsal list checkpoints), hub id or folder."),
]
InterventionNames = Annotated[
    list[str] | None,
    typer.Option("--intervention", metavar="NAME", help="Intervention; may be given repeatedly."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Option of the decoder (alpha=0.5) or of an intervention (locore.beta=0.3).",
    ),
]
MaxNewTokens = Annotated[
    int, typer.Option(parser=whole_number(1), metavar="N", help="Length limit of the answer.")
]


def _print_versions(asked: bool) -> None:
    if asked:
        import platform
        from importlib.metadata import version

        from lvlmsal import __version__

        say(f"lvlmsal {__version__}, Python {platform.python_version()}")
        say(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lightning")))
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_versions, is_eager=True, help="Show versions and exit."
        ),
    ] = False,
) -> None:
    """Hallucination diagnosis and mitigation for vision-language models."""


@app.command(
    cls=WithSettings,
    rich_help_panel=RUN,
    epilog="lvlmsal evaluate demo world.images=20 output=runs/small",
)
def evaluate(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="YAML file, name of a packaged config, or run folder."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Such as methods.sgrs.decoder.alpha=0.7"),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only try the config, on tiny random models."),
    ] = False,
) -> None:
    """Answer every benchmark with every model and method, then score the answers.

    Rerun the same command to resume a run that was stopped.
    """
    from lvlmsal.evaluation.config.stated import refuse_misstated, with_data_root

    given = overrides or []
    refuse_misstated(config, with_data_root(config, given) if dry_run else given)
    from lvlmsal.evaluation import evaluate as run

    if dry_run:
        new_console().print(run(config, given, dry_run=True))
        return
    result = run(config, given)
    if result.is_of_other_process:
        return
    console = new_console()
    console.print(result)
    console.print(visible(f"run folder: {result.folder}"), highlight=False, soft_wrap=True)


add_commands(app, FIND)
app.command(rich_help_panel=COUNT, epilog="lvlmsal compare runs/a runs/b -o table.tex")(compare)
app.command(rich_help_panel=FIND, epilog="lvlmsal describe sgrs")(describe)
app.command(cls=WithSettings, rich_help_panel=RUN, epilog="lvlmsal fit fit -o scalings")(fit)
app.command(rich_help_panel=LOOK, epilog="lvlmsal explore runs/demo -o page.html")(explore)
app.command(rich_help_panel=COUNT, epilog="lvlmsal judge runs/mine judge.model=gpt-4-0613")(judge)
app.command(cls=WithSettings, rich_help_panel=RUN, epilog="lvlmsal sweep sweep_locore")(sweep)
analyze_app.command(epilog="lvlmsal analyze decay decay")(decay)
analyze_app.command(epilog="lvlmsal analyze ablation ablation")(ablation)


@app.command("list", rich_help_panel=FIND, epilog="lvlmsal list methods")
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="methods (decoders and interventions), adapters, decoders, interventions, "
            "detectors, evidence, metrics, benchmarks, scorers or checkpoints",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List registered components (options and details: lvlmsal describe NAME)."""
    from lvlmsal.cli.listing import listing, listing_table
    from lvlmsal.tables.terminal import terminal_document

    found = listing(kind)
    if as_json:
        print_json(found)
        return
    console = new_console()
    tables = [listing_table(name, entries) for name, entries in found.items()]
    console.print(terminal_document(tables, [], console.width))


@app.command(
    rich_help_panel=LOOK,
    epilog="lvlmsal generate photo.jpg 'Is there a dog?' --decoder sgrs --set alpha=0.5",
)
def generate(
    image: ImageFile,
    prompt: Prompt,
    model: ModelName = "pocket-idefics3",
    decoder: Annotated[
        str, typer.Option(metavar="NAME", help="Decoder (lvlmsal list decoders).")
    ] = "greedy",
    intervention: InterventionNames = None,
    settings: Settings = None,
    seed: Annotated[
        int,
        typer.Option(parser=whole_number(0), metavar="N", help="Seed of all random numbers."),
    ] = 0,
    max_new_tokens: MaxNewTokens = MAX_NEW_TOKENS,
    as_json: AsJson = False,
) -> None:
    """Ask one question; the tokens of the answer are colored by their saliency."""
    from lvlmsal.cli.ask import ask, colored, components

    chosen, edits = components(model, decoder, intervention or [], settings or [])
    reply = ask(image, prompt, model, chosen, edits, seed=seed, max_new_tokens=max_new_tokens)
    if as_json:
        print_json(reply.to_dict())
        return
    console = new_console()
    seen = console.color_system is not None and not console.no_color
    console.print(colored(reply, colors=seen))


@app.command(
    rich_help_panel=LOOK,
    epilog="lvlmsal saliency photo.jpg 'Please describe this image in detail.' -o heatmap.png",
)
def saliency(
    image: ImageFile,
    prompt: Prompt,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Figure (.png), or the report (.safetensors).")
    ],
    model: ModelName = "pocket-idefics3",
    response: Annotated[
        str | None, typer.Option(help="Answer to diagnose; by default the model's own.")
    ] = None,
    intervention: InterventionNames = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Which saliency (row=candidate, layers=0.5:1.0), or locore.beta=0.3.",
        ),
    ] = None,
    max_new_tokens: MaxNewTokens = MAX_NEW_TOKENS,
) -> None:
    """Draw the saliency of each token of an answer next to its attention, or save the report."""
    from lvlmsal.cli.ask import draw

    text = draw(
        image,
        prompt,
        model,
        output,
        response=response,
        interventions=intervention or [],
        settings=settings or [],
        max_new_tokens=max_new_tokens,
    )
    new_console().print(visible(text, keep="\n\t"), markup=False, highlight=False)
    say(f"written: {output}")
