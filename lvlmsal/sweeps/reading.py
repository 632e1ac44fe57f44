"""Reading the config of a sweep: an ordinary run config with a ``sweep`` in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.check import placed
from lvlmsal.evaluation.config.checkpoints import card_of
from lvlmsal.evaluation.config.combinations import method_problems
from lvlmsal.evaluation.config.plan import Plan, make_plan
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.config.unresolved import Place, Unresolved, below, literal
from lvlmsal.sweeps.axes import Expansion, Grid, expand
from lvlmsal.sweeps.stated import StatedSweep, read_stated


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
    stated = read_stated(source, overrides, axes=axes)
    content, grids, problems = spread(stated)
    try:
        plan = make_plan(content, given=given, found=problems)
    except ConfigError as error:
        raise ConfigError(error.problems, source=stated.name) from None
    return Sweep(
        stated.name,
        content,
        plan,
        tuple(grids),
        stated.spec["method"]["name"],
        bool(stated.spec.get("diagnose")),
    )


def spread(stated: StatedSweep) -> tuple[dict[str, Any], list[Grid], list[str]]:
    """The ordinary config that a sweep comes to, with one method for each point.

    Args:
        stated: The sweep as it is written.

    Returns:
        The config, without the points where something is wrong; the grids; what is wrong.
    """
    content, spec, problems = stated.content, stated.spec, list(stated.problems)
    found = Expansion()
    if stated.start is not None:
        wrong = method_problems(stated.start, stated.models)
        cards = [card_of(model) for model in stated.models]
        found.problems += placed("sweep.method", wrong)
        if not wrong:
            found = expand(stated.start, spec["grids"], cards)
        problems += found.problems
    ordinary = content.get("methods") or []
    if problems or not isinstance(ordinary, list):
        return stated.without_points(), found.grids, problems
    content = literal({**content, "methods": ordinary}, stated.texts)
    content["methods"] += _written(found.methods.values(), spec["method"], stated.texts)
    # points have no twins among each other: one method stands for all as the reference
    first = content["methods"][0]
    if isinstance(first, dict) and not content.get("baseline"):
        content["baseline"] = first.get("name", "")
    return content, found.grids, problems


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
