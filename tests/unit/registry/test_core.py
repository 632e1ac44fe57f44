"""The registry on real packages: discovery, conflicts, lookups, threads."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.registry import CheckpointCard, options_of

if TYPE_CHECKING:
    from .conftest import Workshop


def test_one_file_with_one_decorator_is_found(workshop: Workshop) -> None:
    registry = workshop.registry()
    assert f"{workshop.package}.tools.hammer" not in sys.modules
    cls = registry.get("hammer")
    assert cls.__module__ == f"{workshop.package}.tools.hammer"
    assert cls is registry.get("mallet")
    assert cls.name == "hammer"  # the first name, also for the alias


def test_private_modules_are_left_alone(workshop: Workshop) -> None:
    workshop.tool("_draft", "raise RuntimeError('imported')")
    assert workshop.registry().names() == ["hammer", "mallet"]


def test_subpackages_are_scanned(workshop: Workshop) -> None:
    workshop.tool(
        "saws/__init__",
        "from {package}.base import Tool\nfrom {package}.table import TOOLS\n"
        "@TOOLS.register('saw')\nclass Saw(Tool): ...\n",
    )
    assert "saw" in workshop.registry()


def test_broken_builtin_raises_each_time(workshop: Workshop) -> None:
    workshop.tool("saw", "import no_such_module_at_all")
    registry = workshop.registry()
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
            registry.names()


def test_a_module_may_list_names_while_it_is_scanned(workshop: Workshop) -> None:
    workshop.tool("curious", "from {package}.table import TOOLS\nSEEN = TOOLS.names()")
    assert workshop.registry().names() == ["hammer", "mallet"]


def test_lazy_target_is_imported_when_asked_for(
    workshop: Workshop, outside: Callable[..., None]
) -> None:
    outside("outside_lazy")
    registry = workshop.registry()
    registry.register("saw", target="outside_lazy:Saw")
    assert "saw" in registry.names()
    assert "outside_lazy" not in sys.modules
    assert registry.get("saw") is sys.modules["outside_lazy"].Saw
    assert registry.get("saw").name == "saw"


def test_lazy_target_of_another_kind_is_refused(workshop: Workshop) -> None:
    registry = workshop.registry()
    registry.register("path", target="pathlib:Path")
    with pytest.raises(ConfigError, match=r"pathlib.*is not a tool.*derive from .*base:Tool"):
        registry.get("path")


def test_duplicate_names_both_origins(workshop: Workshop, outside: Callable[..., None]) -> None:
    outside("outside_twice", '@TOOLS.register("hammer")')
    with pytest.raises(ValueError, match="'hammer' is already registered") as caught:
        importlib.import_module("outside_twice")
    assert f"{workshop.package}.tools.hammer:Hammer" in str(caught.value)
    assert "outside_twice:Saw" in str(caught.value)


def test_conflicting_alias_registers_nothing(
    workshop: Workshop, outside: Callable[..., None]
) -> None:
    outside("outside_half", '@TOOLS.register("saw", "hammer")')
    with pytest.raises(ValueError, match="'hammer' is already registered"):
        importlib.import_module("outside_half")
    assert "saw" not in workshop.registry()


def test_an_outsider_that_comes_first_cannot_take_a_builtin_name(
    workshop: Workshop, outside: Callable[..., None]
) -> None:
    # Nothing has been looked up: the built-in module is not imported yet.
    outside("outside_early", '@TOOLS.register("mallet")')
    with pytest.raises(ValueError, match="'mallet' is already registered"):
        importlib.import_module("outside_early")
    assert workshop.registry().get("mallet").__qualname__ == "Hammer"


def test_reloading_a_module_replaces_its_own_class(workshop: Workshop) -> None:
    registry = workshop.registry()
    first = registry.get("hammer")
    module = importlib.reload(sys.modules[first.__module__])
    assert registry.get("hammer") is module.Hammer
    assert registry.get("hammer") is not first


def test_unknown_name_suggests_and_lists(workshop: Workshop) -> None:
    with pytest.raises(UnknownName) as caught:
        workshop.registry().get("hamer")
    assert str(caught.value) == (
        "unknown tool 'hamer'. Did you mean 'hammer'? Known: hammer, mallet"
    )
    assert isinstance(caught.value, KeyError)


def test_the_read_side_is_a_mapping_of_names(workshop: Workshop) -> None:
    registry = workshop.registry()
    assert registry.names("ham*") == ["hammer"]
    assert list(registry) == ["hammer", "mallet"]
    assert len(registry) == 2
    assert "saw" not in registry
    assert 3 not in registry
    assert registry.origin("mallet") == f"{workshop.package}.tools.hammer:Hammer"
    assert [str(option) for option in registry.options("hammer").values()] == [
        "weight=1.0",
        "colors=()",
    ]


def test_showing_a_registry_imports_nothing(workshop: Workshop) -> None:
    registry = workshop.registry()
    assert "nothing imported yet" in repr(registry)
    assert f"{workshop.package}.tools" not in sys.modules
    registry.discover()
    assert repr(registry) == "<Registry of tools: hammer, mallet>"


@pytest.mark.parametrize("name", ["", "two words", "tab\t"])
def test_impossible_names_are_refused(workshop: Workshop, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name"):
        workshop.registry().register(name)
    with pytest.raises(ValueError, match="at least one name"):
        workshop.registry().register()


def test_a_class_registered_below_dataclass_is_refused(workshop: Workshop) -> None:
    # Its field would be no option, and every option of a configuration "unknown".
    workshop.tool(
        "saw",
        "from dataclasses import dataclass\nfrom {package}.base import Tool\n"
        "from {package}.table import TOOLS\n"
        "@dataclass\n@TOOLS.register('saw')\nclass Saw(Tool):\n    teeth: int = 30\n",
    )
    with pytest.raises(TypeError, match="above @dataclass"):
        workshop.registry().names()


@pytest.mark.parametrize("summary", ["''", "None", "'two\\nlines'"])
def test_a_class_without_summary_is_refused(workshop: Workshop, summary: str) -> None:
    workshop.tool(
        "saw",
        "from {package}.base import Tool\nfrom {package}.table import TOOLS\n"
        f"@TOOLS.register('saw')\nclass Saw(Tool):\n    summary = {summary}\n",
    )
    with pytest.raises(TypeError, match="Saw needs a class attribute `summary`"):
        workshop.registry().names()


def test_build_binds_and_remembers(workshop: Workshop) -> None:
    registry = workshop.registry()
    hammer = registry.build("mallet", weight=2, colors=["red"])
    assert vars(hammer) == {"weight": 2.0, "colors": ("red",)}
    again = registry.build(hammer.name, **options_of(hammer))
    assert again == hammer


def test_build_reports_all_mistakes_at_once(workshop: Workshop) -> None:
    with pytest.raises(ConfigError) as caught:
        workshop.registry().build("hammer", wieght=1, weight="heavy", colors="red")
    assert caught.value.problems == [
        "tool 'hammer': unknown option 'wieght'. Did you mean 'weight'? Options: weight, colors",
        "tool 'hammer': option 'weight' must be a number, not the text 'heavy'",
        "tool 'hammer': option 'colors' must be a list of texts, not the text 'red'",
    ]


def test_what_the_class_refuses_is_a_problem_too(workshop: Workshop) -> None:
    registry = workshop.registry()
    expected = ["tool 'hammer': weight must be above 0, not -1.0"]
    assert registry.problems("hammer", {"weight": -1}) == expected
    assert registry.problems("hammer", {"weight": 1}) == []
    with pytest.raises(ConfigError) as caught:
        registry.build("hammer", weight=-1)
    assert caught.value.problems == expected


def test_an_unknown_name_is_a_problem(workshop: Workshop) -> None:
    problems = workshop.registry().problems("hamer", {"weight": 1})
    assert len(problems) == 1
    assert "Did you mean 'hammer'?" in problems[0]


def test_many_threads_may_be_the_first(workshop: Workshop) -> None:
    workshop.tool(
        "slow",
        "import time, sys\nfrom {package}.base import Tool\nfrom {package}.table import TOOLS\n"
        "package = sys.modules['{package}']\n"
        "package.runs = [*getattr(package, 'runs', []), __name__]\n"
        "time.sleep(0.05)\n@TOOLS.register('slow')\nclass Slow(Tool): ...\n",
    )
    registry = workshop.registry()
    barrier = threading.Barrier(16)

    def look_up(index: int) -> object:
        barrier.wait(10)
        return registry.get("slow") if index % 2 else registry.names()

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(look_up, range(16)))
    assert len(set(found[1::2])) == 1
    assert all(names == ["hammer", "mallet", "slow"] for names in found[::2])
    # once as an outline, once as it is
    assert sys.modules[workshop.package].runs == [
        f"{workshop.package} [outline].tools.slow",
        f"{workshop.package}.tools.slow",
    ]


def test_registering_while_another_thread_scans_does_not_hang(
    workshop: Workshop, outside: Callable[..., None]
) -> None:
    # A scans; the module it is importing waits until B has begun to register its own class.
    workshop.tool(
        "waiting",
        "import sys, threading\nsys.modules['{package}'].begun.set()\n"
        "sys.modules['{package}'].go_on.wait(10)\n",
    )
    outside("outside_thread", '@TOOLS.register("saw")')
    registry = workshop.registry()
    package = sys.modules[workshop.package]
    package.begun, package.go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        scan = pool.submit(registry.names)
        assert package.begun.wait(10)
        other = pool.submit(importlib.import_module, "outside_thread")
        package.go_on.set()
        scan.result(10)
        other.result(10)
    assert registry.names() == ["hammer", "mallet", "saw"]


SAW = """
    from dataclasses import dataclass
    from {package}.base import Tool
    from {package}.table import TOOLS

    @TOOLS.register("saw")
    @dataclass
    class Saw(Tool):
        teeth: int = 5
        length: int = 10
        model_defaults = {{"oak-*": {{"teeth": 7, "length": 20}}, "oak-old": {{"teeth": 8}}}}
"""


@pytest.mark.parametrize(
    ("checkpoint", "of_card", "expected"),
    [
        ("pine", {}, {}),
        ("oak-new", {}, {"teeth": 7, "length": 20}),
        ("oak-old", {}, {"teeth": 8, "length": 20}),  # a later pattern stands above an earlier one
        ("oak-new", {"saw": {"teeth": 9}, "hammer": {"weight": 2.0}}, {"teeth": 9, "length": 20}),
    ],
)
def test_a_checkpoint_sets_options(
    workshop: Workshop,
    checkpoint: str,
    of_card: dict[str, dict[str, object]],
    expected: dict[str, int],
) -> None:
    workshop.tool("saw", SAW)
    card = CheckpointCard(checkpoint, "-", "-", "-", hub_id="a/b", defaults=of_card)
    assert workshop.registry().defaults("saw", card) == expected


def test_who_is_unknown_sets_nothing(workshop: Workshop) -> None:
    card = CheckpointCard("oak-new", "-", "-", "-", hub_id="a/b")
    assert workshop.registry().defaults("saw", card) == {}
    assert workshop.registry().defaults("hammer", None) == {}
