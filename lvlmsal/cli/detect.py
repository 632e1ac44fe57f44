"""``lvlmsal detect IMAGE PROMPT``: words that are probably wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from lvlmsal.cli.commands import Commands, whole_number
from lvlmsal.cli.console import new_console, print_json, say
from lvlmsal.cli.logs import detect_log
from lvlmsal.cli.shown import shown_file
from lvlmsal.errors import ConfigError, DataError, UnknownName, close_matches
from lvlmsal.escaping import visible
from lvlmsal.model import MAX_NEW_TOKENS
from lvlmsal.registry import DETECTORS

if TYPE_CHECKING:
    from lvlmsal.detection.result import Detection


class _DetectCommands(Commands):
    """``lvlmsal detect IMAGE PROMPT``, and what else there is to do with detectors."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take a first word that is not a command, nor a misspelled one, as an image."""
        known = self.list_commands(ctx)
        if args and args[0] not in known:
            if close_matches(args[0], known) and not Path(args[0]).exists():
                raise UnknownName("command or image", args[0], known)
            args = ["image", *args]
        return super().resolve_command(ctx, args)


detect_app = typer.Typer(cls=_DetectCommands, no_args_is_help=True, pretty_exceptions_enable=False)


detect_app.command(
    "log",
    epilog="lvlmsal detect log samples.jsonl --benchmark pope --root data/pope -o risks.jsonl",
)(detect_log)


@detect_app.command("image", epilog="lvlmsal detect photo.jpg 'Describe this image.' --share 0.05")
def detect_image(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file, or a video.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The question.")],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Catalog name (lvlmsal list checkpoints), hub id or folder."
        ),
    ] = "pocket-llava",
    answer: Annotated[
        str | None, typer.Option(help="Answer to judge; by default the model's own.")
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Detector (lvlmsal list detectors), or a file of lvlmsal fit."
        ),
    ] = "default",
    words: Annotated[
        str | None,
        typer.Option(help="Judged words: coco, or a vocabulary file; by default the model's."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Flag words of this risk and above it.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(help="Flag what is among this share of the model's own mentions."),
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option(help="Flag this share of right words (detectors fitted on labels)."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(help="Flag so that this share of flagged words is wrong (likewise)."),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(parser=whole_number(1), metavar="N", help="Length limit of the answer.")
    ] = MAX_NEW_TOKENS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the answer as an HTML page.")] = None,
) -> None:
    """Color the words of an answer by the risk that they are wrong; flagged ones are underlined."""
    asked = {
        "threshold": threshold,
        "share": share,
        "false_positive_rate": fpr,
        "precision": precision,
    }
    flags = {name: value for name, value in asked.items() if value is not None}
    problems = [
        f"{value}: expected a number from 0 to 1 to flag by"
        for value in flags.values()
        if not 0 <= value <= 1
    ]
    if len(flags) > 1:
        problems.append(
            "--threshold, --share, --fpr and --precision are ways to choose: give one of them"
        )
    if html is not None and not html.parent.is_dir():
        problems.append(f"--html {html}: there is no folder {html.parent}")
    if not detector.endswith(".json") and detector not in ("default", *DETECTORS):
        problems.append(f"--detector: {UnknownName('detector', detector, list(DETECTORS))}")
    if problems:
        raise ConfigError(problems)
    from lvlmsal.model.loading import load

    shown = shown_file(image)
    found = load(model).detect(
        shown,
        prompt,
        answer,
        detector=detector,
        words=words,
        max_new_tokens=max_new_tokens,
    )
    if flags:
        found = found.flag(**flags)
    if html is not None:
        try:
            html.write_text(found.html(), encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot be written: {error.strerror}", path=html) from error
    if as_json:
        print_json(found.to_dict())
        return
    console = new_console()
    seen = console.color_system is not None and not console.no_color
    console.print(colored(found, colors=seen))
    if html is not None:
        say(f"written: {html}")


def colored(found: Detection, *, colors: bool = True) -> Text:
    """The answer with its judged words on a background that is the darker the higher their risk.

    Args:
        found: What was detected.
        colors: Whether colors will be seen; where not, the risk stands behind each word.
    """
    from lvlmsal.cli.ask import color_style
    from lvlmsal.detection.html import meaning

    text, at = Text(), 0
    for word in found.words:
        text.append(visible(found.text[at : word.start], keep="\n\t"))
        style = "" if word.risk is None else color_style(1 - word.risk)
        text.append(
            visible(word.text, keep="\n\t"), style=f"{style} underline" if word.flagged else style
        )
        if word.risk is not None and not colors:
            text.append(f" ({word.risk:.2f}{', flagged' if word.flagged else ''})")
        at = word.end
    text.append(visible(found.text[at:], keep="\n\t"))
    text.append(f"\n\nrisk by {found.detector}, {meaning(found)}: ")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0) if colors else ():
        text.append(f" {share:.2f} ", style=color_style(1 - share))
    flagged = sum(word.flagged for word in found.words)
    text.append(
        f"\n{'underlined' if colors else 'flagged'}: {flagged} of {len(found.words)} judged words, "
        f"from {found.threshold:.3g} on"
    )
    return text
