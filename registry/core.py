"""One generic registry: names to classes, for everything that users can add to.

A class joins by one decorator in its own file, or, from another package, by an entry point. There
is no list of names to keep elsewhere: the package of a kind is scanned once, at the first lookup
that needs it. Configurations can name registered classes only; they can import nothing.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from lvlmsal.errors import ConfigError, LvlmsalError, UnknownName
from lvlmsal.registry.catalogue import CheckpointCard
from lvlmsal.registry.options import Option, bind, declared_options, fields_are_lost
from lvlmsal.registry.plugins import load_plugins

__all__ = ["Registry"]

T = TypeVar("T")
C = TypeVar("C", bound=type)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What a name stands for: "module:Name", and the class once it is imported."""

    target: str
    names: tuple[str, ...]
    cls: type | None


class Registry(Generic[T]):
    """Names to the classes of one kind, all of which derive from one base class.

    Lookups are safe from several threads. The only thing not to do is to look a name up in the
    body of a module that registers something: two threads could then wait for one another.

    Args:
        kind: What the classes are, as error messages say it ("decoder").
        base: "module:Class" of the base class; imported when it is first needed.
        packages: The packages whose modules, at any depth, hold the built-in classes. Every one
            whose name does not start with an underscore is imported at the first listing or failed
            lookup.
        entry_points: The entry-point group in which other packages announce theirs.
    """

    def __init__(self, kind: str, *, base: str, packages: Sequence[str], entry_points: str) -> None:
        self.kind = kind
        self._base = base
        self._packages = tuple(packages)
        self._group = entry_points
        self._entries: dict[str, _Entry] = {}
        self._origins: dict[str, str] = {}
        self._scanned, self._plugged = threading.Event(), threading.Event()
        self._scanning = self._plugging = False
        # Two locks: one for the table, held for moments, and one for discovery, held while modules
        # are imported. Registering takes only the first, so importing cannot wait for a scan.
        self._table = threading.Lock()
        self._discovery = threading.RLock()

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
            self._add(_Entry(target, names, None))
            return None

        def decorate(cls: C) -> C:
            self._check(cls)
            self._add(_Entry(f"{cls.__module__}:{cls.__qualname__}", names, cls))
            return cls

        return decorate

    def _add(self, entry: _Entry) -> None:
        # Whoever comes from outside waits for the built-in names, so that it can take none of them.
        if entry.target.partition(".")[0] != self._packages[0].partition(".")[0]:
            self._scan()
        with self._table:
            for name in entry.names:
                other = self._entries.get(name)
                if other is not None and other.target != entry.target:
                    raise ValueError(
                        f"the {self.kind} name {name!r} is taken: {other.target} registered it, "
                        f"and {entry.target} wants it too. Choose another name."
                    )
            for name in entry.names:
                self._entries[name] = entry
        if entry.cls is not None and "name" not in vars(entry.cls):
            cast(Any, entry.cls).name = entry.names[0]

    def _check(self, cls: object) -> None:
        """Refuse what is not a usable class of this kind, while its author is still looking."""
        module, _, name = self._base.partition(":")
        base = getattr(importlib.import_module(module), name)
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise TypeError(f"{cls!r} is no {self.kind}: it must derive from {self._base}")
        if fields_are_lost(cls, base):
            raise TypeError(
                f"{cls.__qualname__} annotates options and is no dataclass when it is registered: "
                "put the registering decorator above @dataclass"
            )
        summary = getattr(cls, "summary", None)
        if not isinstance(summary, str) or not summary or "\n" in summary:
            raise TypeError(f"{cls.__qualname__} needs a class attribute `summary`: one line")

    def get(self, name: str) -> type[T]:
        """Return the class that is registered under a name.

        Raises:
            UnknownName: If there is none; with the most similar name and the list.
            ConfigError: If its target cannot be imported, or is no class of this kind.
        """
        entry = self._entry(name)
        if entry.cls is None:
            loaded = self._loaded(entry.target, name)
            entry = dataclasses.replace(entry, cls=loaded)
            self._add(entry)
        return cast(type[T], entry.cls)

    def _loaded(self, target: str, name: str) -> type:
        """What a target names, which is code of others and may fail in any way."""
        module, _, attribute = target.partition(":")
        try:
            loaded = getattr(importlib.import_module(module), attribute)
            self._check(loaded)
        except (Exception, SystemExit) as error:
            raise ConfigError(
                [f"the {self.kind} {name!r} cannot be used ({target}): {error}"]
            ) from error
        return cast(type, loaded)

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            self.discover()
        entry = self._entries.get(name)
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
        return declared_options(self.get(name))

    def defaults(self, name: str, card: CheckpointCard | None) -> dict[str, object]:
        """Return the options that a checkpoint sets for a registered class.

        Args:
            name: The registered name.
            card: Of the checkpoint; None for one that the catalogue does not know.

        Returns:
            What the class itself says of the checkpoint (`model_defaults`, by shell pattern), and
            above it what the card says of the class.
        """
        if card is None or name not in self:
            return {}
        found: dict[str, object] = {}
        for pattern, options in getattr(self.get(name), "model_defaults", {}).items():
            if fnmatch.fnmatchcase(card.name, pattern):
                found.update(options)
        return {**found, **card.defaults.get(name, {})}

    def problems(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Say all that is wrong with a name and its options; an empty list means that it builds.

        Args:
            name: The name that a configuration gives.
            options: Its options.

        Returns:
            One sentence for each unknown name or option (with the most similar one), wrong type and
            missing option. Where all of these are right, what the class itself refuses.
        """
        return self._try(name, options)[1]

    def build(self, name: str, /, **options: object) -> T:
        """Build a registered class from its options.

        Raises:
            ConfigError: If anything is wrong with the name or the options; it lists everything.
        """
        built, problems = self._try(name, options)
        if problems:
            raise ConfigError(problems)
        return cast(T, built)

    def _try(self, name: str, options: Mapping[str, object]) -> tuple[T | None, list[str]]:
        try:
            cls = self.get(name)
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
        return None, [prefix + problem for problem in problems]

    def known(self) -> list[str]:
        """Return the names that are registered by now, without importing anything."""
        with self._table:
            return sorted(self._entries)

    def discover(self) -> None:
        """Import the built-in modules and the plugins of other packages, once.

        A built-in module that cannot be imported raises its error. A plugin that cannot be used is
        warned about and left out: it must not take the library down with it.
        """
        self._scan()
        if self._plugged.is_set():
            return
        with self._discovery:
            if self._plugged.is_set() or self._plugging:
                return
            self._plugging = True
            self._origins.update(load_plugins(self, self._group))
            self._plugged.set()

    def _scan(self) -> None:
        if self._scanned.is_set():
            return
        with self._discovery:
            # The second case is a module that lists names while the scan imports it.
            if self._scanned.is_set() or self._scanning:
                return
            self._scanning = True
            try:
                for package in self._packages:
                    path = importlib.import_module(package).__path__
                    for module in pkgutil.walk_packages(path, f"{package}."):
                        if not module.name.rpartition(".")[2].startswith("_"):
                            importlib.import_module(module.name)
                self._scanned.set()
            finally:
                self._scanning = False

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            self.discover()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        # Lists what is known by now: showing an object must not import torch.
        known = ", ".join(self.known()) or "nothing imported yet"
        return f"<Registry of {self.kind}s: {known}>"
