"""Any metric of this library as a `torchmetrics.Metric`.

It stands by itself because importing torchmetrics imports transformers, which scoring a file of
answers need not wait for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lvlmsal.metrics.base import CountMetric, SetMetric


class TorchMetric(Metric):
    """A `CountMetric` with a state, which torchmetrics adds up over batches and processes.

    The state are the summed counts. That of a `SetMetric`, which has to see all samples at once,
    are the samples themselves, as the bytes of JSON lines: batches and processes add theirs in any
    order, so its `rows` must not depend on the order, and its targets must be JSON values.

    Args:
        metric: What is counted.

    Attributes:
        counts: The counts so far, shape (counts,).
        samples: The samples so far, if `metric` is a `SetMetric`.

    Example:
        >>> from lvlmsal.benchmarks.pope.metric import PopeMetric
        >>> metric = TorchMetric(PopeMetric(parser="strict"))
        >>> metric.update(["Yes, a red one.", "no"], ["yes", "yes"])
        >>> metric.update(["It is hard to say."], ["no"])
        >>> metric.compute()["recall"]
        tensor(0.5000, dtype=torch.float64)
    """

    # forward() needs no second update, nothing here has a gradient
    full_state_update = False
    is_differentiable = False

    counts: Tensor
    samples: Tensor | list[Tensor]

    def __init__(self, metric: CountMetric) -> None:
        super().__init__()
        self.metric = metric
        zeros = torch.zeros(len(metric.count_names), dtype=torch.float64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        if isinstance(metric, SetMetric):
            self.add_state("samples", [], dist_reduce_fx="cat")

    def update(self, answers: Sequence[str], targets: Sequence[Any]) -> None:
        """Add samples, see `CountMetric.sums`."""
        # checks what a set is given as well; its units are put together in `compute`
        self.counts += self.metric.sums(answers, targets).to(self.counts)
        if not isinstance(self.metric, SetMetric):
            return
        lines = "".join(
            json.dumps([answer, target]) + "\n"
            for answer, target in zip(answers, targets, strict=True)
        )
        assert isinstance(self.samples, list)  # only a synchronized metric holds one tensor
        self.samples.append(torch.tensor(bytearray(lines.encode()), dtype=torch.uint8))

    def compute(self) -> dict[str, Tensor]:
        """The figures over everything that was added, see `CountMetric.score`."""
        if not isinstance(self.metric, SetMetric):
            return self.metric.figures(self.counts)
        parts = [self.samples] if isinstance(self.samples, Tensor) else self.samples
        text = b"".join(bytes(part.cpu().tolist()) for part in parts).decode()
        # sorted: the order in which processes add their samples must not change the sums
        pairs = [json.loads(line) for line in sorted(text.split("\n")) if line]
        sums = self.metric.sums([answer for answer, _ in pairs], [target for _, target in pairs])
        return self.metric.figures(sums.to(self.counts))
