"""``lvlmsal score``: a run folder, or the answer files of any tool."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lvlmsal.cli.commands import Commands, in_words, word_for
from lvlmsal.cli.console import UNFINISHED, new_console, print_json, say
from lvlmsal.cli.describe import argument_helps
from lvlmsal.cli.logs import score_log
from lvlmsal.errors import LvlmsalError, UnknownName, close_matches
from lvlmsal.registry import SCORERS, Option
from lvlmsal.tables.table import Head, Row, Table
from lvlmsal.tables.terminal import terminal_table


class _ScoreCommands(Commands):
    """``lvlmsal score RUN``, and a command for each scorer, made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """``run`` and the scorers."""
        return [*super().list_commands(ctx), *SCORERS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """``run``, or the command of a scorer."""
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in SCORERS:
            found = _scorer_command(cmd_name)
            in_words(found.get_params(ctx))
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take a first word that is not a command, nor a misspelled one, as a run folder."""
        known = self.list_commands(ctx)
        if args and args[0] not in known:
            close = close_matches(args[0], known)
            if close and not Path(args[0]).exists():
                raise UnknownName("scorer", args[0], known)
            args = ["run", *args]
        return super().resolve_command(ctx, args)


score_app = typer.Typer(cls=_ScoreCommands, no_args_is_help=True, pretty_exceptions_enable=False)


@score_app.command("run", epilog="lvlmsal score run runs/demo 'benchmarks.*.metrics=[NAME]'")
def score_run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", exists=True)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="What changes no answer, such as benchmarks.*.metrics=[NAME]; the run keeps it.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a run folder again, without a model.

    The exit code is 1 if the run is unfinished, and 2 if the printed values cannot be written into
    the folder.
    """
    from lvlmsal.evaluation.report.run_scoring import score_only

    scored = score_only(folder, overrides or [])
    result = scored.result
    if as_json:
        print_json(result.results)
    else:
        new_console().print(result)
    try:
        scored.write()
    except LvlmsalError as error:
        raise LvlmsalError(
            f"the values above were not saved: {error}\nMake the folder writable, or copy it and "
            "score the copy"
        ) from error
    if result.unfinished:
        raise typer.Exit(UNFINISHED)


score_app.command(
    "log", epilog="lvlmsal score log samples.jsonl --benchmark pope --root data/pope split=random"
)(score_log)


def _scorer_command(name: str) -> Any:
    """Make a command of a scorer: its fields are the options, its docstring is the help."""
    cls = SCORERS.outline(name)
    options = SCORERS.options(name)
    helps = argument_helps(cls)
    parameters = [_parameter(option, helps.get(option.name)) for option in options.values()]
    parameters.append(
        inspect.Parameter(
            "as_json",
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option("--json", help="Print JSON.")],
        )
    )

    def command(*, as_json: bool, **given: Any) -> None:
        chosen = {
            key: value if isinstance(value, bool | Path) else _plain(value, options[key].hint)
            for key, value in given.items()
            if value is not None
        }
        print_scores(SCORERS.build(name, **chosen).score(), as_json)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    made = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    needed = " ".join(
        f"{_flag(option)} {word_for(option.hint)}" for option in options.values() if option.required
    )
    made.command(name, help=cls.summary, epilog=f"lvlmsal score {name} {needed}")(command)
    return typer.main.get_command(made)


def _parameter(option: Option, help_text: str | None) -> inspect.Parameter:
    """An option of the command line: a switch for a bool, otherwise text."""
    is_switch = isinstance(option.default, bool)
    kind: Any = bool if is_switch else str if option.required else str | None
    # what docstrings refer to is of use in Python only
    help_text = re.sub(r", see `[^`]+`", "", help_text or "") or None
    word = None if is_switch else word_for(option.hint)
    shown = typer.Option(_flag(option), help=help_text, metavar=word)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if option.required else _shown(option.default),
        annotation=Annotated[kind, shown],
    )


def _flag(option: Option) -> str:
    return f"--{option.name.replace('_', '-')}"


def _shown(default: object) -> Any:
    """A default as the command line has it: text, or nothing, or a switch."""
    return default if default is None or isinstance(default, bool) else str(default)


def _plain(value: str, hint: Any) -> Any:
    """Whole numbers as such; the registry fits everything else to its annotation."""
    return int(value) if hint is int and re.fullmatch(r"-?\d+", value) else value


def print_scores(scores: dict[str, Any], as_json: bool) -> None:
    """Print values with their intervals, then everything else."""
    if as_json:
        print_json(scores)
        return
    intervals = scores.pop("intervals", {})
    tables = {
        name: scores.pop(name) for name in ("categories", "parsers", "rules") if name in scores
    }
    for name, value in scores.items():
        if isinstance(value, float) and intervals.get(name, {}).get("low") is not None:
            low, high = intervals[name]["low"], intervals[name]["high"]
            say(f"{name}: {value:.4f} [{low:.4f}, {high:.4f}]")
        elif isinstance(value, float):
            say(f"{name}: {value:.4f}")
        elif isinstance(value, list):
            say(f"{name}: {'; '.join(map(str, value)) or 'none'}")
        elif isinstance(value, dict):
            say(f"{name}: {json.dumps(value, ensure_ascii=False)}")
        else:
            say(f"{name}: {'undefined' if value is None else value}")
    for name, entries in tables.items():
        say(f"{name}:")
        console = new_console()
        parts = terminal_table(_table(entries), console.width)
        if len(parts) > 2:
            # names of values are longer than those of rules and categories
            turned: dict[str, dict[str, Any]] = {}
            for row, figures in entries.items():
                for figure, value in figures.items():
                    turned.setdefault(figure, {})[row] = value
            parts = terminal_table(_table(turned), console.width)
        console.print(*parts, sep="\n", end="")


def _table(entries: Mapping[str, Mapping[str, Any]]) -> Table:
    """Values by rule or category, one row each."""
    columns = list(dict.fromkeys(name for figures in entries.values() for name in figures))
    rows = [
        Row.of([name, *(_cell(figures.get(column)) for column in columns)])
        for name, figures in entries.items()
    ]
    return Table("", [Head("", words=True), *map(Head, columns)], rows)


def _cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
