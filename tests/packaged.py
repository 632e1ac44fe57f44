"""Which of the configs that the library ships span a sweep."""

from __future__ import annotations

from importlib.resources import files

from lvlmsal.evaluation.config.reading import packaged_configs

# Every worker asks while it collects, so no YAML is parsed here.
SWEEPS = [
    name
    for name in packaged_configs()
    if "\nsweep:" in files("lvlmsal.configs").joinpath(f"{name}.yaml").read_text()
]
