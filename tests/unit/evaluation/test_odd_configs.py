"""Whatever stands in a config, what comes back is a message."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlmsal.errors import ConfigError, LvlmsalError
from lvlmsal.evaluation.config.plan import read_draft
from lvlmsal.evaluation.config.plugins import import_plugins
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.source import load_content

WHOLE: dict[str, Any] = {
    "output": "runs/x",
    "models": [{"source": "pocket-llava", "name": "m"}],
    "methods": [
        {
            "name": "g",
            "decoder": {"name": "sgrs", "alpha": 0.5},
            "interventions": [{"name": "locore", "beta": 0.1}],
        }
    ],
    "benchmarks": [{"name": "pope", "root": "nowhere", "limit": 2}],
    "seed": 0,
    "seeds": [1],
    "trainer": {"devices": 1},
    "bootstrap": {"samples": 100},
    "judge": {"model": "m", "options": {"a": 1}},
    "paper": {
        "source": "s",
        "table": "t",
        "rows": [{"method": "g", "benchmarks": ["pope/random"], "figures": {"accuracy": 1.0}}],
    },
    "world": {"root": "nowhere", "images": 3},
    "data": {"root": "x"},
    "plugins": [],
    "logger": "csv",
}


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"a": tree}
    return tree


SMALL = [None, True, -1, 0, 1.5, "", "greedy", "locore", "pope", "???", "${x}", "${methods}"]
LARGE = [10**30, float("inf"), float("nan"), "\0", "\ud800", "x" * 5000, b"x", object()]
LEAVES = st.sampled_from([*SMALL, *LARGE])
KEYS = st.sampled_from(["name", "source", "decoder", "interventions", "root", "a", "", 1, None])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
) | st.builds(nested, st.just(2000))


def places(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, entry in entries:
        if isinstance(entry, dict | list):
            yield from places(entry, (*place, key))
        else:
            yield (*place, key)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(list(places(WHOLE))), TREES)
def test_odd_values_are_told_in_one_message(place: tuple[Any, ...], value: Any) -> None:
    content = copy.deepcopy(WHOLE)
    node: Any = content
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    try:
        problems = read_draft(content).problems
    except LvlmsalError as error:
        problems = [str(error)]
    assert all(isinstance(text, str) and len(text) < 20_000 for text in problems)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"decoder": ["greedy"]}, r"methods\[0\].decoder: expected keys and values, got \['gre"),
        ({"seeds": {"a": 1}}, r"seeds: expected a list, got \{'a': 1\}"),
        ({"models": 3}, "models: expected a list, got 3"),
        ({"seed": 10**30}, "seed: a number beyond 9223372036854775807"),
        ({"seed": 10**5000}, "seed: a number beyond"),
        ({"judge": nested(3000)}, "nested more deeply than 40 levels"),
        ({"output": "x" * 5000}, "output: has 5000 characters"),
        ({"output": "a\0b"}, "output: holds a NUL"),
        ({"models": ["x" * 5000]}, "the source has 5000 characters"),
        ({"bootstrap": {"samples": float("nan")}}, r"samples: not a number \(nan\)"),
        ({"data": {"root": "${data.root}"}}, "Recursive interpolation"),
    ],
    ids=[str(number) for number in range(11)],
)
def test_odd_values_by_name(wrong: dict[str, Any], words: str) -> None:
    own = {k: v for k, v in WHOLE.items() if not (k == "methods" and "decoder" in wrong)}
    try:
        problems = read_draft({**own, **wrong}).problems
    except ConfigError as error:
        problems = error.problems
    assert any(re.search(words, text) for text in problems), problems


@pytest.mark.parametrize(
    "text",
    ["seed: " + "9" * 5000, "{a: " * 3000 + "1" + "}" * 3000, "&a [*a]", "a: &b {c: *b}", "[1"],
    ids=["digits", "deep", "itself", "inside itself", "cut"],
)
def test_odd_yaml_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError):
        read_config(tmp_path / "c.yaml")


def test_text_that_is_no_path_is_told() -> None:
    with pytest.raises(ConfigError, match="expected a file or the name of a packaged config"):
        load_content("models: [x]\n" * 500)


def test_one_stands_for_a_list_of_one() -> None:
    config, problems, _ = read_config(
        {
            "output": "runs/x",
            "models": "pocket-llava",
            "methods": {"decoder": "greedy", "interventions": {"name": "locore", "beta": 0.1}},
            "benchmarks": {"name": "pope", "root": "r"},
            "plugins": "os.path",
        }
    )
    assert problems == []
    assert [model.source for model in config.models] == ["pocket-llava"]
    assert config.methods[0].interventions == [{"name": "locore", "beta": 0.1}]
    assert config.methods[0].name == "greedy + locore"
    assert config.plugins == ["os.path"]
    short, problems, _ = read_config(
        {**WHOLE, "methods": ["sgrs"], "benchmarks": "pope"}, ["interventions=locore"]
    )
    assert problems == []
    assert short.methods[0].interventions == [{"name": "locore"}]


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "1 / 0", "import nosuchmodule_x", "x ="])
def test_a_plugin_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    (tmp_path / "odd_plugin_of_the_test.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    (text,) = import_plugins(["odd_plugin_of_the_test"])
    sys.modules.pop("odd_plugin_of_the_test", None)
    assert "the module 'odd_plugin_of_the_test' cannot be imported" in text


@pytest.mark.parametrize("name", ["", ".", "..x", "a b"])
def test_a_plugin_that_is_no_name_is_told(name: str) -> None:
    assert len(import_plugins([name])) == 1
