"""Outlines: what is known of a class before its module is imported."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from lvlmsal.registry import declared_options
from lvlmsal.registry.outline import Placeholder, import_outline

from .facts import all_facts

if TYPE_CHECKING:
    from .conftest import Workshop


@pytest.fixture(scope="module")
def of_outlines() -> dict[str, Any]:
    """What another process says that has imported no component."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.unit.registry.facts"], capture_output=True, check=True
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_listing_every_component_imports_no_heavy_package(of_outlines: dict[str, Any]) -> None:
    assert of_outlines["heavy"] == []


def test_outlines_say_what_the_classes_say(of_outlines: dict[str, Any]) -> None:
    expected = json.loads(json.dumps(all_facts(outlines=False)))
    assert len(expected["benchmarks"]) > 10
    found = of_outlines["facts"]
    assert found.keys() == expected.keys()
    for kind, entries in expected.items():
        assert found[kind].keys() == entries.keys()
        for name, facts in entries.items():
            assert found[kind][name] == facts, f"the outline of {name} ({kind})"


@pytest.mark.slow
def test_one_component_imports_its_module_alone() -> None:
    text = (
        "import sys; from lvlmsal.registry import DECODERS, INTERVENTIONS; DECODERS.get('sgrs');"
        "print([n for n in sys.modules if n.startswith('lvlmsal.')])"
    )
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True)
    assert "'lvlmsal.decoders.sgrs.decoder'" in ran.stdout
    assert "lvlmsal.decoders.opera" not in ran.stdout
    assert "lvlmsal.interventions.locore" not in ran.stdout


def test_a_listing_imports_no_module_and_get_imports_one(workshop: Workshop) -> None:
    workshop.tool(
        "saw",
        "from {package}.base import Tool\nfrom {package}.table import TOOLS\n"
        "@TOOLS.register('saw')\nclass Saw(Tool): ...\n",
    )
    registry = workshop.registry()
    assert registry.names() == ["hammer", "mallet", "saw"]
    assert list(registry.options("hammer")) == ["weight", "colors"]
    assert registry.problems("hammer", {"wieght": 1}) != []
    assert registry.outline_problems("hammer", {"weight": -1}) == [
        "tool 'hammer': weight must be above 0, not -1.0"
    ]
    tools = f"{workshop.package}.tools"
    assert not {tools, f"{tools}.hammer", f"{tools}.saw"} & set(sys.modules)
    assert registry.get("hammer").__module__ == f"{tools}.hammer"
    assert registry.outline("hammer") is registry.get("hammer")
    assert f"{tools}.saw" not in sys.modules


NUMPY_SAW = """
    from dataclasses import dataclass
    import numpy as np
    from numpy import ndarray
    from {package}.base import Tool
    from {package}.table import TOOLS

    PI = np.float32(3.14)
    {line}

    @np.vectorize
    def double(x):
        return 2 * x

    @TOOLS.register("saw")
    @dataclass
    class Saw(Tool, np.random.Generator if False else object):
        teeth: {hint} = {default}

        def __post_init__(self):
            if np.abs(self.teeth) > 10:
                raise ValueError("more than ten teeth")
"""


def numpy_saw(workshop: Workshop, *, line: str = "", hint: str = "int", default: str = "5") -> None:
    for name, value in (("line", line), ("hint", hint), ("default", default)):
        workshop.replaced[name] = value
    workshop.tool("saw", NUMPY_SAW)


def test_what_other_packages_bring_is_a_placeholder(workshop: Workshop) -> None:
    numpy_saw(workshop)
    registry = workshop.registry()
    outline = registry.outline("saw")
    assert [str(option) for option in declared_options(outline).values()] == ["teeth=5"]
    module = import_outline(f"{workshop.package}.tools.saw")
    assert isinstance(module.PI, Placeholder)
    assert registry.get("saw") is not outline


def test_what_an_outline_cannot_compute_the_class_does(workshop: Workshop) -> None:
    numpy_saw(workshop)
    registry = workshop.registry()
    assert registry.outline_problems("saw", {"teeth": 11}) == []
    assert registry.problems("saw", {"teeth": 11}) == ["tool 'saw': more than ten teeth"]


@pytest.mark.parametrize("line", ["if PI > 3: pass", "for x in PI: pass", "if PI: pass", "1 + PI"])
def test_a_module_that_computes_with_a_placeholder_is_imported(
    workshop: Workshop, line: str
) -> None:
    numpy_saw(workshop, line=line.replace("for x in PI", "for x in np.arange(2)"))
    registry = workshop.registry()
    assert "saw" in registry
    assert f"{workshop.package}.tools.saw" in sys.modules
    assert f"{workshop.package}.tools.hammer" not in sys.modules


@pytest.mark.parametrize(("hint", "default"), [("ndarray | int", "5"), ("object", "np.float32(2)")])
def test_an_option_of_a_placeholder_is_read_from_the_class(
    workshop: Workshop, hint: str, default: str
) -> None:
    numpy_saw(workshop, hint=hint, default=default)
    registry = workshop.registry()
    assert registry.options("saw") == declared_options(registry.get("saw"))
    assert "placeholder" not in repr(registry.options("saw"))


def test_a_package_that_is_missing_is_missing_in_outlines(workshop: Workshop) -> None:
    workshop.tool(
        "saw",
        "try:\n    import no_such_module_at_all\nexcept ImportError:\n    HAS = False\n",
    )
    workshop.registry().names()
    assert import_outline(f"{workshop.package}.tools.saw").HAS is False


def test_a_warning_of_a_module_comes_once_with_the_module(workshop: Workshop) -> None:
    workshop.tool(
        "saw",
        "import warnings\nfrom {package}.base import Tool\nfrom {package}.table import TOOLS\n"
        "warnings.warn('sharp')\n@TOOLS.register('saw')\nclass Saw(Tool): ...\n",
    )
    registry = workshop.registry()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.names()
    with pytest.warns(UserWarning, match="sharp") as caught:
        registry.get("saw")
    assert len(caught) == 1
