"""What the benchmarks share: models, the cached prompt, clocks, and how results are kept."""
