"""A benchmark of samples that a test has made."""

from __future__ import annotations

from dataclasses import dataclass

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.decoders.search import Greedy
from lvlmsal.evaluation.config.plan import Cell
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.metrics.base import CountMetric


@dataclass(eq=False, kw_only=True)
class Given(Benchmark):
    """It is never scored."""

    name = "given"

    def read(self, problems: list[str]) -> list[Sample]:
        return self.made

    def metric(self) -> CountMetric:
        raise AssertionError("a test that only answers asked for a metric")


def cell_of(label: str, samples: list[Sample], max_new_tokens: int = 4) -> Cell:
    benchmark = Given(root=".", max_new_tokens=max_new_tokens)
    benchmark.made = samples
    return Cell(ModelConfig("tiny", "tiny"), "greedy", Greedy(), (), label, benchmark, 0)
