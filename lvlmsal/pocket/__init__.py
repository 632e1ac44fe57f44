"""The embedded default: two small trained LVLMs and the procedural scene world that they know.

Nothing here imports torch, so asking where the weights lie costs nothing.

Example:
    >>> from lvlmsal.pocket import POCKET
    >>> sorted(POCKET)
    ['pocket-llava', 'pocket-qwen2vl']
"""

from pathlib import Path
from types import MappingProxyType
from typing import Final

WEIGHTS: Final = Path(__file__).resolve().parent / "weights"
"""Folder that holds one transformers folder per shipped model."""

POCKET: Final = MappingProxyType(
    {name: WEIGHTS / name for name in ("pocket-llava", "pocket-qwen2vl")}
)
"""Name of each shipped model -> the folder that ``from_pretrained`` takes."""

__all__ = ["POCKET", "WEIGHTS"]
