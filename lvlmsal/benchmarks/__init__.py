"""Benchmarks, one folder each: files, counts, metric, samples, and a scorer of answer files."""

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.scorer import Scorer

__all__ = ["Benchmark", "Sample", "Scorer"]
