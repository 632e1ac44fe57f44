"""What users are told of registered classes. Run as a script: of all outlines, as JSON."""

from __future__ import annotations

import functools
import json
import sys
import types

from lvlmsal.cli.listing import REGISTRIES
from lvlmsal.registry import declared_options

HEAVY = (
    *("torch", "transformers", "lightning", "torchmetrics", "matplotlib", "scipy", "datasets"),
    *("numpy", "PIL"),
)

Facts = dict[str, dict[str, object]]


def facts(cls: type, *, with_options: bool) -> dict[str, object]:
    """Everything that a class of this package and its bases define, and its options."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("lvlmsal")]
    found: dict[str, object] = {"bases": [base.__qualname__ for base in bases]}
    for base in reversed(bases):
        for name, value in vars(base).items():
            if name == "__doc__" or not name.startswith(("__", "_abc_impl")):
                found[name] = shown(value)
    if hasattr(cls, "hooks"):
        found["hooks()"] = list(cls.hooks())
    if with_options:
        options = declared_options(cls).values()
        found["options"] = [[o.name, shown(o.hint), shown(o.default)] for o in options]
    return found


def shown(value: object) -> str:
    """A value as text; of a method only that it is one."""
    if isinstance(value, property | functools.cached_property):
        return "property"
    if isinstance(value, types.FunctionType | classmethod | staticmethod):
        return "method"
    return repr(value).replace(" [outline]", "")


def all_facts(*, outlines: bool) -> dict[str, Facts]:
    """Of every registry and name."""
    return {
        kind: {
            name: facts(
                registry.outline(name) if outlines else registry.get(name),
                with_options=kind != "adapters",
            )
            for name in registry
        }
        for kind, registry in REGISTRIES.items()
    }


if __name__ == "__main__":
    content = all_facts(outlines=True)
    print(json.dumps({"facts": content, "heavy": [n for n in HEAVY if n in sys.modules]}))
