"""The errors that lvlmsal raises on purpose.

Each says what was given, what was expected and what to type instead. The command line prints such
an error without a traceback and leaves with exit code 2; anything else that reaches the user is a
defect of this library. The module imports neither torch nor transformers, so that an error can be
raised before anything heavy is loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from lvlmsal.secrets import hide

__all__ = [
    "ConfigError",
    "DataError",
    "LvlmsalError",
    "ProcessLost",
    "UnknownName",
    "UnsupportedError",
    "close_matches",
    "closest",
    "is_out_of_memory",
]

_LISTED_NAMES = 30


class LvlmsalError(Exception):
    """Base of every error that lvlmsal raises on purpose; ``str(error)`` is meant for the user.

    What a config takes from the environment is not shown: a message may end in a file.
    """

    def __str__(self) -> str:
        return hide(super().__str__())


class ProcessLost(LvlmsalError):
    """Another process of a run is gone, so that this one cannot go on.

    Args:
        text: Which one, and what becomes of the run.
        told: Whether another process tells the user the same.
    """

    def __init__(self, text: str, *, told: bool = False) -> None:
        self.told = told
        super().__init__(text)


class ConfigError(LvlmsalError):
    """A configuration, or the options of a component, cannot be used.

    Everything that is wrong is reported at once, so that nobody has to start a run again and again
    to find the next mistake.

    Args:
        problems: One complete sentence for each mistake; at least one.
        source: What was read (a file name, "command line"), or empty.

    Raises:
        ValueError: If `problems` is empty: an error without a problem would print nothing.

    Example:
        >>> str(ConfigError(["method 'sgsr' is unknown. Did you mean 'sgrs'?"], source="demo.yaml"))
        "demo.yaml: method 'sgsr' is unknown. Did you mean 'sgrs'?"
        >>> print(ConfigError(["alpha must be a number.", "beta must be a number."]))
        2 problems:
          - alpha must be a number.
          - beta must be a number.
    """

    def __init__(self, problems: Sequence[str], *, source: str = "") -> None:
        if isinstance(problems, str):
            problems = [problems]
        if not problems:
            raise ValueError("a ConfigError needs at least one problem")
        self.problems: list[str] = list(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        prefix = f"{self.source}: " if self.source else ""
        if len(self.problems) == 1:
            return hide(f"{prefix}{self.problems[0]}")
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        return hide(f"{prefix}{len(self.problems)} problems:{lines}")

    def __reduce__(self) -> tuple[object, ...]:
        return _config_error, (self.problems, self.source)


def _config_error(problems: list[str], source: str) -> ConfigError:
    """Rebuild a `ConfigError` on unpickling: worker processes send their errors to the parent."""
    return ConfigError(problems, source=source)


class UnknownName(LvlmsalError, KeyError):
    """A name is not registered.

    Args:
        kind: What was looked for ("decoder", "checkpoint", ...).
        name: The name that was given.
        known: Every name that would have been accepted.

    Example:
        >>> print(UnknownName("decoder", "sgsr", ["beam", "greedy", "sgrs"]))
        unknown decoder 'sgsr'. Did you mean 'sgrs'? Known: beam, greedy, sgrs
    """

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        self.kind = kind
        self.name = name
        self.known: list[str] = sorted(known)
        super().__init__(kind, name, self.known)

    # KeyError.__str__ shows the repr of its argument: the whole message quoted and escaped.
    def __str__(self) -> str:
        listed = ", ".join(self.known[:_LISTED_NAMES]) or "none"
        more = len(self.known) - _LISTED_NAMES
        tail = f", and {more} more" if more > 0 else ""
        hint = close_matches(self.name, self.known)
        return hide(f"unknown {self.kind} {self.name!r}.{hint} Known: {listed}{tail}")


class DataError(LvlmsalError):
    """A data file does not hold what its format promises.

    Args:
        message: What is wrong and what was expected.
        path: The file, or None when the data did not come from one.
        line: 1-based line in that file, or None when the format has no lines.

    Example:
        >>> print(DataError("the question has no label", path="pope.json", line=3))
        pope.json:3: the question has no label
    """

    def __init__(
        self, message: str, *, path: Path | str | None = None, line: int | None = None
    ) -> None:
        self.message = message
        self.path = None if path is None else Path(path)
        self.line = line
        super().__init__(message, path, line)

    def __str__(self) -> str:
        if self.path is None:
            return hide(self.message if self.line is None else f"line {self.line}: {self.message}")
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return hide(f"{place}: {self.message}")

    def __reduce__(self) -> tuple[object, ...]:
        return _data_error, (self.message, self.path, self.line)


def _data_error(message: str, path: Path | None, line: int | None) -> DataError:
    """Rebuild a `DataError` on unpickling: data-loading workers send their errors to the parent."""
    return DataError(message, path=path, line=line)


class UnsupportedError(LvlmsalError):
    """What was asked for cannot be done here.

    An impossible combination of options, an optional package that is not installed, or a model
    whose architecture no adapter knows.
    """


def close_matches(name: str, known: Iterable[str]) -> str:
    """Return a hint with the known name that is most like `name`, to be appended to a sentence.

    Args:
        name: What the user typed.
        known: The names that would have been accepted.

    Returns:
        ``" Did you mean 'x'?"``, or an empty string where nothing is similar.

    Example:
        >>> close_matches("Locore", ["locore", "none"])
        " Did you mean 'locore'?"
        >>> close_matches("zzz", ["locore", "none"])
        ''
    """
    found = closest(name, known)
    return "" if found is None else f" Did you mean {found!r}?"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`; None where nothing is similar."""
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[found[0]] if found else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU.

    Args:
        error: Whatever was raised; torch raises a RuntimeError for both kinds of memory.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    return "out of memory" in text or "can't allocate memory" in text
