"""No intervention: the control that every method is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlmsal.interventions.base import AttentionIntervention
from lvlmsal.registry import INTERVENTIONS


@INTERVENTIONS.register("none")
@dataclass(frozen=True)
class NoIntervention(AttentionIntervention):
    """Leaves the model as it is, its own attention function included.

    >>> NoIntervention().applies_to(0)
    False
    """

    summary: ClassVar[str] = "no intervention (the plain model)"
    shares_prefix: ClassVar[bool] = True

    @property
    def is_identity(self) -> bool:
        """Always."""
        return True
