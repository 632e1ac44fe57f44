"""The texts that a judge model is asked with: this library's own by name, or a file.

The judge prompts of published benchmarks are part of those projects and are not shipped here. A
file with the official text can be named instead, in the form that `read_messages` reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.errors import ConfigError
from lvlmsal.readers.rows import read_text

OWN = "lvlmsal-1"
"""Name of this library's own prompts; a change of their words gets another name."""


def prompt_in(root: Path | str, prompt: str) -> str:
    """The path of a judge's prompt file or folder that is named below `root`; the own name stays.

    Example:
        >>> prompt_in("data", "judge.txt"), prompt_in("data", OWN)
        ('data/judge.txt', 'lvlmsal-1')
    """
    return OWN if prompt == OWN else str(Path(root) / prompt)


_ROLE = re.compile(r"\[(system|user|assistant)\]")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class JudgePrompt:
    """Chat messages with places for question and answers.

    Attributes:
        name: ``lvlmsal-1``, or the name of a file with a digest of its text.
        messages: (role, text); ``{question}`` and the like are places.
    """

    name: str
    messages: tuple[tuple[str, str], ...]

    def fill(self, **texts: str) -> tuple[tuple[str, str], ...]:
        """The messages with every place filled; braces around other words stay as they are.

        Example:
            >>> JudgePrompt("x", (("user", "{a}? Say {'pred': 'yes'}."),)).fill(a="{b}", b="no")
            (('user', "{b}? Say {'pred': 'yes'}."),)
        """

        # one pass, so that an answer that holds "{reference}" is not filled in turn
        def filled(found: re.Match[str]) -> str:
            return texts.get(found[1], found[0])

        return tuple((role, _PLACE.sub(filled, text)) for role, text in self.messages)


def read_messages(text: str) -> tuple[tuple[str, str], ...]:
    r"""Cut a prompt file into messages.

    A line that is ``[system]``, ``[user]`` or ``[assistant]`` opens a message; a text without any
    is one message of the user. The line break before such a line belongs to the mark.

    Example:
        >>> read_messages("[system]\nBe fair.\n[user]\nQ: {question}")
        (('system', 'Be fair.'), ('user', 'Q: {question}'))
        >>> read_messages("Q: {question}\n")
        (('user', 'Q: {question}'),)
    """
    found: list[tuple[str, list[str]]] = []
    for line in text.rstrip("\n").split("\n"):
        if mark := _ROLE.fullmatch(line.strip()):
            found.append((mark[1], []))
        else:
            if not found:
                found.append(("user", []))
            found[-1][1].append(line)
    return tuple((role, "\n".join(lines)) for role, lines in found)


def load_prompt(given: str, own: str, places: Collection[str]) -> JudgePrompt:
    """The prompt of a name or a file.

    Args:
        given: ``lvlmsal-1`` or the path of a text file.
        own: Text of this library's own prompt.
        places: The places that the prompt must have.

    Raises:
        ConfigError: There is no such file, or it lacks a place.
        DataError: The file cannot be read.
    """
    if given == OWN:
        return JudgePrompt(OWN, read_messages(own))
    name, text = prompt_file(given)
    missing = [f"{{{place}}}" for place in places if f"{{{place}}}" not in text]
    if missing:
        raise ConfigError(
            [f"judge prompt {given!r}: the text has no place for {', '.join(missing)}"]
        )
    return JudgePrompt(name, read_messages(text))


def prompt_file(given: str) -> tuple[str, str]:
    """The name of a prompt that a file holds, with its digest, and its text.

    Args:
        given: The path, as an option gives it.

    Raises:
        ConfigError: There is no such file.
        DataError: The file cannot be read.
    """
    path = Path(given)
    if not path.is_file():
        raise ConfigError(
            [
                f"judge prompt {given!r}: there is no such file, and the only prompt with a name "
                f"is {OWN!r}"
            ]
        )
    text = read_text(path)
    return f"{path.name} ({hashlib.sha256(text.encode()).hexdigest()[:8]})", text
