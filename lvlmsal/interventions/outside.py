"""What methods share that ask a function from outside about an image, or the model otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from lvlmsal.adapters.messages import Prompt as Question
from lvlmsal.attention.asked import Asked
from lvlmsal.evidence.base import Kind
from lvlmsal.evidence.opening import asking_problems, recorded_evidence
from lvlmsal.interventions.base import LogitsIntervention


@runtime_checkable
class AsksOtherwise(Protocol):
    """A method whose second prompts are other questions about the same images.

    Their common beginning is run once for all questions about an image, as that of the questions.
    """

    @property
    def is_identity(self) -> bool:
        """Whether its options switch it off."""

    def second_questions(self, asked: Asked) -> Sequence[Question] | None:
        """What is asked of each sample in the second stream; None for no second stream."""


@dataclass(frozen=True)
class AsksOutside(LogitsIntervention):
    """Base of methods whose options name evidence; see ``lvlmsal list evidence``.

    Args:
        evidence: a name, or a mapping of a name and its options. Must be given unless the method is
            off.
    """

    evidence: str | Mapping[str, Any] | None = None

    asks: ClassVar[Kind]

    def __post_init__(self) -> None:
        if self.evidence is None and self.is_identity:
            return
        if problems := asking_problems("evidence", self.evidence, self.asks):
            raise ValueError("; ".join(problems))

    def recorded(self) -> dict[str, Any]:
        """The options, and which version of the evidence answers."""
        found = super().recorded()
        if self.evidence is not None:
            found["evidence"] = recorded_evidence(self.evidence, self.asks)
        return found
