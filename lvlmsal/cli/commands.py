"""How commands read what is typed, and what their help calls it: no types of Python."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from lvlmsal.errors import ConfigError

_WORDS = {Path: "PATH", int: "N", float: "NUMBER"}


class Commands(TyperGroup):
    """A group of commands whose help says what to type: ``PATH`` in place of ``<list[Path]>``."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command of the group."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            in_words(command.get_params(ctx))
            # typer breaks lines where a docstring does, but for the first paragraph
            command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help or ""))
        return command

    def get_params(self, ctx: Any) -> list[Any]:
        """What the group itself takes."""
        params: list[Any] = super().get_params(ctx)
        in_words(params)
        return params


class WithSettings(TyperCommand):
    """A command whose settings are words KEY=VALUE; people who write --key VALUE are told so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an option that is a key of the config."""
        from lvlmsal.evaluation.config.schema import RunConfig

        known = {name for parameter in self.params for name in parameter.opts}
        keys = {field.name for field in dataclasses.fields(RunConfig)}
        for arg, after in itertools.zip_longest(args, args[1:], fillvalue=""):
            flag, is_joined, value = arg.partition("=")
            value = value if is_joined else after
            key = flag.removeprefix("--").replace("-", "_")
            if flag.startswith("--") and flag not in known and key.partition(".")[0] in keys:
                written = f"{key}={value or '...'}"
                raise ConfigError([f"{flag}: settings are written without dashes: {written}"])
        return super().parse_args(ctx, args)


def in_words(params: Iterable[Any]) -> None:
    """Let the help of options and arguments say what to type.

    Args:
        params: Of a command.
    """
    for param in params:
        word = _word(param)
        # typer has no setting for it: types are shown even of arguments that have a name
        param.display_type_rich = lambda ctx, word=word: word


def _word(param: Any) -> str:
    """What stands next to an option. A switch takes no value, and an argument has a name."""
    if isinstance(param, TyperArgument) or param.is_flag:
        return ""
    return param.metavar or word_for(param.type_descriptor.annotation)


def word_for(hint: Any) -> str:
    """What help calls a value.

    Args:
        hint: Its annotation; of several types the first one counts, and of a list that of its
            entries.

    Example:
        >>> word_for(int), word_for(list[Path]), word_for(str | None)
        ('N', 'PATH', 'TEXT')
    """
    return _WORDS.get(next(iter(get_args(hint)), hint), "TEXT")


def whole_number(least: int) -> Callable[[str | int], int]:
    """What reads a whole number from the command line.

    Args:
        least: The smallest that is taken.
    """

    def read(text: str | int) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise typer.BadParameter(f"expected a whole number of at least {least}, got {text}")
        return number

    return read
