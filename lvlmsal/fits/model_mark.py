"""Which model numbers were taken from, so that they are not used for another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import nn

from lvlmsal.adapters import ModelAdapter

CLOSE: Final = 2e-3
"""How far mean weights may be apart, relatively: half precision moves them by less."""


@dataclass(frozen=True)
class ModelMark:
    """What tells one model from another, in whatever dtype and from wherever it was loaded.

    Attributes:
        architecture: the class.
        layers: depth of the text decoder.
        width: of its residual stream.
        vocabulary: rows of its output projection.
        weights: mean magnitude of the weights of its first, middle and last layer.
    """

    architecture: str
    layers: int
    width: int
    vocabulary: int
    weights: tuple[float, ...]

    @classmethod
    def of(cls, adapter: ModelAdapter) -> ModelMark:
        """That of a loaded model."""
        config, layers = adapter.text_config, adapter.layers
        return cls(
            type(adapter.model).__name__,
            len(layers),
            int(config.hidden_size),
            int(config.vocab_size),
            tuple(_magnitude(layers[at]) for at in (0, len(layers) // 2, -1)),
        )

    @classmethod
    def kept_of(cls, adapter: ModelAdapter) -> ModelMark:
        """The same, computed once for each model: for who asks at every answer."""
        if adapter.model not in _KEPT:
            _KEPT[adapter.model] = cls.of(adapter)
        return _KEPT[adapter.model]

    def differences(self, other: ModelMark) -> list[str]:
        """In what two models differ; nothing where they are the same.

        >>> small = ModelMark("Llava", 4, 64, 160, (0.1,))
        >>> small.differences(ModelMark("Llava", 6, 64, 160, (0.1,)))
        ['layers 4, not 6']
        """
        found = [
            f"{name} {mine}, not {theirs}"
            for name, mine in asdict(self).items()
            if name != "weights" and mine != (theirs := getattr(other, name))
        ]
        if not found and not other.has_weights(self.weights):
            found.append("other weights of the same shape")
        return found

    def has_weights(self, weights: Sequence[float]) -> bool:
        """Whether mean weights are those of this model, up to rounding of half precision."""
        pairs = list(zip(weights, self.weights, strict=False))
        same = len(weights) == len(self.weights)
        return same and all(abs(a - b) <= CLOSE * abs(b) for a, b in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, values: Any) -> ModelMark:
        """What `to_dict` has made.

        Raises:
            ValueError: something is missing, or of another kind.
        """
        try:
            return cls(
                str(values["architecture"]),
                int(values["layers"]),
                int(values["width"]),
                int(values["vocabulary"]),
                tuple(float(weight) for weight in values["weights"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the model is not described: {error!r}") from error


_KEPT: WeakKeyDictionary[nn.Module, ModelMark] = WeakKeyDictionary()


def _magnitude(layer: nn.Module) -> float:
    """Mean magnitude of its floating-point weights."""
    total = count = 0.0
    with torch.no_grad():
        for weight in layer.parameters():
            if weight.is_floating_point():
                total += float(weight.abs().sum(dtype=torch.float64))
                count += weight.numel()
    return total / count if count else 0.0
