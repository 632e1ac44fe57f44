"""The commands and their options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lvlmsal.cli.analyze import analyze_app
from lvlmsal.cli.console import new_console
from lvlmsal.cli.explore import explore
from lvlmsal.cli.sweep import ablation, decay, sweep
from lvlmsal.errors import LvlmsalError

USER_ERROR = 2
INTERRUPTED = 130


class _Commands(TyperGroup):
    """Shows errors that the user can mend as a message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except LvlmsalError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(USER_ERROR) from None
        except KeyboardInterrupt:
            # what the command was doing was written as it went along
            print("stopped; the same command goes on from here", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None


class _ScoreCommands(TyperGroup):
    """``lvlmsal score RUN`` beside ``lvlmsal score pope`` and ``lvlmsal score chair``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take a first word that is no command for a run folder."""
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Hallucination diagnosis and mitigation for vision-language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
score_app = typer.Typer(cls=_ScoreCommands, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(
    score_app,
    name="score",
    help="Score a run folder (score RUN), or files of answers (score pope, score chair).",
)
app.add_typer(analyze_app, name="analyze", help="The paper's analyses, on the answers of a run.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ImageFile = Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file.")]
Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="What to ask.")]
ModelName = Annotated[
    str, typer.Option(help="Catalogue name (lvlmsal list checkpoints), hub id or folder.")
]
InterventionNames = Annotated[
    list[str] | None, typer.Option("--intervention", help="Intervention; may be given repeatedly.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Option of the decoder (alpha=0.5) or of an intervention (locore.beta=0.3).",
    ),
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Length limit of the answer.")]


@app.command()
def evaluate(
    config: Annotated[str, typer.Argument(help="YAML file, or the name of a packaged config.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Such as methods.sgrs.decoder.alpha=0.7"),
    ] = None,
) -> None:
    """Answer every benchmark with every model and method, then score the answers.

    A run that was stopped goes on when the same command is given again.
    """
    from lvlmsal.evaluation import evaluate as run

    result = run(config, overrides or [])
    console = new_console()
    console.print(result)
    console.print(f"run folder: {result.folder}", highlight=False, soft_wrap=True)


app.command()(explore)
app.command()(sweep)
analyze_app.command()(decay)
analyze_app.command()(ablation)


@score_app.command("run")
def score_run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    as_json: AsJson = False,
) -> None:
    """Score a run folder again, without a model."""
    from lvlmsal.evaluation.result import score

    result = score(folder)
    if as_json:
        _print_json(result.results)
    else:
        new_console().print(result)


@score_app.command("pope")
def score_pope(
    questions: Annotated[Path, typer.Option(help="Question file, JSON lines or array.")],
    answers: Annotated[Path, typer.Option(help="Answer file, JSON lines or array.")],
    parser: Annotated[
        str, typer.Option(help="Rule that reads yes or no off an answer.")
    ] = "strict",
    as_json: AsJson = False,
) -> None:
    """Score a file of answers to POPE questions."""
    from lvlmsal.metrics.files import score_pope_files

    _print_scores(score_pope_files(questions, answers, parser=parser), as_json)


@score_app.command("chair")
def score_chair(
    annotations: Annotated[Path, typer.Option(help="Folder of COCO annotations.")],
    captions: Annotated[Path, typer.Option(help="Caption file (.json or .jsonl).")],
    vocabulary: Annotated[
        Path | None, typer.Option(help="Vocabulary file; by default the built-in COCO list.")
    ] = None,
    singulariser: Annotated[
        str, typer.Option(help="How the vocabulary file is read: auto, original or none.")
    ] = "auto",
    image_id_key: Annotated[str, typer.Option(help="Key of the image's id.")] = "image_id",
    caption_key: Annotated[str, typer.Option(help="Key of the caption.")] = "caption",
    as_json: AsJson = False,
) -> None:
    """Score a file of captions of COCO images."""
    from lvlmsal.errors import ConfigError
    from lvlmsal.metrics.files import score_chair_files

    if singulariser not in ("auto", "original", "none"):
        raise ConfigError([f"--singulariser {singulariser}: expected auto, original or none"])
    rule: Any = singulariser
    scores = score_chair_files(
        annotations,
        captions,
        vocabulary=vocabulary,
        singulariser=rule,
        image_id_key=image_id_key,
        caption_key=caption_key,
    )
    _print_scores(scores, as_json)


@app.command("list")
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="adapters, decoders, interventions, metrics, benchmarks or checkpoints",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what is there, with the options that each thing takes."""
    from lvlmsal.cli.listing import listing, listing_table

    found = listing(kind)
    if as_json:
        _print_json(found)
        return
    console = new_console()
    for name, entries in found.items():
        console.print(listing_table(name, entries))


@app.command()
def generate(
    image: ImageFile,
    prompt: Prompt,
    model: ModelName = "pocket-llava",
    decoder: Annotated[str, typer.Option(help="Decoder (lvlmsal list decoders).")] = "greedy",
    intervention: InterventionNames = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    max_new_tokens: MaxNewTokens = 128,
    as_json: AsJson = False,
) -> None:
    """Ask one question; the tokens of the answer are coloured by their saliency."""
    from lvlmsal.cli.ask import ask, coloured, components

    chosen, edits = components(model, decoder, intervention or [], settings or [])
    reply = ask(image, prompt, model, chosen, edits, seed=seed, max_new_tokens=max_new_tokens)
    if as_json:
        _print_json(reply.to_dict())
        return
    console = new_console()
    console.print(coloured(reply))


@app.command()
def saliency(
    image: ImageFile,
    prompt: Prompt,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Picture (.png), or the report (.safetensors).")
    ],
    model: ModelName = "pocket-llava",
    response: Annotated[
        str | None, typer.Option(help="Answer to judge; by default the model's own.")
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
    max_new_tokens: MaxNewTokens = 128,
) -> None:
    """Draw the saliency of every token of an answer beside its attention, or save the report."""
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
    console = new_console()
    console.print(text, markup=False, highlight=False)
    console.print(f"written: {output}", markup=False, highlight=False, soft_wrap=True)


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _print_scores(scores: dict[str, Any], as_json: bool) -> None:
    """Print figures with their intervals, then whatever else was said of them."""
    if as_json:
        _print_json(scores)
        return
    intervals = scores.pop("intervals")
    for name, value in scores.items():
        if isinstance(value, float) and intervals.get(name, {}).get("low") is not None:
            low, high = intervals[name]["low"], intervals[name]["high"]
            print(f"{name}: {value:.4f} [{low:.4f}, {high:.4f}]")
        elif isinstance(value, float):
            print(f"{name}: {value:.4f}")
        elif isinstance(value, list):
            print(f"{name}: {'; '.join(map(str, value)) or 'none'}")
        elif isinstance(value, dict):
            print(f"{name}: {json.dumps(value, ensure_ascii=False)}")
        else:
            print(f"{name}: {'undefined' if value is None else value}")
