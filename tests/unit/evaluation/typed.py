"""JSON values against TypedDicts, more strictly than mypy can: no key is missing or unknown."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints


def keys_of(kind: type) -> dict[str, tuple[Any, bool]]:
    """The type of each key of a TypedDict, and whether the key may be missing."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        found[name] = (get_args(hint)[0] if optional else hint, optional)
    return found


def misfits(value: Any, kind: Any, where: str = "it") -> list[str]:
    """Places where a value is not what its type says."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return []
    if origin in (Union, UnionType):
        return min((misfits(value, part, where) for part in parts), key=len)
    if origin is Literal:
        return [] if value in parts else [f"{where} is {value!r}"]
    if origin is list or origin is dict:
        if not isinstance(value, origin):
            return [f"{where} is {value!r}"]
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return [text for k, v in entries for text in misfits(v, parts[-1], f"{where}[{k!r}]")]
    if hasattr(kind, "__required_keys__"):
        if not isinstance(value, dict):
            return [f"{where} is {value!r}"]
        keys = keys_of(kind)
        found = [f"{where} has an unknown key {key!r}" for key in value if key not in keys]
        for key, (hint, optional) in keys.items():
            if key in value:
                found += misfits(value[key], hint, f"{where}.{key}")
            elif not optional:
                found.append(f"{where} lacks {key!r}")
        return found
    if kind is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = value is None if kind is NoneType else type(value) is kind
    return [] if fits else [f"{where} is {value!r}"]
