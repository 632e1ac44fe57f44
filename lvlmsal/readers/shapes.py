"""Whether JSON that was read has the form that it must have."""

from __future__ import annotations

from types import UnionType
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Shape = Any
"""What a value must look like: a type, several types or texts to choose from as a tuple, a list of
one shape for the entries of a list, a dict for the keys of an object (those that may be missing end
in ``?``; the key ``*`` stands for all keys)."""


def misfit(value: Any, shape: Shape, where: str = "") -> str:
    """Where a value first differs from a shape, as the rest of a sentence; empty if nowhere.

    Args:
        value: JSON values.
        shape: What it must look like.
        where: How messages call the value.

    Example:
        >>> misfit({"n": 3, "ids": [1, "x"]}, {"n": int, "ids": [int], "seed?": int})
        "ids[1] must be a number, got 'x'"
        >>> misfit({"a": {}}, {"*": {"kind": ("one", "two")}})
        'a has no kind'
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _told(where, "an object", value)
        if "*" in shape:
            shape = dict.fromkeys(value, shape["*"])
        for name, inner in shape.items():
            key = name if name in value else name.removesuffix("?")
            if key not in value and key != name:
                continue
            if key not in value:
                return f"{where or 'it'} has no {key}"
            if found := misfit(value[key], inner, f"{where}.{key}" if where else str(key)):
                return found
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _told(where, "a list", value)
        if all(type(entry) is shape[0] for entry in value):
            return ""  # what is nearly always so, found fast
        texts = (misfit(entry, shape[0], f"{where}[{n}]") for n, entry in enumerate(value))
        return next((text for text in texts if text), "")
    options = shape if isinstance(shape, tuple) else (shape,)
    if any(_fits(value, option) for option in options):
        return ""
    return _told(where, " or ".join(map(_name, options)), value)


def shape_of(kind: Any) -> Shape:
    """The shape that a type describes.

    Args:
        kind: A TypedDict, or what the types of its keys are made of: plain types, `Any`, lists,
            dictionaries, literals, and unions of plain types.

    Example:
        >>> from typing import TypedDict
        >>> class Entry(TypedDict):
        ...     n: int
        ...     text: str | None
        ...     seeds: NotRequired[list[int]]
        >>> shape_of(Entry)
        {'n': <class 'int'>, 'text': (<class 'str'>, <class 'NoneType'>), 'seeds?': [<class 'int'>]}
    """
    if is_typeddict(kind):
        found = {}
        for name, hint in get_type_hints(kind, include_extras=True).items():
            optional = get_origin(hint) is NotRequired
            found[name + "?" * optional] = shape_of(get_args(hint)[0] if optional else hint)
        return found
    origin, parts = get_origin(kind), get_args(kind)
    if origin is list:
        return [shape_of(parts[0])]
    if origin is dict:
        return dict if parts[1] is Any else {"*": shape_of(parts[1])}
    if origin in (Union, UnionType, Literal):
        return parts
    return object if kind is Any else kind


def _fits(value: Any, option: Any) -> bool:
    if not isinstance(option, type):
        return bool(value == option)
    if option is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, option) and (option is not int or not isinstance(value, bool))


def _name(option: Any) -> str:
    names = {str: "a text", dict: "an object", list: "a list", bool: "true or false"}
    if option in (int, float):
        return "a number"
    return "null" if option is type(None) else names.get(option, repr(option))


def _told(where: str, wanted: str, value: Any) -> str:
    shown = repr(value)
    return (
        f"{where or 'it'} must be {wanted}, got {shown if len(shown) < 60 else shown[:57] + '...'}"
    )
