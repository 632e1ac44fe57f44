"""Entry points: how other installed packages announce their classes.

An entry point names either a class, which is registered under the entry point's name, or a module,
whose import runs its own registering decorators::

    [project.entry-points."lvlmsal.interventions"]
    my-method = "my_package.my_method:MyMethod"
"""

from __future__ import annotations

import importlib.metadata
import types
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvlmsal.registry.core import Registry

__all__ = ["load_plugins"]


def load_plugins(registry: Registry[Any], group: str) -> dict[str, str]:
    """Register what the entry points of a group announce.

    An entry point that cannot be used, for whatever reason, is reported by a `UserWarning` that
    names its distribution, and skipped.

    Args:
        registry: Where the classes go. A name that is taken stays with its first owner.
        group: The entry-point group.

    Returns:
        The distribution ("name version") of each name that a plugin brought.
    """
    origins: dict[str, str] = {}
    # Sorted, so that of two plugins that want one name the same one wins everywhere.
    found = sorted(importlib.metadata.entry_points(group=group), key=lambda e: (e.name, e.value))
    for entry in found:
        distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown origin"
        before = set(registry.known())
        try:
            loaded = entry.load()
            if not isinstance(loaded, types.ModuleType):
                registry.register(entry.name)(loaded)
        # A plugin is code of others and may fail in any way; whichever it is, the library goes on
        # without that plugin and says so.
        except (Exception, SystemExit) as error:
            warnings.warn(
                f"the {registry.kind} plugin {entry.name!r} of {distribution} ({entry.value}) is "
                f"left out: {type(error).__name__}: {error}",
                stacklevel=2,
            )
        origins.update(dict.fromkeys(set(registry.known()) - before, distribution))
    return origins
