"""Grids over options: the axes of a sweep, and the methods that their points become."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lvlmsal.errors import ConfigError, close_matches
from lvlmsal.evaluation.config.check import build_component, with_defaults
from lvlmsal.evaluation.config.schema import MethodConfig
from lvlmsal.registry import DECODERS, INTERVENTIONS, CheckpointCard, Registry, options_of

Method = dict[str, Any]
"""A method as a config holds it: ``name``, ``decoder`` and ``interventions``."""


@dataclass(frozen=True)
class Point:
    """One point of a grid.

    Attributes:
        values: A value for each axis.
        method: Name of the method of the run that answers for it.
    """

    values: tuple[Any, ...]
    method: str


@dataclass(frozen=True)
class Grid:
    """Every combination of the values of some options.

    Attributes:
        axes: The options, each written ``component.option``.
        points: The combinations; the last axis changes fastest.
    """

    axes: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        """The axes in words.

        >>> Grid(("sgrs.alpha", "locore.beta"), ()).title
        'sgrs.alpha by locore.beta'
        """
        return " by ".join(self.axes)

    @property
    def slug(self) -> str:
        """The axes as part of a file name.

        >>> Grid(("sgrs.alpha", "locore.beta"), ()).slug
        'sgrs-alpha-locore-beta'
        """
        return "-".join(self.axes).replace(".", "-")


@dataclass
class Expansion:
    """What the grids of a config come to.

    Attributes:
        grids: The grids.
        methods: One method for each point that differs from all others, by name.
        problems: What is wrong, one sentence each.
    """

    grids: list[Grid] = field(default_factory=list)
    methods: dict[str, Method] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def shown(value: object) -> str:
    """A value of an option as one would type it.

    >>> shown(1.0), shown(0.15), shown(None), shown([6, 7]), shown("0.5:1.0"), shown(True)
    ('1', '0.15', 'null', '[6, 7]', '0.5:1.0', 'true')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def expand(
    start: MethodConfig,
    specs: Sequence[Mapping[str, Any]],
    cards: Iterable[CheckpointCard | None],
) -> Expansion:
    """Turn grids into methods.

    A point is named after the options in which it differs from the start, whatever grid it comes
    from: the same point of two grids is one method and is answered once, and a point keeps its
    records when grids are added or put in another order.

    Args:
        start: The method that every point changes; its own options are right.
        specs: For each grid, the values of each axis.
        cards: Of the checkpoints, whose defaults stand under the method's options.

    Example:
        >>> start = MethodConfig("SGRS", {"name": "sgrs"}, [{"name": "locore"}])
        >>> grid = {"sgrs.alpha": [0.6, 0.9], "locore.beta": [0.15]}
        >>> found = expand(start, [grid, {"sgrs.alpha": [0.9]}, {"sgrs.alfa": [1]}], [None])
        >>> found.methods["sgrs.alpha=0.9"]["decoder"]
        {'name': 'sgrs', 'alpha': 0.9}
        >>> [[point.method for point in grid.points] for grid in found.grids]
        [['SGRS', 'sgrs.alpha=0.9'], ['sgrs.alpha=0.9']]
        >>> print(found.problems[0][:72])
        sweep.grids[2].sgrs.alfa: 'sgrs' has no option 'alfa'. Did you mean 'alp
    """
    found = Expansion()
    parts = _parts(start)
    cards = list(cards) or [None]
    for index, spec in enumerate(specs):
        changes: dict[str, list[tuple[Any, bool]]] = {}
        for axis, values in spec.items():
            problems, changes[axis] = _axis(str(axis), values, parts, cards)
            found.problems += [f"sweep.grids[{index}].{axis}: {text}" for text in problems]
        if not found.problems:
            found.grids.append(_grid(start, changes, found.methods))
    return found


def axis_problems(
    start: MethodConfig, specs: Sequence[Mapping[str, Any]], cards: Sequence[CheckpointCard | None]
) -> list[str]:
    """What is wrong with the axes of grids in itself; takes what `expand` does, imports nothing."""
    parts = _parts(start)
    return [
        f"sweep.grids[{index}].{axis}: {text}"
        for index, spec in enumerate(specs)
        for axis, values in spec.items()
        for text in _axis_problems(str(axis), values, parts, cards)
    ]


