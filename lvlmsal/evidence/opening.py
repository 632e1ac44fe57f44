"""From what a config says to evidence that answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, cast

from lvlmsal.errors import ConfigError
from lvlmsal.evidence.base import Evidence, Kind
from lvlmsal.registry import EVIDENCE

Spec = str | Mapping[str, Any]
"""A name of ``lvlmsal list evidence``, or ``{"name": "file", "path": ...}`` with options."""

Told = TypeVar("Told", bound=Evidence)


def named(spec: Spec, option: str = "evidence") -> tuple[str, dict[str, Any]]:
    """Name and options of what a config says.

    Args:
        spec: what it says.
        option: under which name, for messages.

    Raises:
        ConfigError: the mapping has no name.
    """
    if isinstance(spec, str):
        return spec, {}
    if not isinstance(spec.get("name"), str):
        raise ConfigError([f"{option} has no name: write  {option}: {{name: file, path: FILE}}"])
    return str(spec["name"]), {key: value for key, value in spec.items() if key != "name"}


def spec_problems(spec: Spec, kind: Kind, option: str = "evidence") -> list[str]:
    """What is wrong with what a config says, as far as it is known without opening anything.

    Args:
        spec: what it says.
        kind: what the evidence must tell.
        option: under which name it stands, for messages.
    """
    try:
        name, options = named(spec, option)
    except ConfigError as error:
        return list(error.problems)
    problems = EVIDENCE.outline_problems(name, options)
    if option != EVIDENCE.kind:  # which its own messages begin with
        problems = [f"{option}: {problem}" for problem in problems]
    if not problems and kind.told not in EVIDENCE.outline(name).tells():
        known = [each for each in EVIDENCE if kind.told in EVIDENCE.outline(each).tells()]
        told = ", ".join(EVIDENCE.outline(name).tells())
        problems = [
            f"{option}: {name!r} tells {told}, and this method asks for {kind.told}: take one of "
            + ", ".join(known)
        ]
    return problems


def asking_problems(option: str, spec: Spec | None, kind: Kind) -> list[str]:
    """What is wrong with an option of a method that must name evidence.

    Args:
        option: its name.
        spec: what was given.
        kind: what the evidence must tell.
    """
    if spec is not None:
        return spec_problems(spec, kind, option)
    return [
        f"{option} is missing, which tells {kind.told}: such as {option}: {{name: file, path: "
        "evidence.jsonl}; `lvlmsal list evidence` lists what there is"
    ]


def recorded_evidence(spec: Spec, kind: Kind) -> dict[str, Any]:
    """What records of a run hold of evidence: its name, its options and which version answers."""
    name, options = named(spec)
    version = open_evidence(spec, cast(type[Evidence], kind)).version
    return {"name": name, **options, "version": version}


def open_evidence(spec: Spec, kind: type[Told]) -> Told:
    """The evidence that a config names, opened once in a process.

    Args:
        spec: a name, or a mapping of a name and options.
        kind: what it must tell, such as :class:`~lvlmsal.evidence.base.ObjectLister`.

    Raises:
        ConfigError: an unknown name or option, or evidence that tells something else.
    """
    if problems := spec_problems(spec, cast(Kind, kind)):
        raise ConfigError(problems)
    name, options = named(spec)
    return cast(Told, _opened(name, json.dumps(options, sort_keys=True)))


@cache
def _opened(name: str, options: str) -> Evidence:
    return EVIDENCE.build(name, **json.loads(options))
