"""Options: what a class declares, what fits, and that every mistake is reported."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given

from lvlmsal.registry.fitting import describe, fit
from lvlmsal.registry.options import bind, declared_options, options_of

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Base:
    summary: ClassVar[str] = "not an option"
    rate: float = 0.5


@dataclass
class Method(Base):
    mode: Literal["weights", "scores"] = "weights"
    layers: list[int] | str | None = None
    window: int | None = 10
    size: tuple[int, int] = (1, 2)
    words: tuple[str, ...] = ()
    extra: dict[str, float] = field(default_factory=dict)
    on: bool = True
    root: Path = Path("data")
    state: int = field(default=0, init=False)


class Plain:
    """Not a dataclass: the arguments of __init__ are the options."""

    def __init__(self, parser: str, *, limit: int | None = None, **kwargs: Any) -> None:
        self.parser = parser
        self.limit = limit


def test_declared_options_are_the_constructors() -> None:
    options = declared_options(Method)
    names = [field.name for field in fields(Method) if field.init]
    assert list(options) == names
    assert len(names) == 9  # neither the ClassVar nor the field that is not in the constructor
    assert options["layers"].hint == list[int] | str | None
    assert options["extra"].default == {}
    assert [o.name for o in declared_options(Plain).values() if o.required] == ["parser"]
    assert list(declared_options(Plain)) == ["parser", "limit"]  # kwargs are no option


def test_inherited_fields_resolve_where_they_are_declared(tmp_path: Path) -> None:
    # `Sequence` and `Parent` are names of the parent's module only.
    (tmp_path / "parent_module.py").write_text(
        "from __future__ import annotations\nfrom collections.abc import Sequence as Many\n"
        "from dataclasses import dataclass\n@dataclass\nclass Parent:\n    rows: Many[int] = ()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        parent = __import__("parent_module").Parent
    child = dataclass(type("Child", (parent,), {"__module__": __name__}))
    assert declared_options(child)["rows"].hint == Sequence[int]


def test_init_var_is_an_option() -> None:
    @dataclass
    class Seeded:
        seed: InitVar[int] = 0

    assert bind(Seeded, {"seed": "1"})[1] == [
        "option 'seed' must be a whole number, not the text '1'"
    ]


@dataclass
class OnlyForCheckers:
    price: Decimal | None = None


def test_an_unresolvable_annotation_is_the_authors_error() -> None:
    with pytest.raises(TypeError, match=r"'price' of .*OnlyForCheckers.*Import what it names"):
        declared_options(OnlyForCheckers)


@pytest.mark.parametrize(
    ("value", "hint", "bound"),
    [
        (1, float, 1.0),
        (1, float | int, 1),
        (1.5, int | float | None, 1.5),
        (None, int | None, None),
        (True, bool, True),
        ("a", str, "a"),
        ("scores", Literal["weights", "scores"], "scores"),
        ([1, 2], list[int], [1, 2]),
        ((1, 2), list[int], [1, 2]),
        ([1, 2], tuple[int, int], (1, 2)),
        ([1, 2, 3], tuple[float, ...], (1.0, 2.0, 3.0)),
        ([], tuple[str, ...], ()),
        ("0.5:1.0", list[int] | str | None, "0.5:1.0"),
        ([3], list[int] | str | None, [3]),
        ([[1, 2], [3]], list[list[int]], [[1, 2], [3]]),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": [1]}, Mapping[str, Sequence[int]], {"a": [1]}),
        (["a", "b"], frozenset[str], frozenset("ab")),
        ("x/y", Path, Path("x/y")),
        (["a"], list, ["a"]),
        ({"any": object}, Any, {"any": object}),
        (len, object, len),
    ],
)
def test_fitting_values(value: object, hint: Any, bound: object) -> None:
    fits, found = fit(value, hint)
    assert fits
    assert found == bound
    assert type(found) is type(bound)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (False, float),
        (True, int | None),
        (True, list[int] | str | None),
        (1, bool),
        (0, Literal[False]),
        (True, Literal[1]),
        (1.0, int),
        ("1", int),
        ("1.0", float),
        ("none", None),
        (None, int),
        (None, str),
        ("Weights", Literal["weights"]),
        ("abc", list[str]),
        ("abc", Sequence[str]),
        ("ab", tuple[str, str]),
        ([1, "2"], list[int]),
        ([True], list[int]),
        ([1], tuple[int, int]),
        ([1, 2, 3], tuple[int, int]),
        ({"a": "1"}, dict[str, float]),
        ({1: 1.0}, dict[str, float]),
        ([("a", 1.0)], dict[str, float]),
        ({"a": 1}, list[str]),
        (3, Path),
    ],
)
def test_values_that_do_not_fit(value: object, hint: Any) -> None:
    assert fit(value, hint) == (False, fit(value, hint)[1])
    assert describe(hint)


_FITTING = {
    "rate": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-100, 100),
    "mode": st.sampled_from(["weights", "scores"]),
    "layers": st.none() | st.text() | st.lists(st.integers()),
    "window": st.none() | st.integers(),
    "size": st.lists(st.integers(), min_size=2, max_size=2),
    "words": st.lists(st.text()),
    "extra": st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    "on": st.booleans(),
    "root": st.text(alphabet="abc/", min_size=1),
}
_WRONG = {
    "rate": st.sampled_from(["0.5", None, True, [0.5]]),
    "mode": st.sampled_from(["Weights", 1, None, ["weights"]]),
    "layers": st.sampled_from([3, True, ["3"], {"a": 1}, 0.5]),
    "window": st.sampled_from([1.5, True, "3", math.inf]),
    "size": st.sampled_from([[1], [1, 2, 3], "12", 3, [1.0, 2]]),
    "words": st.sampled_from(["word", [1], None]),
    "extra": st.sampled_from([[], {"a": "b"}, None, "a"]),
    "on": st.sampled_from([1, "true", None]),
    "root": st.sampled_from([1, None, ["data"]]),
}


@given(st.fixed_dictionaries({}, optional=_FITTING))
def test_fitting_options_build_and_come_back(values: dict[str, Any]) -> None:
    bound, problems = bind(Method, values)
    assert problems == []
    assert set(bound) == set(values)
    built = Method(**bound)
    written = options_of(built)
    # What a run's record holds, in JSON or YAML, builds an equal object again.
    for reread in (json.loads(json.dumps(written)), yaml.safe_load(yaml.safe_dump(written))):
        again, problems = bind(Method, reread)
        assert problems == []
        assert Method(**again) == built


@given(
    st.fixed_dictionaries({}, optional=_WRONG),
    st.fixed_dictionaries({}, optional=_FITTING),
    st.sets(st.sampled_from(["lyers", "Rate", "state", "summary", "x y"])),
)
def test_every_mistake_is_reported_once(
    wrong: dict[str, Any], right: dict[str, Any], unknown: set[str]
) -> None:
    given_options = {**right, **wrong, **dict.fromkeys(unknown, 1)}
    bound, problems = bind(Method, given_options)
    assert len(problems) == len(wrong) + len(unknown)
    for name in {*wrong, *unknown}:
        assert sum(f"option {name!r}" in problem for problem in problems) == 1
    assert not set(bound) & {*wrong, *unknown}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    )
)
def test_no_value_from_yaml_breaks_the_check(value: object) -> None:
    for option in declared_options(Method).values():
        _, problems = bind(Method, {option.name: value})
        assert all(option.name in problem for problem in problems)


def test_missing_options_are_named_with_what_they_should_be() -> None:
    assert bind(Plain, {"limit": 3})[1] == ["option 'parser' is missing: it must be text"]


def test_options_of_a_plain_class() -> None:
    assert options_of(Plain("strict", limit=2)) == {"parser": "strict", "limit": 2}


def test_an_option_that_is_not_kept_cannot_be_recorded() -> None:
    class Forgetful:
        def __init__(self, parser: str) -> None:
            pass

    with pytest.raises(TypeError, match=r"takes the option 'parser' and does not keep it"):
        options_of(Forgetful("strict"))


def test_an_option_that_is_no_plain_value_cannot_be_recorded() -> None:
    with pytest.raises(TypeError, match="'parser' holds a function"):
        options_of(Plain(lambda: None))  # type: ignore[arg-type]  # the point of the test


def test_long_values_are_cut_in_messages() -> None:
    (problem,) = bind(Method, {"rate": "x" * 10_000})[1]
    assert len(problem) < 120
