"""``lvlmsal describe NAME`` and ``lvlmsal data show NAME``: what a class says of itself."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Annotated, Any

import typer

from lvlmsal.cli.console import new_console, print_json, say

Described = dict[str, Any]

WORDS = {
    "supports_beam": "beam search",
    "supports_sgrs": "sgrs",
    "shares_prefix": "shared image prefix",
    "has_second_stream": "second stream",
    "is_beam": "several beams",
    "uses_saliency": "saliency of each token",
    "sees_images": "looks at images before they are processed",
    "supervised": "fitted on labels",
    "scaled": "scaled on the model's own answers",
    "streams": "judges candidates before they are chosen",
    "asks_more": "asks the model more",
}
"""How a terminal calls the traits of a class."""

ANSWERS = {True: "yes", False: "no", None: "its options decide"}

WIDEST = 100


def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Any name that lvlmsal list shows.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a component's documentation and options."""
    found = described(name)
    if as_json:
        print_json(found)
    else:
        say("\n\n".join(map(page, found)))


def described(name: str) -> list[Described]:
    """What is known of a name, see `described_as`: an entry for each kind of thing that has it.

    Args:
        name: A registered name.

    Raises:
        UnknownName: Nothing has it.

    Example:
        >>> [entry["kind"] for entry in described("locore")]
        ['interventions']
    """
    from lvlmsal.cli.listing import REGISTRIES
    from lvlmsal.errors import UnknownName

    found = [described_as(kind, name) for kind in REGISTRIES if name in REGISTRIES[kind]]
    if not found:
        every = {each for registry in REGISTRIES.values() for each in registry}
        raise UnknownName("name", name, sorted(every))
    return found


def described_as(kind: str, name: str) -> Described:
    """All that a registered class says of itself; its module is not imported for that.

    Args:
        kind: One of `lvlmsal.cli.listing.REGISTRIES`.
        name: A name in that registry.

    Returns:
        What listings have (`lvlmsal.cli.listing.about`), ``description``, ``options`` (name -> its
        help and, unless it is required, its default), ``checkpoints`` (name -> options that it
        sets) and, for a benchmark, ``expected`` (label -> counts of the official release).

    Raises:
        UnknownName: There is no such name.

    Example:
        >>> "coco_pope_random.json" in described_as("benchmarks", "pope")["description"]
        True
    """
    from lvlmsal.cli.listing import REGISTRIES, about
    from lvlmsal.registry import CATALOG

    registry = REGISTRIES[kind]
    cls: Any = registry.outline(name)
    defaults = {card: registry.defaults(name, CATALOG.get(card)) for card in CATALOG}
    helps = argument_helps(cls)
    options = {} if kind == "adapters" else registry.options(name)
    return {
        "kind": kind,
        **about(kind, name),
        "description": _plain_text(_description(cls)),
        "options": {
            option.name: {
                "help": _plain_text(helps.get(option.name, "")),
                **({} if option.required else {"default": option.default}),
            }
            for option in options.values()
        },
        "checkpoints": {card: options for card, options in defaults.items() if options},
        **({"expected": cls.expected} if kind == "benchmarks" else {}),
    }


def argument_helps(cls: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each argument, under ``Args:``."""
    helps: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        section = (inspect.getdoc(base) or "").partition("\nArgs:\n")[2].split("\n\n")[0]
        name = ""
        for line in section.split("\n"):
            if found := re.match(r" {4}(\w+): (.*)", line):
                name = found[1]
                helps[name] = found[2]
            elif name:
                helps[name] += " " + line.strip()
    return {name: text.replace("``", "") for name, text in helps.items()}


def _description(cls: type) -> str:
    """A docstring without its sections: what the class is, and the expected layout of its files."""
    text = inspect.getdoc(cls) or ""
    return re.split(r"\n(?:Args|Attributes|Example|Raises):\n", text)[0].strip()


def _plain_text(text: str) -> str:
    """A docstring without the markup of its cross-references."""
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text).replace("``", "")


def counted(counts: dict[str, int]) -> str:
    """The counts of an official release."""
    return ", ".join(f"{number} {kind}" for kind, number in counts.items()) or "unknown"


def page(entry: Described) -> str:
    """What `described_as` returns, for a terminal."""
    from lvlmsal.cli.listing import TRAITS, typed

    width = min(new_console().width, WIDEST)
    lines = [f"{entry['name']} ({entry['kind']}): {entry['summary']}", ""]
    lines += [f"{key}: {entry[key]}" for key in ("paper", "url", "origin") if entry[key]]
    if acts := entry.get("acts_on"):
        lines.append(f"acts on: {', '.join(acts)}")
    if tells := entry.get("tells"):
        lines.append(f"tells: {', '.join(tells)}")
    if asks := entry.get("asks_evidence_for"):
        lines.append(f"needs evidence that tells: {asks} (lvlmsal list evidence)")
    for trait in TRAITS.get(entry["kind"], ()):
        lines.append(f"{WORDS[trait]}: {ANSWERS[entry[trait]]}")
    for label, counts in entry.get("expected", {}).items():
        lines.append(f"official release, {label}: {counted(counts)}")
    lines += ["", *_reflowed(entry["description"], width)]
    if entry["options"]:
        lines += ["", "options:"]
    for name, option in entry["options"].items():
        value = f" = {typed(option['default'])}" if "default" in option else " (required)"
        lines.append(f"  {name}{value}")
        indent = " " * 6
        lines += textwrap.wrap(
            option["help"], width, initial_indent=indent, subsequent_indent=indent
        )
    if entry["checkpoints"]:
        lines += ["", "set for checkpoints:"]
    for card, options in entry["checkpoints"].items():
        values = ", ".join(f"{key}={typed(value)}" for key, value in options.items())
        lines.append(f"  {card}: {values}")
    return "\n".join(lines)


def _reflowed(text: str, width: int) -> list[str]:
    """Paragraphs and list items as wide as the terminal; formulas as they are."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        if lines:
            lines.append("")
        if paragraph.startswith(" "):
            lines += paragraph.split("\n")
            continue
        for item in re.split(r"\n(?=- )", paragraph):
            lines += _wrapped(item, width, "", "  " if item.startswith("- ") else "")
    return lines


def _wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
    )
