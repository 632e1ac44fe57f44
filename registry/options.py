"""Options of registered classes: what a class takes, and whether given values fit.

The options of a class are the arguments of its constructor; for a dataclass those are its fields.
Values usually come from YAML or from a command line, so they are plain numbers, text, lists and
mappings. They are compared with the annotations before anything is built, and every mistake is
reported, not only the first.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvlmsal.errors import close_matches
from lvlmsal.registry.fitting import describe, fit, show

__all__ = [
    "Option",
    "bind",
    "check_choices",
    "declared_options",
    "options_of",
]


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a registered class.

    Attributes:
        name: The name of the constructor's argument.
        hint: Its resolved annotation; `typing.Any` where there is none.
        default: Its default, or `inspect.Parameter.empty` where a value must be given.
    """

    name: str
    hint: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is inspect.Parameter.empty

    def __str__(self) -> str:
        return self.name if self.required else f"{self.name}={self.default!r}"


def declared_options(cls: type) -> dict[str, Option]:
    """List the options of a class, in the order of its constructor.

    ``**kwargs`` of a constructor are not options: a misspelled name must not vanish in them.

    Args:
        cls: A dataclass, or a class with an annotated ``__init__``.

    Returns:
        The options by name.

    Raises:
        TypeError: If an annotation cannot be resolved at run time.

    Example:
        >>> @dataclasses.dataclass
        ... class Window:
        ...     width: int
        ...     gain: float = 0.15
        >>> [str(option) for option in declared_options(Window).values()]
        ['width', 'gain=0.15']
    """
    factories = {
        field.name: field.default_factory
        for field in (dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ())
        if field.default_factory is not dataclasses.MISSING
    }
    found = {}
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        name = parameter.name
        default = factories[name]() if name in factories else parameter.default
        found[name] = Option(name, _resolved(cls, name), default)
    return found


@functools.cache
def _resolved(cls: type, name: str) -> Any:
    """Resolve the annotation of one option in the module of the class that declares it.

    `typing.get_type_hints` of the whole class would also resolve whatever the bases of a torch
    module annotate, and fail on names that those import for type checkers only.
    """
    places = [(inspect.get_annotations(base), base) for base in cls.__mro__]
    initializers = [(vars(base).get("__init__"), base) for base in cls.__mro__]
    of_arguments = [
        (function.__annotations__, base)
        for function, base in initializers
        if isinstance(function, types.FunctionType)
    ]
    # The fields of a dataclass are annotated where they are declared; its generated __init__
    # repeats inherited ones, out of reach of the names that their own module imports.
    places = places + of_arguments if dataclasses.is_dataclass(cls) else of_arguments
    for hints, base in places:
        if name not in hints:
            continue
        holder = types.SimpleNamespace(__annotations__={name: hints[name]})
        module = vars(sys.modules[base.__module__])
        try:
            hint = typing.get_type_hints(holder, module, dict(vars(base)))[name]
        except NameError as error:
            raise TypeError(
                f"option {name!r} of {base.__module__}.{base.__qualname__}: the annotation "
                f"{hints[name]!r} cannot be resolved ({error}). Import what it names at run "
                "time, not only for type checkers."
            ) from error
        return hint.type if isinstance(hint, dataclasses.InitVar) else hint
    return Any


def bind(cls: type, given: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Compare given options with those that a class declares. Builds nothing.

    Args:
        cls: The class.
        given: Options by name, as read from a configuration.

    Returns:
        The values to build with, and one sentence for each unknown name, wrong type and missing
        option. A value is changed only in form, so that equal configurations give equal objects:
        ``1`` becomes ``1.0`` for a number, a list becomes a tuple where a tuple is declared.

    Example:
        >>> @dataclasses.dataclass
        ... class Window:
        ...     width: int
        ...     gain: float = 0.15
        >>> bind(Window, {"width": 3, "gain": 1})
        ({'width': 3, 'gain': 1.0}, [])
        >>> for problem in bind(Window, {"gian": 1, "gain": "0.2"})[1]:
        ...     print(problem)
        unknown option 'gian'. Did you mean 'gain'? Options: width, gain
        option 'gain' must be a number, not the text '0.2'
        option 'width' is missing: it must be a whole number
    """
    options = declared_options(cls)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        if name not in options:
            listed = ", ".join(options) or "none"
            problems.append(
                f"unknown option {str(name)!r}.{close_matches(str(name), options)} "
                f"Options: {listed}"
            )
            continue
        fits, bound = fit(value, options[name].hint)
        if fits:
            values[name] = bound
        else:
            expected = describe(options[name].hint)
            problems.append(f"option {name!r} must be {expected}, not {show(value)}")
    problems += [
        f"option {option.name!r} is missing: it must be {describe(option.hint)}"
        for option in options.values()
        if option.required and option.name not in given
    ]
    return values, problems


def check_choices(component: object) -> None:
    """Refuse a value that the ``Literal[...]`` annotation of its option does not name.

    Configurations are checked before anything is built; this is for objects made by hand, and
    belongs into ``__post_init__``.

    Args:
        component: An instance of a registered class; its options are attributes.

    Raises:
        ValueError: It names the option, the value and the choices.

    Example:
        >>> @dataclasses.dataclass
        ... class Fuse:
        ...     mode: typing.Literal["add", "max"] = "add"
        >>> check_choices(Fuse("mean"))
        Traceback (most recent call last):
            ...
        ValueError: mode='mean' is unknown: choose one of add, max
    """
    for name, option in declared_options(type(component)).items():
        if typing.get_origin(option.hint) is not typing.Literal:
            continue
        value, choices = getattr(component, name), typing.get_args(option.hint)
        if value not in choices:
            listed = ", ".join(map(str, choices))
            raise ValueError(f"{name}={value!r} is unknown: choose one of {listed}")


def options_of(component: object) -> dict[str, Any]:
    """Read the options of a built object back, in a form that JSON and YAML can hold.

    ``registry.build(component.name, **options_of(component))`` gives an equal object: this is how
    the record of a run can be rebuilt.

    Args:
        component: An instance of a registered class. Each option must be an attribute of the same
            name, which a dataclass gives for free.

    Returns:
        The options by name: numbers, text, booleans, null, and lists and mappings of them.

    Raises:
        TypeError: If an option is not an attribute of the object or cannot be written as JSON.

    Example:
        >>> @dataclasses.dataclass
        ... class Window:
        ...     layers: tuple[int, ...] = (0, 1)
        >>> options_of(Window())
        {'layers': [0, 1]}
    """
    found = {}
    for name in declared_options(type(component)):
        if not hasattr(component, name):
            raise TypeError(
                f"{type(component).__qualname__} takes the option {name!r} and does not keep it: "
                f"assign it to self.{name}, so that records of a run can name it"
            )
        found[name] = _plain(getattr(component, name), name)
    return found


def _plain(value: object, name: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, name) for key, entry in value.items()}
    if isinstance(value, set | frozenset):
        return [_plain(entry, name) for entry in sorted(value)]
    if isinstance(value, list | tuple | range):
        return [_plain(entry, name) for entry in value]
    raise TypeError(
        f"option {name!r} holds a {type(value).__qualname__}, which records of a run cannot hold"
    )
