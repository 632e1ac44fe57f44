"""Finding the built-in modules of a registry, once."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterable
from types import ModuleType

from lvlmsal.registry.outline import import_outline

__all__ = ["Once", "scan_packages"]


class Once:
    """A step that runs once, for whoever asks first; others wait until it is done.

    Args:
        lock: Held meanwhile. It may be shared by several steps.
        step: What to run. If it raises, the next call tries again.
    """

    def __init__(self, lock: threading.RLock, step: Callable[[], object]) -> None:
        self._lock = lock
        self._step = step
        self._done = threading.Event()
        self._running = False

    def __call__(self) -> None:
        """Run the step unless it was run, or is what calls."""
        if self._done.is_set():
            return
        with self._lock:
            if self._done.is_set() or self._running:
                return
            self._running = True
            try:
                self._step()
                self._done.set()
            finally:
                self._running = False


def scan_packages(packages: Iterable[str]) -> None:
    """Let the modules of packages register what they hold, as outlines wherever that is enough.

    Args:
        packages: Dotted names. Modules at any depth are read, but for those whose name starts with
            an underscore.

    Raises:
        Exception: What a module raises that can be imported neither as an outline nor as it is.
    """
    for package in packages:
        for module in pkgutil.iter_modules(_outline_or_module(package).__path__, f"{package}."):
            if module.name.rpartition(".")[2].startswith("_"):
                continue
            if module.ispkg:
                scan_packages([module.name])
            else:
                _outline_or_module(module.name)


def _outline_or_module(name: str) -> ModuleType:
    try:
        return import_outline(name)
    # An outline fails in any way where its source computes with a placeholder, and where the module
    # itself is broken. Importing the module tells which.
    except Exception:
        return importlib.import_module(name)
