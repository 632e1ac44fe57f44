"""Reading the config of a sweep: an ordinary run config with a ``sweep`` in it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.errors import ConfigError, close_matches
from lvlmsal.evaluation.config.check import card_of
from lvlmsal.evaluation.config.combinations import method_problems
from lvlmsal.evaluation.config.plan import Plan, make_plan
from lvlmsal.evaluation.config.plugins import import_plugins
from lvlmsal.evaluation.config.reading import (
    ConfigSource,
    load_content,
    read_config,
    settle_content,
)
from lvlmsal.evaluation.config.short_forms import spell_out
from lvlmsal.evaluation.config.unresolved import Place, Unresolved, below, literal
from lvlmsal.sweeps.axes import Expansion, Grid, expand

KEYS = ("method", "grids", "diagnose")
"""What ``sweep`` may say."""


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
        name: What to call the config in messages.
        config: The ordinary config that the sweep comes to: one method for each point.
        plan: That config, checked and built.
        grids: Which methods are which points.
        start: Name of the method that the points change.
        diagnose: Whether the answers are judged once more to know their saliency.
    """

    name: str
    config: dict[str, Any]
    plan: Plan
    grids: tuple[Grid, ...]
    start: str
    diagnose: bool


def read_sweep(
    source: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    given: Sequence[str] = (),
    axes: Sequence[str] = (),
) -> Sweep:
    """Read and check the config of a sweep without loading weights.

    It is a run config (`lvlmsal.evaluation.config.schema`) with two more keys::

        base: demo            # may be left out: a config whose keys stand under this one's
        sweep:
          method: {decoder: sgrs, interventions: [locore]}
          grids:              # each is one run over all combinations of its values
            - {sgrs.alpha: [0, 0.3, 0.6, 0.9]}
            - {sgrs.alpha: [0, 0.6], locore.beta: [0, 0.15]}
          diagnose: false     # true: judge every answer afterwards, whatever the decoder

    ``methods`` are answered next to the points, as something to compare with.

    Args:
        source: The config, as `lvlmsal.evaluate` takes it.
        overrides: Texts ``key=value``, such as ``sweep.method.decoder.plausibility=0.1``.
        given: Names of models that the caller hands over as objects.
        axes: One of the grids must be over exactly these.

    Raises:
        ConfigError: Anything is wrong; it lists every problem.
    """
    content, name = _with_base(*load_content(source), source)
    content = deepcopy(content)
    _spell_method(content.get("sweep"))  # so that overrides find its decoder
    content, problems, texts = settle_content(content, overrides, name=name)
    spec = content.pop("sweep", None)
    _spell_method(spec)
    shape_problems = _shape_problems(spec)
    problems += shape_problems
    problems += [
        f"sweep.grids: {text} is a value of an axis, which stands in names of methods, tables and "
        "records: write the value itself"
        for place, text in texts.items()
        if place[:2] == ("sweep", "grids")
    ]
    ordinary = content.get("methods") or []
    found, start = Expansion(), ""
    if not shape_problems:
        assert isinstance(spec, dict)  # anything else is a problem
        found = _expansion(content, spec["method"], spec["grids"])
        start = spec["method"]["name"]
        problems += found.problems
        if axes and not found.problems and not any(set(g.axes) == set(axes) for g in found.grids):
            grids = "; ".join(grid.title for grid in found.grids)
            problems.append(f"sweep.grids: expected one over {' by '.join(axes)}, got {grids}")
    if importlib.util.find_spec("matplotlib") is None:
        problems.append("sweeps are plotted with matplotlib: type  pip install 'lvlmsal[plot]'")
    if content.get("seeds"):
        problems.append("seeds: a sweep answers each point with one seed; give `seed`")
    if not problems and isinstance(ordinary, list):
        content = literal({**content, "methods": ordinary}, texts)
        content["methods"] += _written(found.methods.values(), spec["method"], texts)
        # points have no twins among each other: one method stands for all as the reference
        first = content["methods"][0]
        if isinstance(first, dict) and not content.get("baseline"):
            content["baseline"] = first.get("name", "")
    else:
        # without its points, the rest is checked with something in their place
        content = {**content, "methods": ordinary or ["greedy"], "baseline": ""}
    try:
        plan = make_plan(content, given=given, found=problems)
    except ConfigError as error:
        raise ConfigError(error.problems, source=name) from None
    diagnose = bool(spec.get("diagnose")) if isinstance(spec, dict) else False
    return Sweep(name, content, plan, tuple(found.grids), start, diagnose)


