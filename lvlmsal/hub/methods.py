"""What ``method=`` names: at most one decoder, and interventions, by name or with options."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.registry import DECODERS, INTERVENTIONS, Registry

Spec = dict[str, Any]
"""``name`` and options."""

Method = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""A name, names joined by ``+``, ``{"name": ..., option: value}``, or a list of such entries."""


def method_specs(method: Method | None) -> tuple[Spec | None, list[Spec]]:
    """The decoder and the interventions of a method.

    Args:
        method: What was given.

    Returns:
        The decoder, None where transformers' own search is to be kept, and the interventions in
        their order.

    Raises:
        ConfigError: It is empty, names no component, or two decoders.
        UnknownName: A name is neither a decoder nor an intervention.

    Example:
        >>> method_specs("sgrs+locore")
        ({'name': 'sgrs'}, [{'name': 'locore'}])
        >>> method_specs({"name": "vcd", "alpha": 0.5})
        (None, [{'name': 'vcd', 'alpha': 0.5}])
    """
    entries = [method] if isinstance(method, str | Mapping) else list(method or ())
    specs: list[Spec] = []
    for entry in entries:
        if isinstance(entry, str):
            specs += [{"name": name.strip()} for name in entry.split("+")]
        else:
            specs.append(dict(entry))
    if not specs or not all(isinstance(spec.get("name"), str) for spec in specs):
        raise ConfigError(
            [
                f"method={method!r} names no method: write method='sgrs', 'sgrs+locore' or "
                "{'name': 'sgrs', 'alpha': 0.6}"
            ]
        )
    for spec in specs:
        registry_of(spec["name"])
    decoders = [spec for spec in specs if spec["name"] in DECODERS]
    if len(decoders) > 1:
        names = " and ".join(repr(spec["name"]) for spec in decoders)
        raise ConfigError([f"{names} are decoders, each with a search of its own: take one"])
    edits = [spec for spec in specs if spec["name"] not in DECODERS]
    return (decoders[0] if decoders else None), edits


def registry_of(name: str) -> Registry[Any]:
    """The registry that a method is in.

    Raises:
        UnknownName: There is no such decoder or intervention.
    """
    if name in DECODERS:
        return DECODERS
    if name in INTERVENTIONS:
        return INTERVENTIONS
    raise UnknownName("method", name, [*DECODERS, *INTERVENTIONS])


def take_options(specs: Sequence[Spec], given: MutableMapping[str, Any]) -> None:
    """Move options of methods from the arguments of ``generate`` into their specs.

    Args:
        specs: Of the methods; a keyword that is an option of one of them is taken.
        given: The arguments; what is taken leaves them.

    Raises:
        ConfigError: A keyword is an option of several of the methods.
    """
    for name in list(given):
        owners = [spec for spec in specs if name in registry_of(spec["name"]).options(spec["name"])]
        if len(owners) > 1:
            names = [spec["name"] for spec in owners]
            raise ConfigError(
                [
                    f"{name}={given[name]!r} is an option of {' and of '.join(names)}: say whose, "
                    f"method=[{{'name': {names[0]!r}, {name!r}: {given[name]!r}}}, ...]"
                ]
            )
        if owners:
            owners[0][name] = given.pop(name)