def _axis_problems(
    axis: str,
    values: object,
    parts: Mapping[str, list[tuple[Registry[Any], Mapping[str, Any]]]],
    cards: Sequence[CheckpointCard | None],
) -> list[str]:
    """What is wrong with an axis, as far as it is known without importing its component."""
    owner, _, option = axis.rpartition(".")
    if owner not in parts:
        known = ", ".join(parts)
        hint = close_matches(owner, parts)
        return [f"sweep.method has no component {owner!r}.{hint} It has: {known}"]
    if len(parts[owner]) > 1:
        return [f"sweep.method has {len(parts[owner])} components {owner!r}: leave one"]
    registry, entry = parts[owner][0]
    options = registry.options(str(entry["name"]))
    if option not in options:
        hint = close_matches(option, options)
        return [f"{owner!r} has no option {option!r}.{hint} Options: {', '.join(options)}"]
    if not isinstance(values, list) or not values:
        return [f"expected a list of values, got {values!r}"]
    texts = [shown(value) for value in values]
    problems = [f"holds {t} twice" for t in dict.fromkeys(texts) if texts.count(t) > 1]
    for value in values:
        wrong = [
            problem
            for card in cards
            for problem in registry.outline_problems(
                str(entry["name"]), with_defaults(registry, {**entry, option: value}, card)
            )
        ]
        problems += dict.fromkeys(wrong)
    return problems


def _parts(start: MethodConfig) -> dict[str, list[tuple[Registry[Any], Mapping[str, Any]]]]:
    """The decoder and the interventions of a method by name."""
    parts: dict[str, list[tuple[Registry[Any], Mapping[str, Any]]]] = {}
    parts.setdefault(str(start.decoder["name"]), []).append((DECODERS, start.decoder))
    for entry in start.interventions:
        parts.setdefault(str(entry["name"]), []).append((INTERVENTIONS, entry))
    return parts


def _axis(
    axis: str,
    values: object,
    parts: Mapping[str, list[tuple[Registry[Any], Mapping[str, Any]]]],
    cards: Sequence[CheckpointCard | None],
) -> tuple[list[str], list[tuple[Any, bool]]]:
    """What is wrong with an axis, and its values, each with whether it changes the start."""
    problems = _axis_problems(axis, values, parts, cards)
    if problems:
        return problems, []
    assert isinstance(values, list)  # anything else is a problem
    owner, _, option = axis.rpartition(".")
    registry, entry = parts[owner][0]
    changes = []
    for value in values:
        wrong, differs = _tried(registry, entry, option, value, cards)
        problems += wrong
        changes.append((value, differs))
    return problems, changes


def _tried(
    registry: Registry[Any],
    entry: Mapping[str, Any],
    option: str,
    value: object,
    cards: Sequence[CheckpointCard | None],
) -> tuple[list[str], bool]:
    """What is wrong with a value, and whether any checkpoint's component is another with it."""
    problems: list[str] = []
    differs = False
    for card in cards:
        before = options_of(build_component(registry, entry, card))
        try:
            after = options_of(build_component(registry, {**entry, option: value}, card))
        except ConfigError as error:
            problems += error.problems
        else:
            differs |= before != after
    return list(dict.fromkeys(problems)), differs


def _grid(
    start: MethodConfig,
    changes: Mapping[str, Sequence[tuple[Any, bool]]],
    methods: dict[str, Method],
) -> Grid:
    """A grid, whose methods are added to those of other grids."""
    points = []
    for combination in itertools.product(*changes.values()):
        chosen = {
            axis: value
            for axis, (value, differs) in zip(changes, combination, strict=True)
            if differs
        }
        name = ", ".join(f"{axis}={shown(chosen[axis])}" for axis in sorted(chosen)) or start.name
        methods.setdefault(name, _changed(start, name, chosen))
        points.append(Point(tuple(value for value, _ in combination), name))
    return Grid(tuple(changes), tuple(points))


def _changed(start: MethodConfig, name: str, chosen: Mapping[str, Any]) -> Method:
    decoder: dict[str, Any] = copy.deepcopy(start.decoder)
    interventions: list[dict[str, Any]] = copy.deepcopy(start.interventions)
    by_name = {str(part["name"]): part for part in (decoder, *interventions)}
    for axis, value in chosen.items():
        owner, _, option = axis.rpartition(".")
        by_name[owner][option] = value
    return {"name": name, "decoder": decoder, "interventions": interventions}
