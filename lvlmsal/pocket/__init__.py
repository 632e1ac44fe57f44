"""The embedded default: three small trained LVLMs and the two worlds that they know.

Nothing here imports torch, so asking where the weights lie costs nothing.

Example:
    >>> from lvlmsal.pocket import POCKET
    >>> sorted(POCKET)
    ['pocket-idefics3', 'pocket-llava', 'pocket-qwen2vl']
"""

from pathlib import Path
from types import MappingProxyType
from typing import Final

WEIGHTS: Final = Path(__file__).resolve().parent / "weights"
"""Folder that holds one transformers folder per shipped model."""

POCKET: Final = MappingProxyType(
    {name: WEIGHTS / name for name in ("pocket-idefics3", "pocket-llava", "pocket-qwen2vl")}
)
"""Name of each shipped model -> the folder that ``from_pretrained`` takes."""

__all__ = ["POCKET", "WEIGHTS"]
