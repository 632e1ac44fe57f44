"""Does a value fit an annotation, and how is that said in words.

Values come from YAML or from a command line: numbers, text, booleans, null, lists and mappings.
"""

from __future__ import annotations

import collections.abc
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

from lvlmsal.secrets import hide

__all__ = ["describe", "fit", "show"]

_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_SETS = (set, frozenset, collections.abc.Set)
_MAPPINGS = (dict, collections.abc.Mapping)
_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
    None: "null",
}


def fit(value: object, hint: Any) -> tuple[bool, Any]:
    """Say whether a value fits an annotation, and bring it into the declared form.

    Args:
        value: Any value.
        hint: A resolved annotation: a class, `Any`, a union, ``Literal[...]``, or a list, tuple,
            set or mapping of such.

    Returns:
        Whether it fits, and the value in its declared form. ``True`` is not a number, and text is
        not a list of letters.

    Example:
        >>> fit(3, float)
        (True, 3.0)
        >>> fit(True, int)
        (False, True)
        >>> fit([0, 1], list[int] | str | None)
        (True, [0, 1])
        >>> fit("max", Literal["add", "product"])
        (False, 'max')
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True, value
    if origin in (Union, types.UnionType):
        return _fit_union(value, arguments)
    if origin is Literal:
        # Compared with the type: True == 1, yet they are different choices.
        fits = any(type(value) is type(choice) and value == choice for choice in arguments)
        return fits, value
    if origin in (typing.Annotated, typing.Final, typing.ClassVar):
        return fit(value, arguments[0])
    kind = origin or hint
    if kind is tuple:
        return _fit_tuple(value, arguments)
    if kind in _LISTS:
        return _fit_items(value, arguments, list)
    if kind in _SETS:
        return _fit_items(value, arguments, frozenset if kind is frozenset else set)
    if kind in _MAPPINGS:
        return _fit_mapping(value, arguments)
    return _fit_plain(value, type(None) if kind is None else kind)


def _fit_plain(value: object, kind: Any) -> tuple[bool, Any]:
    if isinstance(value, bool):
        return kind in (bool, object), value
    if kind is float and isinstance(value, int):
        try:
            return True, float(value)
        except OverflowError:
            return False, value
    if kind is Path and isinstance(value, str):
        return True, Path(value)
    if kind is collections.abc.Callable:
        return callable(value), value
    return isinstance(kind, type) and isinstance(value, kind), value


def _fit_union(value: object, members: tuple[Any, ...]) -> tuple[bool, Any]:
    # A member that takes the value as it is wins over one that changes its form: 1 stays an int
    # for `float | int`.
    changed: tuple[bool, Any] = (False, value)
    for member in members:
        fits, bound = fit(value, member)
        if fits and type(bound) is type(value):
            return True, bound
        if fits and not changed[0]:
            changed = (True, bound)
    return changed


def _fit_items(value: object, arguments: tuple[Any, ...], build: type) -> tuple[bool, Any]:
    if not isinstance(value, list | tuple | set | frozenset | range):
        return False, value
    item = arguments[0] if arguments else Any
    fitted = [fit(entry, item) for entry in value]
    if not all(fits for fits, _ in fitted):
        return False, value  # what does not fit need not go into a set either
    try:
        return True, build(bound for _, bound in fitted)
    except TypeError:
        return False, value


def _fit_tuple(value: object, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, list | tuple | range):
        return False, value
    if not arguments or arguments[-1] is Ellipsis:
        return _fit_items(value, arguments[:1], tuple)
    if len(value) != len(arguments):
        return False, value
    fitted = [fit(entry, item) for entry, item in zip(value, arguments, strict=True)]
    return all(fits for fits, _ in fitted), tuple(bound for _, bound in fitted)


def _fit_mapping(value: object, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, Mapping):
        return False, value
    key_hint, value_hint = arguments or (Any, Any)
    fitted = [(fit(key, key_hint), fit(entry, value_hint)) for key, entry in value.items()]
    return all(k[0] and v[0] for k, v in fitted), {k[1]: v[1] for k, v in fitted}


def describe(hint: Any) -> str:
    """Say in words which values an annotation allows.

    Example:
        >>> describe(list[int] | str | None)
        'a list of whole numbers, text or null'
        >>> describe(Literal["add", "max"])
        "one of 'add', 'max'"
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        words = [describe(member) for member in arguments]
        return f"{', '.join(words[:-1])} or {words[-1]}"
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if origin in (typing.Annotated, typing.Final, typing.ClassVar):
        return describe(arguments[0])
    kind = origin or hint
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}: " + ", ".join(describe(item) for item in arguments)
    if kind is tuple or kind in _LISTS or kind in _SETS:
        return f"a list of {_plural(arguments[0])}" if arguments else "a list"
    if kind in _MAPPINGS:
        return "a mapping"
    if kind is Any:
        return "a value"
    return _WORDS.get(kind) or f"a {getattr(kind, '__name__', str(kind))}"


def _plural(hint: Any) -> str:
    words = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}
    return words.get(hint) or f"entries that are {describe(hint)}"


def show(value: object) -> str:
    """Write a value as its author would recognize it, cut where it is long.

    Example:
        >>> show(True), show("0.2"), show([1, 2])
        ('true', "the text '0.2'", '[1, 2]')
    """
    # before it is cut: half a secret could not be told any more
    shown = reprlib.repr(hide(value) if isinstance(value, str) else value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the text {shown}" if isinstance(value, str) else shown
