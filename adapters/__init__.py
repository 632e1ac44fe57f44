"""Adapters: where each family of vision-language models keeps its parts, and how it is fed."""

from __future__ import annotations

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.images import open_image, seen_part
from lvlmsal.adapters.loading import Loaded, load_checkpoint
from lvlmsal.adapters.lookup import adapter_for

__all__ = ["Loaded", "ModelAdapter", "adapter_for", "load_checkpoint", "open_image", "seen_part"]
