"""What a class must be to be registered."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

from lvlmsal.registry.outline import import_outline, real_module

__all__ = ["check_class"]


def check_class(cls: object, kind: str, base: str) -> None:
    """Refuse what is not a usable class of a kind, while its author is still looking.

    Args:
        cls: What is registered; the outline of a class is compared with that of the base.
        kind: What the classes of the registry are.
        base: "module:Class" of the base class.

    Raises:
        TypeError: It does not derive from the base, its options would be lost, or it has no
            one-line `summary`.
    """
    module, _, name = base.partition(":")
    is_outline = real_module(getattr(cls, "__module__", "")) is not None
    parent = getattr((import_outline if is_outline else importlib.import_module)(module), name)
    if not (isinstance(cls, type) and issubclass(cls, parent)):
        raise TypeError(f"{cls!r} is not a {kind}: it must derive from {base}")
    if _fields_are_lost(cls, parent):
        raise TypeError(
            f"{cls.__qualname__} annotates options but is not a dataclass when it is registered: "
            "put the registering decorator above @dataclass"
        )
    summary = getattr(cls, "summary", None)
    if not isinstance(summary, str) or not summary or "\n" in summary:
        raise TypeError(f"{cls.__qualname__} needs a class attribute `summary`: one line")


def _fields_are_lost(cls: type, base: type) -> bool:
    """Whether a class annotates fields that no constructor of it or of its base will take."""
    if {"__dataclass_fields__", "__init__"} & set(vars(cls)):
        return False
    constructors = [parent for parent in base.__mro__[:-1] if "__init__" in vars(parent)]
    if constructors and not dataclasses.is_dataclass(base):
        return False  # the options are the arguments of the base's constructor
    return any("ClassVar" not in str(hint) for hint in inspect.get_annotations(cls).values())
