"""What saliency is compared with: one number a token, from its report alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from lvlmsal.saliency.options import FUSIONS
from lvlmsal.saliency.report import SaliencyReport

Values = list[float | None]


@dataclass(frozen=True)
class Score:
    """A number that might tell a correct token from a hallucinated one.

    Attributes:
        label: How tables and plots call it.
        sign: 1 where a large value speaks for a correct token, -1 where it speaks against it. An
            AUROC is that of ``sign * value``, so that above 0.5 always means "as expected".
    """

    label: str
    sign: int = 1

    @property
    def heading(self) -> str:
        """The label, behind a minus where small values speak for a correct token.

        Example:
            >>> Score("entropy", sign=-1).heading
            '- entropy'
        """
        return f"- {self.label}" if self.sign < 0 else self.label


SCORES: Final[Mapping[str, Score]] = MappingProxyType(
    {
        "saliency": Score("saliency S(c)"),
        "saliency_last": Score("saliency of the last token"),
        "log_probability": Score("log-probability"),
        "entropy": Score("entropy", sign=-1),
        "attention_image": Score("attention to the image"),
        "attention_previous": Score("attention to previous tokens"),
        "position": Score("position in the answer", sign=-1),
    }
)
"""The scores that are compared, in the order of tables.

``saliency`` is S(c) under the report's options (Eq. 6); ``saliency_last`` the normalized saliency
of the one output token before, which is what the caption of the paper's Table 5 names;
``log_probability`` and ``entropy`` (in nats) are those of the model's own distribution;
``attention_image`` and ``attention_previous`` are the shares of the attention, mean over heads and
target layers, that fall on the images and on the answer so far; ``position`` is the token's index
in the answer. It is not a rival but a warning: S(c) is a mean over a context that grows with it.
"""


def token_scores(report: SaliencyReport) -> dict[str, Values]:
    """Every score of every token of an answer.

    Args:
        report: Of the answer.

    Returns:
        Under each name of `SCORES` one value for each token, as it is (no sign applied), and under
        ``saliency_<fusion>`` S(c) with every other fusion; None where a token has no such value
        (no context, no earlier output token, no image).
    """
    shares = report.groups(of="attention", reduce="sum")
    found: dict[str, Values] = {
        "saliency": report.saliency,
        "saliency_last": _last(report),
        "log_probability": list(report.log_probabilities),
        "entropy": list(report.entropies),
        "attention_image": _values(shares["image"]),
        "attention_previous": _values(shares["output"]),
        "position": [float(index) for index in range(len(report.tokens))],
    }
    return found | {f"saliency_{fusion}": report.token_saliency(fusion) for fusion in FUSIONS}


def _last(report: SaliencyReport) -> Values:
    """Saliency of the output token just before, mean over layers."""
    start = report.spans.output_start
    later = torch.arange(1, len(report.tokens))
    return [None, *report.rows[later, :, start + later - 1].mean(-1).tolist()]


def _values(values: Tensor) -> Values:
    return [None if math.isnan(value) else value for value in values.tolist()]
