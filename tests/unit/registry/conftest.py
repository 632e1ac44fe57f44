"""Packages made on the spot: a registry is tested on real imports and real entry points."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvlmsal.registry import Registry

BASE = """
    from dataclasses import dataclass
    from typing import ClassVar

    @dataclass
    class Tool:
        summary: ClassVar[str] = "a tool"
"""

HAMMER = """
    from dataclasses import dataclass
    from {package}.base import Tool
    from {package}.table import TOOLS

    @TOOLS.register("hammer", "mallet")
    @dataclass
    class Hammer(Tool):
        weight: float = 1.0
        colors: tuple[str, ...] = ()

        def __post_init__(self):
            if self.weight <= 0:
                raise ValueError(f"weight must be above 0, not {{self.weight}}")
"""

TABLE = """
    from lvlmsal.registry import Registry

    TOOLS = Registry(
        "tool",
        base="{package}.base:Tool",
        packages=("{package}.tools",),
        entry_points="{package}.tools",
    )
"""


class Workshop:
    """A folder on `sys.path` that holds a package with a registry of its own."""

    def __init__(self, root: Path, package: str) -> None:
        self.root = root
        self.package = package
        self.replaced = {"package": package}

    def write(self, path: str, content: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(content)
        for name, value in self.replaced.items():
            text = text.replace(f"{{{name}}}", value)
        file.write_text(text.replace("{{", "{").replace("}}", "}"))

    def tool(self, module: str, content: str) -> None:
        """Write a module of the built-in tools."""
        self.write(f"{self.package}/tools/{module}.py", content)

    def distribution(self, name: str, entry_points: dict[str, str]) -> None:
        """Announce entry points as an installed distribution does."""
        folder = f"{name.replace('-', '_')}-1.5.dist-info"
        self.write(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        lines = "\n".join(f"{key} = {value}" for key, value in entry_points.items())
        self.write(f"{folder}/entry_points.txt", f"[{self.package}.tools]\n{lines}\n")

    def registry(self) -> Registry[object]:
        """Import the registry, which imports none of the tools."""
        module = __import__(f"{self.package}.table", fromlist=["TOOLS"])
        registry: Registry[object] = module.TOOLS
        return registry


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """A package with the base class `Tool` and one built-in tool, `hammer`."""
    # A name of its own for each test: imported modules stay in sys.modules.
    made = Workshop(tmp_path, f"workshop_{tmp_path.name.replace('-', '_')}")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    made.write(f"{made.package}/__init__.py", "")
    made.write(f"{made.package}/base.py", BASE)
    made.write(f"{made.package}/table.py", TABLE)
    made.tool("__init__", "")
    made.tool("hammer", HAMMER)
    yield made
    for name in set(sys.modules) - before:
        if name.startswith((made.package, "outside")):
            del sys.modules[name]


@pytest.fixture
def outside(workshop: Workshop) -> Callable[[str, str], None]:
    """Write a module of another package that adds one tool `Saw`, by decorator or without."""

    def write(module: str, decorator: str = "") -> None:
        workshop.write(
            f"{module}.py",
            "from dataclasses import dataclass\n"
            "from {package}.base import Tool\n"
            "from {package}.table import TOOLS\n"
            f"{decorator}\n@dataclass\nclass Saw(Tool):\n    teeth: int = 30\n",
        )

    return write
