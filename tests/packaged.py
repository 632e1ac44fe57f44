"""Which of the configs that the library ships span a sweep."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from lvlmsal.evaluation.config.source import packaged_configs

# Every worker asks while it collects, so no YAML is parsed here. A config may have its sweep from
# its base, which bears its name.
_TEXTS = {
    name: files("lvlmsal.configs").joinpath(f"{name}.yaml").read_text()
    for name in packaged_configs()
}
SWEEPS = [
    name for name, text in _TEXTS.items() if "\nsweep:" in text + _TEXTS.get(Path(name).name, "")
]
