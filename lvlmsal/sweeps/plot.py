"""Pictures of a sweep: lines for one axis, heat maps for two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lvlmsal.colors import color as color_of
from lvlmsal.colors import ink_on
from lvlmsal.evaluation.results.schema import Results
from lvlmsal.metrics.columns import Column
from lvlmsal.saliency.plot import add_color_bar, as_text, color_map
from lvlmsal.sweeps.axes import Grid, shown
from lvlmsal.sweeps.table import Block, Measured, blocks, heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# can be distinguished without telling red from green
_COLORS = ("#4477aa", "#cc6677", "#117733", "#ddaa33", "#aa3377", "#66ccee")
_MARKERS = "osD^vP"

Value = Callable[[Measured], tuple[float | None, float | None, float | None]]
"""What a panel shows of a method: value, lower and upper bound."""


def plot_grid(
    grid: Grid, measured: Sequence[Measured], results: Results, *, start: str
) -> Figure | None:
    """Draw one grid: a panel for each figure, one for mean S where it is known, one for the time.

    Args:
        grid: The grid. One axis becomes lines, one a model, with their 95 % intervals (quartiles
            of the batches for the time); two become heat maps.
        measured: What was measured, for the methods of the grid at least.
        results: The content of ``results.json``, for the name of the baseline.
        start: Name of the method that the points change.

    Returns:
        The picture, or None for a grid of more than two axes, which only the tables show.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    found = blocks(measured)
    baseline = str(results["baseline"])
    if len(grid.axes) > 2:
        return None
    if len(grid.axes) == 1:
        benchmarks = list(dict.fromkeys(block.benchmark for block in found))
        rows = [[block for block in found if block.benchmark == name] for name in benchmarks]
    else:
        rows = [[block] for block in found]
    columns = max(len(_panels(row[0])) for row in rows)
    height = 2.7 if len(grid.axes) == 1 else 0.9 + 0.42 * len(_values(grid, 0))
    # a color bar belongs to the panel on its left
    width, gap = (2.7, 0.02) if len(grid.axes) == 1 else (3.5, 0.08)
    layout = ConstrainedLayoutEngine(wspace=gap)
    figure = Figure(figsize=(width * columns, height * len(rows) + 0.6), layout=layout)
    places = figure.subplots(len(rows), columns, squeeze=False)
    for row, axes in zip(rows, places, strict=True):
        panels = _panels(row[0])
        for place in axes[len(panels) :]:
            place.set_axis_off()
        for place, (title, value) in zip(axes, panels.items(), strict=False):
            if len(grid.axes) == 1:
                _lines(place, grid, row, value, baseline=baseline, start=start)
                if title.startswith("ms/token"):
                    place.set_ylim(bottom=0)
                place.set_title(title, fontsize=9)
                place.set_xlabel(grid.axes[0], fontsize=8)
            else:
                _heat(place, grid, row[0], value, title)
                place.set_title(_with_baseline(title, row[0], value, baseline), fontsize=8)
        axes[0].set_ylabel(_row_label(grid, row, several=len(rows) > 1), fontsize=8)
    if len(grid.axes) == 1:
        _legend(figure, grid, rows[0], baseline=baseline, start=start)
    else:
        figure.suptitle(f"{grid.axes[0]} (down) by {grid.axes[1]} (across)", fontsize=10)
    return as_text(figure)


def _panels(block: Block) -> dict[str, Value]:
    """Titles of the panels and what each shows."""
    panels = {
        heading(block, column): _figure(column) for column in block.columns if not column.bare
    }
    costs = [name for name, _ in block.costs]
    if "saliency" in costs:
        panels["mean S"] = lambda entry: (entry.cost.saliency, None, None)
    size = max(entry.cost.batch_size for entry in block.methods.values())
    batches = f" in batches of {size}" if size > 1 else ""
    panels[f"ms/token{batches}"] = lambda entry: (
        entry.cost.ms_per_token,
        entry.cost.fast,
        entry.cost.slow,
    )
    return panels


def _figure(column: Column) -> Value:
    scale = 100 if column.percent else 1

    def value(entry: Measured) -> tuple[float | None, float | None, float | None]:
        found = entry.cell["figures"][column.figure]
        numbers = (found["value"], found["low"], found["high"])
        value, low, high = (None if number is None else scale * number for number in numbers)
        return value, low, high

    return value


def _values(grid: Grid, axis: int) -> list[Any]:
    """The values of an axis in order."""
    found: list[Any] = []
    for point in grid.points:
        if point.values[axis] not in found:
            found.append(point.values[axis])
    return found


