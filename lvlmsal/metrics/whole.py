"""The base of metrics whose figures need all samples at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lvlmsal.metrics.base import CountMetric


@dataclass(eq=False, repr=False)
class SetMetric(CountMetric):
    """A `CountMetric` whose rows depend on one another, such as pairs of questions on an image.

    `rows` gets all samples. What belongs to a unit of several samples (both questions on an image
    answered rightly) is counted in the row of the unit's first sample and is zero in the others, so
    that sums of rows stay right, and so do resamples, as long as all samples of a unit share the
    sample's group. Where a unit is not whole, the metric decides and says what it does.

    The state is not a sum but the samples themselves, as the bytes of JSON lines: batches and
    processes add theirs in any order, so `rows` must not depend on the order of the samples.
    Targets must be JSON values.
    """

    samples: Tensor | list[Tensor] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Set up the state; a subclass with a `__post_init__` of its own calls this one first."""
        super().__post_init__()
        self.add_state("samples", [], dist_reduce_fx="cat")

    def update(self, answers: Sequence[str], targets: Sequence[Any]) -> None:
        """Add samples, see `CountMetric.update`."""
        # counts what it is given, which checks it; units are put together in `compute`
        super().update(answers, targets)
        lines = "".join(
            json.dumps([answer, target]) + "\n"
            for answer, target in zip(answers, targets, strict=True)
        )
        state = self.samples
        assert isinstance(state, list)  # only a synchronised metric holds one tensor
        state.append(torch.tensor(bytearray(lines.encode()), dtype=torch.uint8))

    def compute(self) -> dict[str, Tensor]:
        """The figures over everything that was added, see `CountMetric.compute`."""
        state = self.samples
        parts = [state] if isinstance(state, Tensor) else state
        text = b"".join(bytes(part.cpu().tolist()) for part in parts).decode()
        # sorted: the order in which processes add their samples must not change the sums
        pairs = sorted(line for line in text.split("\n") if line)
        answers, targets = [], []
        for pair in pairs:
            answer, target = json.loads(pair)
            answers.append(answer)
            targets.append(target)
        if not pairs:
            return self.figures(self.counts)
        return self.figures(self.rows(answers, targets).sum(0).to(self.counts))
