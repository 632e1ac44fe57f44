"""One generic registry: names to classes, for everything that users can add to.

A class joins by one decorator in its own file, or, from another package, by an entry point. There
is no list of names to keep elsewhere: the package of a kind is scanned once, at the first lookup
that needs it. Configurations can name registered classes only; they can import nothing.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from lvlmsal.errors import ConfigError, LvlmsalError, UnknownName
from lvlmsal.registry.catalog import CheckpointCard
from lvlmsal.registry.discovery import Once, scan_packages
from lvlmsal.registry.options import Option, bind, declared_options
from lvlmsal.registry.outline import mentions_placeholder, real_module
from lvlmsal.registry.plugins import load_plugins
from lvlmsal.registry.requirements import check_class

__all__ = ["Registry"]

T = TypeVar("T")
C = TypeVar("C", bound=type)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What a name stands for: "module:Name", the class once it is imported, and its outline.

    The outline is what can be known of the class before that; afterwards it is the class itself.
    """

    target: str
    names: tuple[str, ...]
    cls: type | None = None
    outline: type | None = None


class Registry(Generic[T]):
    """Names to the classes of one kind, all of which derive from one base class.

    Lookups are safe from several threads. The only thing not to do is to look a name up in the
    body of a module that registers something: two threads could then wait for one another.

    Args:
        kind: What the classes are, as error messages say it ("decoder").
        base: "module:Class" of the base class; imported when it is first needed.
        packages: The packages whose modules, at any depth, hold the built-in classes. Outlines of
            all but those with a leading underscore are read at the first lookup; a module is
            imported when one of its classes is asked for.
        entry_points: The entry-point group in which other packages announce theirs.
    """

    def __init__(self, kind: str, *, base: str, packages: Sequence[str], entry_points: str) -> None:
        self.kind = kind
        self._base = base
        self._home = packages[0].partition(".")[0]
        self._entries: dict[str, _Entry] = {}
        self._origins: dict[str, str] = {}
        # Two locks: one for the table, held for moments, and one for discovery, held while modules
        # are imported. Registering takes only the first, so importing cannot wait for a scan.
        self._table = threading.Lock()
        discovery = threading.RLock()
        self._scan = Once(discovery, lambda: scan_packages(packages))
        self._plug = Once(discovery, lambda: self._origins.update(load_plugins(self, entry_points)))

    @overload
    def register(self, *names: str) -> Callable[[C], C]: ...

    @overload
    def register(self, *names: str, target: str) -> None: ...

    def register(self, *names: str, target: str | None = None) -> Callable[[C], C] | None:
        """Register a class under one or more names.

        Use it as a decorator above ``@dataclass``, or give a target, which is imported when it is
        first asked for. The first name becomes the class attribute `name`.

        Args:
            names: The names; the first is the one that records show.
            target: "module:Name" instead of a decorated class.

        Returns:
            The decorator, which returns the class unchanged; None with a target.

        Raises:
            ValueError: If a name is taken by another class (the message names both), is empty or
                holds white space. Registering the same class again, as a reload does, is fine.
            TypeError: If the class is not of this registry's kind.
        """
        if not names:
            raise ValueError(f"registering a {self.kind} needs at least one name")
        for name in names:
            if not name or name != "".join(name.split()):
                raise ValueError(f"{name!r} cannot be a name: it is empty or holds white space")
        if target is not None:
            self._add(_Entry(target, names))
            return None

        def decorate(cls: C) -> C:
            check_class(cls, self.kind, self._base)
            real = real_module(cls.__module__)
            target = f"{real or cls.__module__}:{cls.__qualname__}"
            self._add(_Entry(target, names, None if real else cls, cls))
            return cls

        return decorate

    def _add(self, entry: _Entry) -> None:
        # A class from outside waits for the built-in names, so that it can take none of them.
        if entry.target.partition(".")[0] != self._home:
            self._scan()
        with self._table:
            for name in entry.names:
                other = self._entries.get(name)
                if other is not None and other.target != entry.target:
                    raise ValueError(
                        f"the {self.kind} name {name!r} is already registered by {other.target} "
                        f"(while registering {entry.target}): choose another name"
                    )
            for name in entry.names:
                other = self._entries.get(name)
                if other is None or other.cls is None or entry.cls is not None:  # never backwards
                    self._entries[name] = entry
        if entry.outline is not None and "name" not in vars(entry.outline):
            cast(Any, entry.outline).name = entry.names[0]

    def get(self, name: str) -> type[T]:
        """Return the class that is registered under a name.

        This imports the module of the class and what that needs, and no other one.

        Raises:
            UnknownName: If there is none; with the most similar name and the list.
            ConfigError: If its target cannot be imported, or is no class of this kind.
        """
        entry = self._entry(name)
        if entry.cls is None:
            loaded = self._loaded(entry, name)
            entry = dataclasses.replace(entry, cls=loaded, outline=loaded)
            self._add(entry)
        return cast(type[T], entry.cls)

    def outline(self, name: str) -> type[T]:
        """Return what is to be known of a registered class without importing its module.

        It has the name, docstring, options, class attributes and pure Python methods of the class
        (see `lvlmsal.registry.outline`), for listings, help and checks of options. Where the class
        is imported already, it is the class itself; that of a plugin is imported.

        Raises:
            UnknownName, ConfigError: As `get`.
        """
        entry = self._entry(name)
        return self.get(name) if entry.outline is None else cast(type[T], entry.outline)

    def _loaded(self, entry: _Entry, name: str) -> type:
        """What a target names. That of a plugin is code of others and may fail in any way."""
        module, _, attribute = entry.target.partition(":")
        if entry.outline is not None:
            return cast(type, getattr(importlib.import_module(module), attribute))
        try:
            loaded = getattr(importlib.import_module(module), attribute)
            check_class(loaded, self.kind, self._base)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                [f"the {self.kind} {name!r} cannot be used ({entry.target}): {error}"]
            ) from error
        return cast(type, loaded)

    def _find(self, name: object) -> _Entry | None:
        for look in (self._scan, self._plug):
            if name not in self._entries:
                look()
        return self._entries.get(cast(str, name))

    def _entry(self, name: str) -> _Entry:
        entry = self._find(name)
        if entry is None:
            raise UnknownName(self.kind, name, self.known())
        return entry

    def names(self, pattern: str = "*") -> list[str]:
        """Return the registered names that match a shell pattern, sorted."""
        self.discover()
        return [name for name in self.known() if fnmatch.fnmatchcase(name, pattern)]

    def origin(self, name: str) -> str:
        """Say where a name comes from: "module:Class", and the distribution of a plugin."""
        entry = self._entry(name)
        distribution = self._origins.get(name)
        return f"{entry.target} ({distribution})" if distribution else entry.target

    def options(self, name: str) -> dict[str, Option]:
        """Return the options that a registered class takes, by name."""
        return declared_options(self._with_options(name))

    def _with_options(self, name: str) -> type[T]:
        """The outline of a class, or the class where some option is of another package's type."""
        found = self.outline(name)
        is_open = mentions_placeholder(list(declared_options(found).values()))
        return self.get(name) if is_open else found

    def defaults(self, name: str, card: CheckpointCard | None) -> dict[str, object]:
        """Return the options that a checkpoint sets for a registered class.

        Args:
            name: The registered name.
            card: Of the checkpoint; None for one that the catalog does not know.

        Returns:
            What the class itself says of the checkpoint (`model_defaults`, by shell pattern), and
            above it what the card says of the class.
        """
        if card is None or name not in self:
            return {}
        found: dict[str, object] = {}
        for pattern, options in getattr(self.outline(name), "model_defaults", {}).items():
            if fnmatch.fnmatchcase(card.name, pattern):
                found.update(options)
        return {**found, **card.defaults.get(name, {})}

    def problems(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Say all that is wrong with a name and options of a config; an empty list: it builds.

        Returns:
            One sentence for each unknown name or option (with the most similar one), wrong type
            and missing option; where all of these are right, what the class itself refuses.
        """
        return self.outline_problems(name, options) or self._try(self.get, name, options)[1]

    def outline_problems(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Say what `problems` says as far as it is known without importing the class's module."""
        return self._try(self._with_options, name, options)[1]

    def build(self, name: str, /, **options: object) -> T:
        """Build a registered class from its options.

        Raises:
            ConfigError: If anything is wrong with the name or the options; it lists everything.
        """
        built, problems = self._try(self.get, name, options)
        if problems:
            raise ConfigError(problems)
        return cast(T, built)

    def _try(
        self, find: Callable[[str], type[T]], name: str, options: Mapping[str, object]
    ) -> tuple[T | None, list[str]]:
        try:
            cls = find(name)
        except (UnknownName, ConfigError) as error:
            return None, [str(error)]
        prefix = f"{self.kind} {name!r}: "
        values, problems = bind(cls, options)
        if not problems:
            try:
                return cls(**values), []
            except ConfigError as error:
                problems = error.problems
            except (ValueError, ArithmeticError, LvlmsalError) as error:
                problems = [str(error)]
            except Exception:
                # What an outline cannot compute is left to the class itself.
                if real_module(cls.__module__) is None:
                    raise
        return None, [prefix + problem for problem in problems]

    def known(self) -> list[str]:
        """Return the names that are registered by now, without importing anything."""
        with self._table:
            return sorted(self._entries)

    def discover(self) -> None:
        """Read the outlines of the built-in modules and import the plugins of other packages, once.

        A built-in module that cannot be imported raises its error. A plugin that cannot be used is
        warned about and left out: it must not take the library down with it.
        """
        self._scan()
        self._plug()

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        # Lists what is known by now: showing an object must not import torch.
        known = ", ".join(self.known()) or "nothing imported yet"
        return f"<Registry of {self.kind}s: {known}>"