def _lines(
    place: Axes,
    grid: Grid,
    row: Sequence[Block],
    value: Value,
    *,
    baseline: str,
    start: str,
) -> None:
    values = _values(grid, 0)
    # evenly spaced in the order of the config: 1, 2, 5, 10, 40 to scale would overlap
    xs = [float(index) for index in range(len(values))]
    is_scale = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    on_grid = {point.method for point in grid.points}
    for index, block in enumerate(row):
        color = _COLORS[index % len(_COLORS)]
        found = [value(block.methods[point.method]) for point in grid.points]
        # side by side, so that one interval does not hide another
        shift = 0.08 * (index - (len(row) - 1) / 2)
        ys = [float("nan") if v is None else v for v, _, _ in found]
        spread = [_lengths(v, low, high) for v, low, high in found]
        place.errorbar(
            [x + shift for x in xs],
            ys,
            yerr=list(zip(*spread, strict=True)),
            color=color,
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=4,
            # between names there is nothing to draw a line through
            linestyle="-" if is_scale else "none",
            linewidth=1.3,
            elinewidth=0.9,
            capsize=2,
        )
        if baseline not in on_grid:
            level = value(block.methods[baseline])[0]
            if level is not None:
                place.axhline(level, color=color, linestyle="--", linewidth=0.9, alpha=0.8)
    for x, point in zip(xs, grid.points, strict=True):
        if point.method == start:
            place.axvline(x, color="#999999", linestyle=":", linewidth=1, zorder=0)
    turned = 0 if is_scale else 25
    place.set_xticks(
        xs, [shown(v) for v in values], rotation=turned, ha="right" if turned else "center"
    )
    place.set_xlim(-0.4, len(values) - 0.6)
    place.tick_params(labelsize=8)
    place.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    place.set_axisbelow(True)
    place.spines[["top", "right"]].set_visible(False)


def _lengths(value: float | None, low: float | None, high: float | None) -> tuple[float, float]:
    """How far an interval reaches down and up; a bootstrapped one can leave its value out."""
    if value is None or low is None or high is None:
        return 0.0, 0.0
    return max(0.0, value - low), max(0.0, high - value)


def _heat(place: Axes, grid: Grid, block: Block, value: Value, title: str) -> None:
    down, across = _values(grid, 0), _values(grid, 1)
    by_point = {point.method: point for point in grid.points}
    table = [[float("nan")] * len(across) for _ in down]
    for point in by_point.values():
        found = value(block.methods[point.method])[0]
        if found is not None:
            table[down.index(point.values[0])][across.index(point.values[1])] = found
    known = [number for line in table for number in line if number == number]
    lowest, largest = min(known, default=0.0), max(known, default=0.0)
    place.imshow(table, cmap=color_map(), vmin=lowest, vmax=largest, aspect="auto")
    for y, line in enumerate(table):
        for x, number in enumerate(line):
            share = (number - lowest) / (largest - lowest) if largest > lowest else 0.0
            ink = ink_on(color_of(share)) if number == number else "#111"
            place.text(x, y, f"{number:.3g}", ha="center", va="center", fontsize=8, color=ink)
    if largest > lowest:
        add_color_bar(place.figure, [place], title, lowest=lowest, largest=largest)
    place.set_xticks(range(len(across)), [shown(v) for v in across])
    place.set_yticks(range(len(down)), [shown(v) for v in down])
    place.tick_params(labelsize=8, length=0)


def _with_baseline(title: str, block: Block, value: Value, baseline: str) -> str:
    """A panel's title, with the baseline's figure for comparison."""
    level = value(block.methods[baseline])[0]
    return title if level is None else f"{title}\n({baseline}: {level:.3g})"


def _row_label(grid: Grid, row: Sequence[Block], *, several: bool) -> str:
    """What tells a row of panels from the others."""
    if len(grid.axes) == 1:
        return row[0].benchmark if several else ""
    return f"{row[0].model}\n{row[0].benchmark}"


def _legend(figure: Figure, grid: Grid, row: Sequence[Block], *, baseline: str, start: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=_COLORS[index % len(_COLORS)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=4,
            label=block.model,
        )
        for index, block in enumerate(row)
    ]
    methods = {point.method for point in grid.points}
    if baseline not in methods:
        handles.append(Line2D([], [], color="#555555", linestyle="--", label=baseline))
    if start in methods:
        handles.append(Line2D([], [], color="#999999", linestyle=":", label=f"{start}, unchanged"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
