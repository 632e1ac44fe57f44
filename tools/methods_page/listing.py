"""What the registries say of each method against hallucinations, and what it was found to cost."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvlmsal.errors import ConfigError, DataError
from lvlmsal.escaping import Markdown, markdown_text
from lvlmsal.registry import CATALOG, DECODERS, INTERVENTIONS, Registry
from lvlmsal.tables.table import Head, Row, Table


@dataclass(frozen=True)
class Known:
    """A registered method that does something against hallucinations.

    Attributes:
        name: As registered.
        kind: ``intervention`` or ``decoder``.
        cls: Its class.
    """

    name: str
    kind: str
    cls: Any  # of one kind or the other; what is read off it is what both have

    @property
    def registry(self) -> Registry[Any]:
        """Where it is registered."""
        return DECODERS if self.kind == "decoder" else INTERVENTIONS

    def supports(self) -> tuple[str, ...]:
        """Where it acts, and what it goes together with; a dash where that makes no sense."""
        if self.kind == "decoder":
            shared = _yes(self.cls.shares_prefix)
            return ("search", "is one" if self.cls.is_beam else "-", "-", shared, "-")
        flags = ("supports_beam", "supports_sgrs", "shares_prefix", "has_second_stream")
        return (", ".join(self.cls.hooks()), *(_yes(getattr(self.cls, flag)) for flag in flags))

    def options(self) -> str:
        """Options with their defaults."""
        return ", ".join(str(option) for option in self.registry.options(self.name).values())

    def by_checkpoint(self) -> dict[str, list[str]]:
        """What the class or a card sets for checkpoints -> the checkpoints."""
        found: dict[str, list[str]] = {}
        for checkpoint in CATALOG:
            options = self.registry.defaults(self.name, CATALOG.get(checkpoint))
            if options:
                text = ", ".join(f"{key}={value!r}" for key, value in options.items())
                found.setdefault(text, []).append(checkpoint)
        return found

    def description(self) -> str:
        """The docstring of the class up to its example."""
        lines = inspect.cleandoc(self.cls.__doc__ or "").split("\n")
        marks = (">>>", "Example:")
        ends = [index for index, line in enumerate(lines) if line.lstrip().startswith(marks)]
        return "\n".join(lines[: ends[0] if ends else None]).strip()


def known_methods() -> list[Known]:
    """Interventions that override a hook, and decoders that mitigate; plugins among them."""
    found = [
        Known(name, "intervention", cls)
        for name in INTERVENTIONS
        if (cls := INTERVENTIONS.get(name)).hooks() and cls.name == name
    ]
    for name in DECODERS:
        if DECODERS.get(name).name != name:
            continue
        try:
            plain = not DECODERS.build(name).mitigates
        except ConfigError:  # it has no defaults, so that nothing says that it is a plain one
            plain = False
        if not plain:
            found.append(Known(name, "decoder", DECODERS.get(name)))
    return found


@dataclass(frozen=True)
class Costs:
    """What ``benchmarks/methods.py`` has measured.

    Attributes:
        text: How it was measured.
        command: Of the measurement.
        machine: What it was run on.
        small: Whether the numbers are those of a tiny model and say nothing.
        cells: By kind and name: passes and milliseconds of a token, its ratio to ``generate``,
            passes of the prompt and the ratio of the time to the first token.
    """

    text: str
    command: str
    machine: str
    small: bool
    cells: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def of(self, method: Known) -> tuple[str, str, str]:
        """The last three columns of the table."""
        cells = self.cells.get((method.kind, method.name))
        return (cells[0], cells[2], cells[4]) if cells else ("not measured", "-", "-")


def read_costs(path: Path) -> Costs:
    """Read what ``benchmarks/methods.py`` left.

    Args:
        path: Its JSON file.

    Raises:
        DataError: It is not there, or no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = {
            (sheet["title"].partition(" ")[0].removesuffix("s"), row[0]): tuple(row[1:])
            for sheet in content["sheets"]
            for row in sheet["rows"]
        }
        machine = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
        return Costs(content["text"], content["command"], machine, content["small"], cells)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    except (RecursionError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(
            "holds no costs of methods: give the file that benchmarks/methods.py writes", path=path
        ) from error


def link(method: Known, folder: str = "") -> str:
    """A link to the page of a method, in Markdown.

    Args:
        method: The method.
        folder: Of the pages, from where the link stands.
    """
    return Markdown(f"[`{method.name}`]({folder}{method.name}.md)")


def traits_table(method: Known) -> Table:
    """Where a method acts, and with what it goes together."""
    paper = method.cls.paper or "-"
    if method.cls.url:
        paper = Markdown(f"[{markdown_text(paper)}]({method.cls.url})")
    titles = ("kind", "paper", "acts on", "beams", "SGRS", "shared prefix", "second stream")
    heads = [Head(title, words=True) for title in titles]
    return Table("", heads, [Row.of([method.kind, paper, *method.supports()])])


def options_text(method: Known) -> str:
    """The options of a method, and what is set for checkpoints."""
    lines = [f"Options: `{method.options()}`" if method.options() else "No options."]
    lines += [
        f"- {', '.join(f'`{name}`' for name in checkpoints)}: `{options}`"
        for options, checkpoints in method.by_checkpoint().items()
    ]
    return "\n".join([lines[0], "", *lines[1:]]).rstrip()


def _yes(flag: object) -> str:
    """A trait of a class; a property depends on the options of an object."""
    if isinstance(flag, property):
        return "by option"
    return "yes" if flag else "no"
