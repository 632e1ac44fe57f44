"""Benchmarks: readers of official file layouts that hand out one sample per question or image."""

from lvlmsal.benchmarks.base import Benchmark, Sample

__all__ = ["Benchmark", "Sample"]
