"""Who gives to whom in a grid, against a grid worked by hand and against the rule spelt out."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.interventions.scr.patches import Grid, spread

FIVE = torch.tensor(
    [
        [9.0, 0.0, 0.0, 0.0, 8.0],
        [0.0, 1.0, 2.0, 0.0, 0.0],
        [7.0, 0.0, 6.0, 5.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 3.0, 0.0],
    ]
).flatten()


def test_a_grid_worked_by_hand() -> None:
    # the border's 9, 8, 7 and 3 are not sources; 12 is the center, 13 stands at its right
    found = spread(FIVE, Grid(5, 5), 2)
    assert found.sources == [12, 13]
    of_first = [6, 7, 8, 11, 16, 17, 18]
    of_second = [9, 14, 19]  # 7, 8, 17 and 18 belong to 12, which is attended to more
    expected = [(patch, 12) for patch in of_first] + [(patch, 13) for patch in of_second]
    assert sorted(found.pairs) == sorted(expected)


def test_patches_on_the_border_give_if_they_may() -> None:
    found = spread(FIVE, Grid(5, 5), 3, exclude_border=False)
    assert found.sources == [0, 4, 10]
    takers = {0: [1, 5, 6], 4: [3, 8, 9], 10: [11, 15, 16]}  # 5 and 6 belong to 0, not to 10
    expected = {(taker, giver) for giver, mine in takers.items() for taker in mine}
    assert set(found.pairs) == expected
    assert len(found.pairs) == len(expected)


def test_the_third_source_takes_from_neither_of_its_neighbors() -> None:
    found = spread(FIVE, Grid(5, 5), 3)
    assert found.sources == [12, 13, 7]
    assert sorted(taker for taker, giver in found.pairs if giver == 7) == [1, 2, 3]


def test_frames_and_tiles_are_grids_of_their_own() -> None:
    attention = torch.zeros(18)
    attention[4], attention[7], attention[10] = 2.0, 9.0, 5.0
    stacked = spread(attention, Grid(6, 3, panels=2), 3)
    # 4 and 13 are the only inner patches; 7 and 10 stand where the two frames meet
    assert stacked.sources == [4, 13]
    assert sorted(stacked.pairs) == [(n, 4) for n in (0, 1, 2, 3, 5, 6, 7, 8)] + [
        (n, 13) for n in (9, 10, 11, 12, 14, 15, 16, 17)
    ]
    assert spread(attention, Grid(6, 3), 1).sources == [7]


def test_a_grid_without_an_inner_patch_has_no_source() -> None:
    for grid in (Grid(2, 2), Grid(1, 7), Grid(7, 2), Grid(4, 3, panels=2)):
        attention = torch.arange(float(grid.rows * grid.columns))
        assert spread(attention, grid, 32).sources == []
        assert spread(attention, grid, 32).pairs == []


def test_a_grid_of_nothing_but_sources_has_nobody_to_take() -> None:
    found = spread(torch.tensor([1.0, 3.0, 2.0, 2.0]), Grid(2, 2), 32, exclude_border=False)
    assert found.sources == [1, 2, 3, 0]
    assert found.pairs == []


@given(
    panels=st.integers(1, 3),
    height=st.integers(1, 5),
    columns=st.integers(1, 5),
    k=st.integers(1, 12),
    exclude=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_the_rule_patch_by_patch(
    panels: int, height: int, columns: int, k: int, exclude: bool, seed: int
) -> None:
    count = panels * height * columns
    attention = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).float()
    found = spread(attention, Grid(panels * height, columns, panels), k, exclude_border=exclude)

    def place(patch: int) -> tuple[int, int, int]:
        return (
            patch // (height * columns),
            patch % (height * columns) // columns,
            patch % columns,
        )

    def touches(one: int, other: int) -> bool:
        (a, b, c), (x, y, z) = place(one), place(other)
        return a == x and one != other and abs(b - y) <= 1 and abs(c - z) <= 1

    def inner(patch: int) -> bool:
        _, row, column = place(patch)
        return 0 < row < height - 1 and 0 < column < columns - 1

    may = [patch for patch in range(count) if inner(patch) or not exclude]
    wanted = sorted(may, key=lambda patch: -float(attention[patch]))[:k]
    assert found.sources == wanted
    expected = {}
    for patch in range(count):
        givers = [source for source in wanted if touches(patch, source)]
        if patch not in wanted and givers:
            expected[patch] = max(givers, key=lambda source: float(attention[source]))
    assert dict(found.pairs) == expected
    assert len(found.pairs) == len(expected)
