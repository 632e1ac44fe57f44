"""The first check of a sweep's config: what is wrong in itself, without importing a component."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lvlmsal.errors import ConfigError, close_matches
from lvlmsal.evaluation.config.check import component_problems, placed
from lvlmsal.evaluation.config.checkpoints import card_of
from lvlmsal.evaluation.config.plugins import import_plugins
from lvlmsal.evaluation.config.reading import read_config, settle_content
from lvlmsal.evaluation.config.schema import MethodConfig, ModelConfig
from lvlmsal.evaluation.config.short_forms import spell_out
from lvlmsal.evaluation.config.source import ConfigSource, load_content
from lvlmsal.evaluation.config.stated import refuse_misstated
from lvlmsal.evaluation.config.unresolved import Unresolved, literal
from lvlmsal.sweeps.axes import axis_problems

KEYS = ("method", "grids", "diagnose")
"""What ``sweep`` may say."""


@dataclass(frozen=True)
class StatedSweep:
    """The config of a sweep as it is written.

    Attributes:
        name: What to call it in messages.
        content: Its keys and values but for ``sweep``.
        spec: What stands under ``sweep``.
        texts: Texts of `content` and `spec` that take something from the environment.
        start: The method that the points change; None where something is wrong with ``sweep``.
        models: The checkpoints.
        problems: What is wrong with ``sweep`` and with overrides, one sentence each.
    """

    name: str
    content: dict[str, Any]
    spec: Any
    texts: Unresolved
    start: MethodConfig | None
    models: Sequence[ModelConfig]
    problems: list[str]

    def without_points(self) -> dict[str, Any]:
        """The config of a run with something in place of the points, to check the rest."""
        methods = self.content.get("methods") or ["greedy"]
        content = {**self.content, "methods": methods, "baseline": ""}
        protected: dict[str, Any] = literal(content, self.texts)
        return protected


def read_stated(
    source: ConfigSource, overrides: Iterable[str] = (), *, axes: Sequence[str] = ()
) -> StatedSweep:
    """Read the config of a sweep as far as it can be read.

    Args:
        source: The config, as `lvlmsal.sweeps.reading.read_sweep` takes it.
        overrides: Texts ``key=value``.
        axes: One of the grids must be over exactly these.

    Raises:
        ConfigError: The config cannot be read at all.
    """
    content, name = load_content(source)
    content = deepcopy(content)
    _spell_method(content.get("sweep"))  # so that overrides find its decoder
    content, problems, texts = settle_content(content, overrides, name=name)
    spec = content.pop("sweep", None)
    _spell_method(spec)
    wrong = _shape_problems(spec)
    wrong += [
        f"sweep.grids: {text} is a value of an axis, which stands in names of methods, tables and "
        "records: write the value itself"
        for place, text in texts.items()
        if place[:2] == ("sweep", "grids")
    ]
    start: MethodConfig | None = None
    models: Sequence[ModelConfig] = ()
    if not wrong:
        start, models, wrong = _start(content, spec)
    if axes and not wrong and not any(set(grid) == set(axes) for grid in spec["grids"]):
        grids = "; ".join(" by ".join(grid) for grid in spec["grids"])
        wrong.append(f"sweep.grids: expected one over {' by '.join(axes)}, got {grids}")
    problems += wrong
    if importlib.util.find_spec("matplotlib") is None:
        problems.append("sweeps are plotted with matplotlib: type  pip install 'lvlmsal[plot]'")
    if content.get("seeds"):
        problems.append("seeds: a sweep answers each point with one seed; give `seed`")
    return StatedSweep(name, content, spec, texts, None if wrong else start, models, problems)


def refuse_misstated_sweep(
    source: ConfigSource, overrides: Iterable[str] = (), *, axes: Sequence[str] = ()
) -> None:
    """Refuse the config of a sweep that is wrong in itself, as `refuse_misstated` does of a run.

    Args:
        source: The config, as `read_stated` takes it, and so the rest.
        overrides: Texts ``key=value``.
        axes: One of the grids must be over exactly these.

    Raises:
        ConfigError: It lists every such problem.
    """
    stated = read_stated(source, overrides, axes=axes)
    try:
        refuse_misstated(stated.without_points(), found=stated.problems)
    except ConfigError as error:
        raise ConfigError(error.problems, source=stated.name) from None


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


def _start(
    content: Mapping[str, Any], spec: Mapping[str, Any]
) -> tuple[MethodConfig, Sequence[ModelConfig], list[str]]:
    """The method that points change, the checkpoints, and what is wrong with it or the axes."""
    plugins = content.get("plugins")
    # what is wrong with them is told with the rest of the config
    import_plugins(plugins if isinstance(plugins, list) else [])
    config, told, _ = read_config({**content, "methods": [spec["method"]]})
    start = config.methods[0]
    cards = [card_of(model) for model in config.models] or [None]
    problems = [
        text.replace("methods[0]", "sweep.method", 1)
        for text in told
        if text.startswith("methods[0]")
    ]
    if not problems:
        wrong = [problem for card in cards for problem in component_problems(start, card)]
        problems = placed("sweep.method", dict.fromkeys(wrong))
    return start, config.models, problems or axis_problems(start, spec["grids"], cards)
