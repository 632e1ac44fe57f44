"""Entry points of installed distributions, read by importlib.metadata as they are in real life."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Workshop

Write = Callable[..., None]


def test_a_class_is_registered_under_the_name_of_its_entry_point(
    workshop: Workshop, outside: Write
) -> None:
    outside("outside_plain")
    workshop.distribution("saw-maker", {"saw": "outside_plain:Saw"})
    registry = workshop.registry()
    assert registry.get("saw").name == "saw"
    assert registry.origin("saw") == "outside_plain:Saw (saw-maker 1.5)"
    assert registry.build("saw", teeth=8).teeth == 8


def test_a_module_registers_by_its_own_decorators(workshop: Workshop, outside: Write) -> None:
    outside("outside_module", '@TOOLS.register("saw", "jigsaw")')
    workshop.distribution("saw-maker", {"anything": "outside_module"})
    registry = workshop.registry()
    assert registry.names() == ["hammer", "jigsaw", "mallet", "saw"]
    assert "saw-maker 1.5" in registry.origin("jigsaw")


def test_a_decorated_class_may_also_be_its_entry_point(workshop: Workshop, outside: Write) -> None:
    outside("outside_both", '@TOOLS.register("saw")')
    workshop.distribution("saw-maker", {"saw": "outside_both:Saw"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "saw" in workshop.registry()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("raise OSError('no disk')", "OSError: no disk"),
        ("raise SystemExit('wrong machine')", "SystemExit: wrong machine"),
        ("def broken(:", "SyntaxError"),
        ("class Saw: ...", "is not a tool: it must derive from"),
        ("Sax = 1", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_named_and_left_out(
    workshop: Workshop, outside: Write, content: str, reason: str
) -> None:
    outside("outside_good")
    workshop.write("outside_broken.py", content)
    workshop.distribution("bad-maker", {"bad": "outside_broken:Saw"})
    workshop.distribution("saw-maker", {"saw": "outside_good:Saw"})
    registry = workshop.registry()
    with pytest.warns(UserWarning, match="'bad' of bad-maker 1.5") as caught:
        assert registry.names() == ["hammer", "mallet", "saw"]
    assert reason in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.names()  # said once


def test_a_plugin_cannot_replace_a_builtin(workshop: Workshop, outside: Write) -> None:
    outside("outside_greedy")
    workshop.distribution("saw-maker", {"hammer": "outside_greedy:Saw"})
    registry = workshop.registry()
    with pytest.warns(
        UserWarning, match=r"'hammer' of saw-maker 1\.5 .* left out.*is already registered"
    ):
        registry.discover()
    assert registry.get("hammer").__qualname__ == "Hammer"
    assert registry.get("hammer").name == "hammer"


def test_of_two_plugins_with_one_name_the_same_one_wins(workshop: Workshop, outside: Write) -> None:
    outside("outside_b")
    outside("outside_a")
    workshop.distribution("z-maker", {"saw": "outside_a:Saw"})
    workshop.distribution("a-maker", {"saw": "outside_b:Saw"})
    registry = workshop.registry()
    with pytest.warns(UserWarning, match="'saw' of a-maker"):
        assert registry.origin("saw") == "outside_a:Saw (z-maker 1.5)"


def test_a_known_name_needs_no_plugins(workshop: Workshop) -> None:
    workshop.write("outside_never.py", "raise RuntimeError('imported')")
    workshop.distribution("bad-maker", {"bad": "outside_never:Saw"})
    registry = workshop.registry()
    __import__(f"{workshop.package}.tools.hammer")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.get("hammer")
