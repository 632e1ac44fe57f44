"""``lvlmsal describe NAME``: all that a registered class says of itself."""

from __future__ import annotations

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
}
"""How a terminal calls the traits of a class."""

ANSWERS = {True: "yes", False: "no", None: "its options decide"}

WIDEST = 100


def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Any name that lvlmsal list shows.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a method, metric or other thing is, and what each of its options means."""
    found = described(name)
    if as_json:
        print_json(found)
        return
    width = min(new_console().width, WIDEST)
    say("\n\n".join(_page(entry, width) for entry in found))


def described(name: str) -> list[Described]:
    """What is known of a name: an entry for each kind of thing that has it.

    Args:
        name: A registered name.

    Returns:
        ``kind``, ``name``, ``summary``, ``paper``, ``url``, ``origin``, ``description``; for
        interventions and decoders what they go together with; ``options`` (name -> its help and,
        unless it is required, its default) and ``checkpoints`` (name -> options that it sets).

    Raises:
        UnknownName: Nothing has it.

    Example:
        >>> [entry["kind"] for entry in described("locore")]
        ['interventions']
    """
    from lvlmsal.cli.describing import description
    from lvlmsal.cli.listing import REGISTRIES, traits
    from lvlmsal.errors import UnknownName
    from lvlmsal.registry import CATALOGUE

    found: list[Described] = []
    for kind, registry in REGISTRIES.items():
        if name not in registry:
            continue
        cls = registry.get(name)
        defaults = {card: registry.defaults(name, CATALOGUE.get(card)) for card in CATALOGUE}
        found.append(
            {
                "kind": kind,
                "name": name,
                **{key: getattr(cls, key) for key in ("summary", "paper", "url")},
                "origin": registry.origin(name),
                **traits(kind, cls),
                "description": _plain_text(description(cls)),
                "options": {} if kind == "adapters" else _options(registry, name, cls),
                "checkpoints": {card: options for card, options in defaults.items() if options},
            }
        )
    if not found:
        every = {each for registry in REGISTRIES.values() for each in registry}
        raise UnknownName("name", name, sorted(every))
    return found


def _options(registry: Any, name: str, cls: type) -> dict[str, Described]:
    from lvlmsal.cli.score import argument_helps

    helps: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        helps.update(argument_helps(base))
    return {
        option.name: {
            "help": _plain_text(helps.get(option.name, "")),
            **({} if option.required else {"default": option.default}),
        }
        for option in registry.options(name).values()
    }


def _plain_text(text: str) -> str:
    """A docstring without the marks of its cross-references."""
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text).replace("``", "")


def _page(entry: Described, width: int) -> str:
    from lvlmsal.cli.listing import TRAITS, typed

    lines = [f"{entry['name']} ({entry['kind']}): {entry['summary']}", ""]
    lines += [f"{key}: {entry[key]}" for key in ("paper", "url", "origin") if entry[key]]
    if acts := entry.get("acts_on"):
        lines.append(f"acts on: {', '.join(acts)}")
    for trait in TRAITS.get(entry["kind"], ()):
        lines.append(f"{WORDS[trait]}: {ANSWERS[entry[trait]]}")
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
