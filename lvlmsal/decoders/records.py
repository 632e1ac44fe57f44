"""What is kept of each generated token."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(repr=False)
class TokenRecord:
    """One generated token and how it was chosen.

    Attributes:
        id: token id.
        text: its text, filled in where a processor is available.
        probability: under softmax(logits / temperature), from which candidates are drawn; ``None``
            where the decoder keeps none.
        saliency: S(c) of Eq. 6; ``None`` where it was not computed or the context was empty.
        threshold: tau that it was compared with; ``None`` where there was no history yet.
        tries: candidates that were looked at before one was taken.
        rejected: id, S and probability of each candidate that was turned down, in the order of the
            tries.
        fallback: whether every try failed and the candidate of highest S was taken.

    >>> TokenRecord(id=7).to_dict()["fallback"]
    False
    >>> TokenRecord(id=7, text=" ball", saliency=0.01234, tries=2)
    TokenRecord(7, ' ball', saliency=0.0123, tries=2)
    """

    id: int
    text: str = ""
    probability: float | None = None
    saliency: float | None = None
    threshold: float | None = None
    tries: int = 1
    rejected: list[dict[str, Any]] = field(default_factory=list)
    fallback: bool = False

    def __repr__(self) -> str:
        shown = [str(self.id), repr(self.text)]
        for name in ("probability", "saliency", "threshold"):
            value = getattr(self, name)
            shown += [] if value is None else [f"{name}={value:.3g}"]
        shown += [f"tries={self.tries}"] * (self.tries != 1) + ["fallback"] * self.fallback
        return f"TokenRecord({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
