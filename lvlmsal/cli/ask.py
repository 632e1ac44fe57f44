"""One question to one model: the colored answer and the saliency figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lvlmsal.cli.listing import parse_settings
from lvlmsal.cli.shown import shown_file
from lvlmsal.colors import color, ink_on, scale_top
from lvlmsal.errors import ConfigError, DataError, close_matches
from lvlmsal.escaping import visible
from lvlmsal.evaluation.config.check import component_problems
from lvlmsal.evaluation.config.checkpoints import model_problems
from lvlmsal.evaluation.config.schema import MethodConfig, ModelConfig
from lvlmsal.model import MAX_NEW_TOKENS
from lvlmsal.registry.methods import IN_SHELL
from lvlmsal.registry.options import bind
from lvlmsal.registry.outline import import_outline

# What is asked is checked before torch is imported.
if TYPE_CHECKING:
    from lvlmsal.decoders.records import TokenRecord
    from lvlmsal.saliency.options import RowName, SaliencyOptions

Spec = dict[str, Any]
"""``name`` and options."""

REPORT_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Reply:
    """An answer with the saliency of its tokens.

    Attributes:
        text: The answer.
        tokens: Its tokens; saliency is filled in whatever the decoder.
        seconds: How long the decoding took.
        row: Which row the saliency was read from: by the decoder, or by the diagnosis.
    """

    text: str
    tokens: list[TokenRecord]
    seconds: float
    row: RowName

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        tokens = [token.to_dict() for token in self.tokens]
        return {"text": self.text, "tokens": tokens, "seconds": self.seconds, "row": self.row}


def components(
    model: str, decoder: str, interventions: Sequence[str], settings: Sequence[str]
) -> tuple[Spec, list[Spec]]:
    """The decoder and the interventions that options of the command line describe.

    Args:
        model: Name of the checkpoint, which is checked as well.
        decoder: Name of the decoder.
        interventions: Names of the interventions.
        settings: Texts ``option=value`` for the decoder, ``name.option=value`` for an intervention.

    Raises:
        ConfigError: A name or an option is wrong; all problems together.
    """
    chosen: Spec = {"name": decoder}
    edits: list[Spec] = [{"name": name} for name in interventions]
    by_name = {spec["name"]: spec for spec in (chosen, *edits)}
    problems = _model_problems(model)
    for key, value in parse_settings(list(settings)).items():
        owner, dot, option = key.rpartition(".")
        if not dot:
            chosen[option] = value
        elif owner in by_name:
            by_name[owner][option] = value
        else:
            problems.append(
                f"--set {key}: {owner!r} is not in use.{close_matches(owner, by_name)} "
                f"In use: {', '.join(by_name)}"
            )
    _refuse(problems, MethodConfig("", chosen, edits))
    return chosen, edits


def ask(
    image: Path,
    prompt: str,
    model: str,
    decoder: Spec,
    interventions: Sequence[Spec],
    *,
    seed: int = 0,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> Reply:
    """Ask one question. A decoder that computes no saliency gets its answer diagnosed afterwards.

    Raises:
        LvlmsalError: The image or video, or the checkpoint, cannot be read.
    """
    from lvlmsal.model.loading import load
    from lvlmsal.saliency.options import SaliencyOptions

    shown = shown_file(image)
    lvlm = load(model)
    edits = [lvlm.build_intervention(spec) for spec in interventions]
    search = lvlm.build_decoder(decoder)
    answer = lvlm.generate(
        shown,
        prompt,
        decoder=search,
        interventions=edits,
        seed=seed,
        max_new_tokens=max_new_tokens,
    )
    options = search.saliency_options() or SaliencyOptions()
    if answer.token_ids and all(token.saliency is None for token in answer.tokens):
        options = SaliencyOptions()
        report = lvlm.diagnose(shown, prompt, answer.token_ids, interventions=edits)
        for token, value in zip(answer.tokens, report.saliency, strict=True):
            token.saliency = value
    return Reply(answer.text, answer.tokens, answer.seconds, options.row)


def saliency_options(values: Mapping[str, Any]) -> SaliencyOptions:
    """Which saliency options of the command line describe.

    Args:
        values: Options by name; those that are missing have their defaults.

    Raises:
        ConfigError: Anything is wrong; it lists every problem.
    """
    if problems := _saliency_problems(values):
        raise ConfigError(problems)
    from lvlmsal.saliency.options import SaliencyOptions

    return SaliencyOptions(**bind(SaliencyOptions, values)[0])


def _saliency_problems(values: Mapping[str, Any]) -> list[str]:
    outline = import_outline("lvlmsal.saliency.options").SaliencyOptions
    known, wrong = bind(outline, values)
    try:
        outline(**known)
    except ValueError as error:
        wrong.append(str(error))
    return [f"--set: {problem}" for problem in wrong]


def draw(
    image: Path,
    prompt: str,
    model: str,
    output: Path,
    *,
    response: str | None,
    interventions: Sequence[str],
    settings: Sequence[str],
    max_new_tokens: int,
) -> str:
    """Draw the saliency of an answer into a file, or write the report itself.

    Returns:
        The answer.

    Raises:
        LvlmsalError: The image or the checkpoint cannot be read, an option is wrong, or the
            picture cannot be written.
    """
    edits: list[Spec] = [{"name": name} for name in interventions]
    values: Spec = {}
    problems = _model_problems(model)
    for key, value in parse_settings(list(settings)).items():
        owner, dot, option = key.rpartition(".")
        targets = [edit for edit in edits if edit["name"] == owner] if dot else [values]
        for target in targets:
            target[option] = value
        if not targets:
            problems.append(f"--set {key}: the intervention {owner!r} is not in use")
    problems += _saliency_problems(values)
    if not output.parent.is_dir():
        problems.append(f"-o {output}: there is no folder {output.parent}")
    if output.suffix.lower() not in (".png", ".pdf", ".svg", REPORT_SUFFIX):
        problems.append(
            f"-o {output}: expected a name that ends in .png, .pdf, .svg or {REPORT_SUFFIX}"
        )
    _refuse(problems, MethodConfig("", interventions=edits))
    from lvlmsal.model.loading import load

    options = saliency_options(values)
    shown = shown_file(image)
    report = load(model).diagnose(
        shown,
        prompt,
        response,
        options=options,
        interventions=edits,
        max_new_tokens=max_new_tokens,
    )
    try:
        if output.suffix.lower() == REPORT_SUFFIX:
            report.save(output)
        else:
            report.plot(output)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", path=output) from error
    return report.text


def colored(reply: Reply, *, colors: bool = True) -> Text:
    """The answer with a background per token on the explorer's scale: dark is weakly grounded.

    A line below says which saliency the colors stand for, from which row it was read, and which
    tokens were taken after a rejection.

    Args:
        reply: What to show.
        colors: Whether colors will be seen, and so what they stand for has to be said.
    """
    tokens = reply.tokens
    if tokens and not reply.text.endswith(tokens[-1].text.rstrip()):
        tokens = tokens[:-1]  # the control token that ended the answer
    top = scale_top([token.saliency for token in tokens])
    text = Text()
    for token in tokens:
        style = "" if token.saliency is None else color_style(token.saliency / top)
        if token.rejected:
            style += " underline"
        text.append(visible(token.text, keep="\n\t"), style=style.strip())
    if any(token.saliency is not None for token in tokens):
        text.append(f"\n\nsaliency, {reply.row} row: ")
        if not colors:
            text.append("its colors are off here; --json has the numbers")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0) if colors else ():
            text.append(f" {share * top:.3f} ", style=color_style(share))
    rejections = sum(len(token.rejected) for token in reply.tokens)
    if rejections:
        text.append(f"\nunderlined: chosen after a rejection ({rejections} in all)")
    return text


def color_style(share: float) -> str:
    """The color of a share of the scale, with an ink that stands out on it."""
    paper = color(share)
    ink = "white" if ink_on(paper) == "#fff" else "black"
    return "{} on #{:02x}{:02x}{:02x}".format(ink, *paper)


def _refuse(problems: list[str], method: MethodConfig) -> None:
    """Refuse what is wrong; components are imported only where nothing is that shows without."""
    problems = [*problems, *component_problems(method, None, ways=IN_SHELL)]
    if problems := problems or component_problems(method, None, imports=True):
        raise ConfigError(problems)


def _model_problems(model: str) -> list[str]:
    return [f"--model: {problem}" for problem in model_problems(ModelConfig(source=model))]
