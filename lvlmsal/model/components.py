"""Decoders and interventions from their names, with the options that belong to a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

from transformers import PreTrainedModel

from lvlmsal.errors import ConfigError
from lvlmsal.registry import CATALOG, CheckpointCard, Registry
from lvlmsal.registry.methods import IN_PYTHON, mistaken

T = TypeVar("T")

Spec = str | Mapping[str, Any]
"""A registered name, or ``{"name": ..., option: value, ...}``."""


def build(
    registry: Registry[T],
    spec: Spec,
    card: CheckpointCard | None,
    model: PreTrainedModel,
    *,
    stacklevel: int = 1,
) -> T:
    """Build a decoder or an intervention on top of the checkpoint's own options.

    Args:
        registry: Of its kind.
        spec: What to build.
        card: Of the checkpoint. Without one, a warning says which options the cards of other
            checkpoints of this architecture set, and this model goes without.
        model: What it is built for.
        stacklevel: Of the warning: frames between the user's own and this call.

    Raises:
        ConfigError: A wrong name or option.
    """
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    if "name" not in given:
        raise ConfigError(
            [f"no {registry.kind} is named in {spec!r}: write {{'name': ..., option: value}}"]
        )
    name = str(given.pop("name"))
    if problem := mistaken(registry.kind, name, IN_PYTHON):
        raise ConfigError([problem])
    built = registry.build(name, **{**registry.defaults(name, card), **given})
    if card is None and (unset := _unset(registry, name, given, model)):
        source = str(getattr(model.config, "_name_or_path", ""))
        known = CATALOG.of_checkpoint(source)
        warnings.warn(
            f"{name} has its general options, since this model was not loaded by a name of the "
            f"catalog (config._name_or_path is {source!r}): {'; '.join(unset)}. Choose with "
            f"{{'name': {name!r}, option: value}}, or load the model by its name"
            + ("" if known is None else f", lvlmsal.load({known.name!r})"),
            stacklevel=stacklevel + 1,
        )
    return built


def _unset(
    registry: Registry[Any], name: str, given: Mapping[str, Any], model: PreTrainedModel
) -> list[str]:
    """Options of which cards of the same architecture know better than the class itself."""
    architectures = {type(model).__name__, *(model.config.architectures or ())}
    found: dict[str, dict[str, Any]] = {}
    for card in map(CATALOG.get, CATALOG):
        if card.architecture in architectures:
            for option, value in registry.defaults(name, card).items():
                found.setdefault(option, {})[card.name] = value
    declared = registry.options(name)
    texts = []
    for option, values in found.items():
        general = declared[option].default
        others = {card: value for card, value in values.items() if value != general}
        if others and option not in given:
            known = ", ".join(f"{card} has {value!r}" for card, value in others.items())
            texts.append(f"{option}={general!r}, where {known}")
    return texts
