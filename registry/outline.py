"""Outlines: what a class says of itself, without the packages that it computes with.

Listings, help texts and the first check of a config need names, options, defaults and docstrings
of classes, and those stand in modules that import torch and transformers, which takes seconds. The
outline of a module is the same source run a second time, as a module of another name, in which

- packages other than the standard library and the module's own are :class:`Placeholder`;
- modules of its own package are outlines too, unless they have been imported already;
- warnings go nowhere: the real module gives them.

So the classes in it have the fields, docstrings, class attributes and pure Python methods of the
real ones. Whatever needs more than that raises an error in the outline, and callers then import the
real module.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["Placeholder", "import_outline", "mentions_placeholder", "real_module"]

# Behind the name of the package: no file can have such a name, so no import meets it by accident.
_MARK = " [outline]"
_SHOWN = "<placeholder of "
_REAL = sys.stdlib_module_names - {"warnings"}


def import_outline(module: str) -> ModuleType:
    """Import the outline of a module; a module that is imported already is returned itself.

    Args:
        module: Its dotted name.

    Raises:
        Exception: Whatever the source raises, also because it computes with a placeholder.
    """
    return importlib.import_module(module if module in sys.modules else _outline_name(module))


def real_module(name: str) -> str | None:
    """The module of which a module is the outline; None for a real one.

    Example:
        >>> real_module("lvlmsal [outline].decoders.base")
        'lvlmsal.decoders.base'
    """
    return name.replace(_MARK, "", 1) if _MARK in name else None


def _outline_name(module: str) -> str:
    top, dot, rest = module.partition(".")
    return f"{top}{_MARK}{dot}{rest}"


class Placeholder:
    """Stands for anything of a package that is not imported.

    It can be named, called, subscripted and derived from, as modules do with it while they are
    imported: a class derives from nothing in its place, a decorator leaves what it decorates. Any
    computation with it is a TypeError.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            return importlib.metadata.version(self._name)
        if name.startswith("__") and name != "__code__":  # what protocols look for
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return Placeholder(f"{self._name}.{name}")

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Leave a function or a class as it is; anything else is a placeholder again."""
        if len(arguments) == 1 and not options and isinstance(arguments[0], type | FunctionType):
            return arguments[0]
        return Placeholder(f"{self._name}(...)")

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return ()

    def __getitem__(self, key: object) -> Placeholder:
        return Placeholder(f"{self._name}[...]")

    def __or__(self, other: object) -> Placeholder:
        return self

    __ror__ = __or__
    __iter__ = None

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no value")

    def __repr__(self) -> str:
        return f"{_SHOWN}{self._name}>"


def mentions_placeholder(value: object) -> bool:
    """Whether a value is or holds a placeholder, as far as its `repr` shows.

    Example:
        >>> mentions_placeholder({"dtype": list[Placeholder("torch.dtype")]})
        True
    """
    return _SHOWN in repr(value)


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """The import statement of outlines; arguments as those of ``__import__``."""
    top = name.partition(".")[0]
    own = (globals or {}).get("__name__", "").partition(_MARK)[0]
    if level == 0 and top == own:
        loaded = sys.modules.get(name)
        if loaded is None or not set(fromlist or ()) <= set(vars(loaded)):
            name = _outline_name(name)
    elif level == 0 and top not in _REAL:
        if importlib.util.find_spec(top) is None:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
        return Placeholder(name if fromlist else top)
    return builtins.__import__(name, globals, locals, fromlist or (), level)


class _Loader(SourceFileLoader):
    """Runs the source (or its cached bytecode) with the import statement of outlines."""

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        assert code is not None  # there is a source
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        exec(code, vars(module))


class _Finder(MetaPathFinder):
    """Finds the source of an outline where that of the real module lies."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        real = real_module(fullname)
        if real is None:
            return None
        found = PathFinder.find_spec(real, path) if path else importlib.util.find_spec(real)
        if found is None or not isinstance(found.loader, SourceFileLoader):
            return None
        loader = _Loader(fullname, found.loader.path)
        return importlib.util.spec_from_file_location(
            fullname,
            found.loader.path,
            loader=loader,
            submodule_search_locations=found.submodule_search_locations,
        )


# First, since the path finder would take the outline of a submodule for an ordinary module.
sys.meta_path.insert(0, _Finder())
