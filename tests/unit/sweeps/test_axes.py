"""Grids: which methods their points become."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.evaluation.config.schema import MethodConfig
from lvlmsal.registry import CATALOG, DECODERS, options_of
from lvlmsal.sweeps.axes import expand

pytestmark = pytest.mark.slow

START = MethodConfig("both", {"name": "sgrs", "k": 4}, [{"name": "locore"}])

VALUES: dict[str, list[Any]] = {
    "sgrs.alpha": [0, 0.3, 0.6, 0.9],
    "sgrs.k": [2, 4, 8],
    "sgrs.layers": ["0.5:1.0", [0, 1], None],
    "locore.beta": [0, 0.15, -0.5],
    "locore.context": ["after_image", "output"],
}
SPECS = st.dictionaries(st.sampled_from(sorted(VALUES)), st.none(), min_size=1, max_size=3).flatmap(
    lambda axes: st.fixed_dictionaries(
        {
            axis: st.lists(st.sampled_from(VALUES[axis]), min_size=1, max_size=3, unique_by=str)
            for axis in axes
        }
    )
)


def settings(method: dict[str, Any]) -> dict[str, Any]:
    """The options of a method as its components come to hold them, by axis."""
    (edit,) = method["interventions"]
    found = {}
    for entry, cls in ((method["decoder"], SGRS), (edit, None)):
        given_options = {key: value for key, value in entry.items() if key != "name"}
        if cls is not None:
            built = options_of(DECODERS.build("sgrs", **given_options))
        else:
            built = {"beta": 0.15, "context": "after_image", **given_options}
        found.update({f"{entry['name']}.{key}": value for key, value in built.items()})
    return found


@given(st.lists(SPECS, min_size=1, max_size=4))
def test_every_combination_has_its_method(specs: list[dict[str, list[Any]]]) -> None:
    found = expand(START, specs, [None])
    assert found.problems == []
    seen: dict[str, dict[str, Any]] = {}
    for spec, grid in zip(specs, found.grids, strict=True):
        assert grid.axes == tuple(spec)
        assert [point.values for point in grid.points] == list(itertools.product(*spec.values()))
        for point in grid.points:
            expected = {
                **settings({"decoder": START.decoder, "interventions": START.interventions}),
                **dict(zip(grid.axes, point.values, strict=True)),
            }
            assert settings(found.methods[point.method]) == expected
            seen[point.method] = expected
    # a name is a setting: none is answered twice, and none stands for two
    assert seen.keys() == found.methods.keys()
    assert len({str(sorted(entry.items(), key=str)) for entry in seen.values()}) == len(seen)


@given(st.lists(SPECS, min_size=1, max_size=4), st.randoms())
def test_names_do_not_hang_on_the_order_of_grids_and_axes(
    specs: list[dict[str, list[Any]]], random: Any
) -> None:
    shuffled = [dict(random.sample(list(spec.items()), len(spec))) for spec in specs]
    random.shuffle(shuffled)
    assert expand(START, shuffled, [None]).methods == expand(START, specs, [None]).methods


def test_the_start_is_left_alone() -> None:
    before = repr(START)
    found = expand(START, [{"sgrs.alpha": [0.6, 0.9], "locore.beta": [1.0]}], [None])
    assert repr(START) == before
    assert found.methods["locore.beta=1"]["decoder"] == {"name": "sgrs", "k": 4}


def test_a_point_is_the_start_only_where_every_checkpoint_agrees() -> None:
    cards = [CATALOG.get("llava-1.5-7b"), CATALOG.get("qwen2-vl-7b")]
    assert [card.defaults["locore"]["beta"] for card in cards] == [0.15, 0.2]
    grid = [{"locore.beta": [0.15, 0.2]}]
    assert list(expand(START, grid, cards[:1]).methods) == ["both", "locore.beta=0.2"]
    assert list(expand(START, grid, cards[1:]).methods) == ["locore.beta=0.15", "both"]
    assert list(expand(START, grid, cards).methods) == ["locore.beta=0.15", "locore.beta=0.2"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"sgsr.alpha": [1]},
            "sweep.grids[0].sgsr.alpha: sweep.method has no component 'sgsr'. Di",
        ),
        ({"alpha": [1]}, "no component ''"),
        ({"sgrs.alfa": [1]}, "Did you mean 'alpha'"),
        ({"sgrs.alpha": 1}, "expected a list of values, got 1"),
        ({"sgrs.alpha": []}, "expected a list of values, got []"),
        ({"sgrs.alpha": [1, 1.0]}, "holds 1 twice"),
        ({"sgrs.alpha": [0.5, -1]}, "alpha must be at least 0 (nothing is rejected), got -1.0"),
        ({"sgrs.k": ["many"]}, "must be a whole number"),
        ({"sgrs.norm": ["matrix"]}, "norm"),
        ({"locore.layers": ["deep"]}, "layers='deep' is not understood"),
    ],
)
def test_what_is_wrong_with_an_axis_is_told(spec: dict[str, Any], words: str) -> None:
    found = expand(START, [spec, {"sgrs.k": [0]}], [None, None])
    assert words in found.problems[0]
    # the next grid is looked at all the same, and a problem of two checkpoints is told once
    assert sum("k must be at least 1, got 0" in problem for problem in found.problems) == 1


def test_an_axis_of_two_equal_components_is_ambiguous() -> None:
    start = MethodConfig("x", {"name": "greedy"}, [{"name": "locore"}, {"name": "locore"}])
    (problem,) = expand(start, [{"locore.beta": [1]}], [None]).problems
    assert "2 components 'locore'" in problem
