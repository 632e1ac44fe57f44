"""Modules that a config names because they register something."""

from __future__ import annotations

import importlib
from collections.abc import Iterable


def import_plugins(modules: Iterable[str]) -> list[str]:
    """Import modules that register something; returns one sentence for each that cannot be."""
    problems = []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            why = str(error)
        except SystemExit:
            why = "it calls sys.exit"
        except Exception as error:  # code of others, which may fail in any way
            why = f"{type(error).__name__}: {error}"
        else:
            continue
        problems.append(f"plugins: the module {module!r} cannot be imported: {why}")
    return problems
