"""What is wrong with the methods of a config once their classes are imported and built."""

from __future__ import annotations

from collections.abc import Sequence

from lvlmsal.attention.layers import resolve_layers
from lvlmsal.decoders.combination import check_combination
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.evaluation.config.check import build_component, component_problems
from lvlmsal.evaluation.config.checkpoints import card_of, config_of
from lvlmsal.evaluation.config.schema import MethodConfig, ModelConfig
from lvlmsal.registry import DECODERS, INTERVENTIONS, CheckpointCard


def method_problems(method: MethodConfig, models: Sequence[ModelConfig]) -> list[str]:
    """Problems of a decoder, its interventions, and the two together, for every checkpoint."""
    problems: list[str] = []
    given: list[ModelConfig | None] = [*models] or [None]
    for model in given:
        card = card_of(model) if model is not None else None
        found = component_problems(method, card, imports=True)
        problems += found or _clashes(method, card)
        if not found and model is not None and (depth := _depth(model)) is not None:
            problems += [f"{model.name}: {problem}" for problem in _misfits(method, card, depth)]
    return list(dict.fromkeys(problems))


def _clashes(method: MethodConfig, card: CheckpointCard | None) -> list[str]:
    """Interventions that are wrong, or undefined, under the decoder."""
    try:
        check_combination(
            build_component(DECODERS, method.decoder, card),
            [build_component(INTERVENTIONS, entry, card) for entry in method.interventions],
        )
    except UnsupportedError as error:
        return [str(error)]
    return []


def _misfits(method: MethodConfig, card: CheckpointCard | None, depth: int) -> list[str]:
    """Layers that are named and that a model of some depth lacks."""
    problems = []
    for entry in method.interventions:
        try:
            build_component(INTERVENTIONS, entry, card).bind(depth)
        except ConfigError as error:
            problems += error.problems
    try:
        resolve_layers(build_component(DECODERS, method.decoder, card).layers_read, depth)
    except ValueError as error:
        problems.append(f"decoder {method.decoder['name']!r}: {error}")
    return problems


def _depth(model: ModelConfig) -> int | None:
    """Layers of a checkpoint's text decoder, where its files are available."""
    content = config_of(model)
    inner = content.get("text_config", content)
    found = inner.get("num_hidden_layers") if isinstance(inner, dict) else None
    return found if isinstance(found, int) else None
