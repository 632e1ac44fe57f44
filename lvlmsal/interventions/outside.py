"""What methods share that ask a function from outside about an image, or the model otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from lvlmsal.adapters.messages import Prompt as Question
from lvlmsal.attention.asked import Asked
from lvlmsal.evidence.base import Evidence, Kind
from lvlmsal.evidence.opening import named, open_evidence, spec_problems
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
        if self.evidence is None:
            if not self.is_identity:
                raise ValueError(
                    f"evidence is missing, which tells {self.asks.told}: such as evidence: "
                    "{name: file, path: evidence.jsonl}; `lvlmsal list evidence` lists what there "
                    "is"
                )
        elif problems := spec_problems(self.evidence, self.asks):
            raise ValueError("; ".join(problems))

    def recorded(self) -> dict[str, Any]:
        """The options, and which version of the evidence answers."""
        found = super().recorded()
        if self.evidence is not None:
            name, options = named(self.evidence)
            version = open_evidence(self.evidence, cast(type[Evidence], self.asks)).version
            found["evidence"] = {"name": name, **options, "version": version}
        return found
