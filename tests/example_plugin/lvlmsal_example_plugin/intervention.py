"""An intervention: attention that is more peaked, or flatter, than the model's own."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec
from lvlmsal.interventions.base import AttentionIntervention


@dataclass(frozen=True)
class Sharpen(AttentionIntervention):
    """Multiplies the scores before the softmax; above 1 sharpens, below 1 flattens."""

    factor: float = 1.1
    layers: LayerSpec = None

    summary: ClassVar[str] = "multiplies the attention scores by a factor"

    def __post_init__(self) -> None:
        if self.factor <= 0:
            raise ValueError(f"factor must be above 0, got {self.factor}; 1 is the plain model")

    @property
    def is_identity(self) -> bool:
        """Whether the factor is 1."""
        return self.factor == 1

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Scale every score alike."""
        return scores * self.factor