def _with_base(
    content: dict[str, Any], name: str, source: ConfigSource
) -> tuple[dict[str, Any], str]:
    """Put a config's keys over those of its base, which is looked for next to it first."""
    base = content.pop("base", None)
    if base is None:
        return content, name
    beside = Path(source).parent / str(base) if isinstance(source, str | Path) else Path(str(base))
    try:
        under, _ = load_content(beside if beside.is_file() else str(base))
    except ConfigError as error:
        raise ConfigError([f"base: {problem}" for problem in error.problems], source=name) from None
    return {**under, **content}, name


def _written(
    points: Iterable[Mapping[str, Any]], start: Mapping[str, Any], texts: Unresolved
) -> list[Any]:
    """The methods of points as a config has them, with the texts of what no axis has changed."""
    own = below(texts, ("sweep", "method"), ())
    return [
        literal(point, {at: text for at, text in own.items() if _at(point, at) == _at(start, at)})
        for point in points
    ]


def _at(method: Any, place: Place) -> Any:
    for key in place:
        method = method[key]
    return method


def _spell_method(spec: object) -> None:
    """Replace the short forms of a sweep's method by the long ones, in place."""
    if isinstance(spec, dict) and "method" in spec:
        (spec["method"],) = spell_out({"methods": [spec["method"]]})["methods"]


def _shape_problems(spec: object) -> list[str]:
    """What is wrong with the form of a ``sweep``."""
    if not isinstance(spec, Mapping):
        return [
            "sweep: expected `method` and `grids`, such as {method: sgrs, grids: "
            f"[{{sgrs.alpha: [0, 0.6]}}]}}; got {spec!r}"
        ]
    problems = [
        f"sweep.{key}: there is no such key.{close_matches(str(key), KEYS)} "
        f"Known here: {', '.join(KEYS)}"
        for key in spec
        if key not in KEYS
    ]
    if not isinstance(spec.get("method"), Mapping):
        problems.append(
            "sweep.method: expected the decoder and interventions that every point changes, such "
            f"as {{decoder: sgrs, interventions: [locore]}}; got {spec.get('method')!r}"
        )
    if not isinstance(spec.get("diagnose", False), bool):
        problems.append(f"sweep.diagnose: expected true or false, got {spec['diagnose']!r}")
    grids = spec.get("grids")
    if not isinstance(grids, list) or not grids:
        return [
            *problems,
            "sweep.grids: expected a list of grids, such as [{sgrs.alpha: [0, 0.6]}]; "
            f"got {grids!r}",
        ]
    problems += [
        f"sweep.grids[{index}]: expected options with lists of values, such as "
        f"{{sgrs.alpha: [0, 0.6]}}; got {grid!r}"
        for index, grid in enumerate(grids)
        if not isinstance(grid, Mapping) or not grid
    ]
    return problems


def _expansion(
    content: Mapping[str, Any], method: Mapping[str, Any], specs: Sequence[Mapping[str, Any]]
) -> Expansion:
    """The points of a sweep, unless the method that they change is wrong itself."""
    plugins = content.get("plugins")
    # what is wrong with them is told with the rest of the config
    import_plugins(plugins if isinstance(plugins, list) else [])
    config, told, _ = read_config({**content, "methods": [method]})
    problems = [
        text.replace("methods[0]", "sweep.method", 1)
        for text in told
        if text.startswith("methods[0]")
    ]
    if not problems:
        start = config.methods[0]
        problems = [f"sweep.method: {text}" for text in method_problems(start, config.models)]
    if problems:
        return Expansion(problems=problems)
    return expand(start, specs, [card_of(model) for model in config.models])
