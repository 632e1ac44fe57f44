"""Packages whose public names are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package that imports its names late.

    Args:
        package: The package's ``__name__``.
        homes: Public name -> the module that defines it; `.module` is one of the package.

    Returns:
        The two functions, to be assigned in the package's ``__init__.py``.
    """

    def find(name: str) -> Any:
        if name not in homes:
            # with name and module Python says which name may be meant
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}",
                name=name,
                obj=sys.modules[package],
            )
        found = getattr(importlib.import_module(homes[name], package), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return find, names
