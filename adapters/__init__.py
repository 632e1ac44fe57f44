"""Adapters: where each family of vision-language models keeps its parts, and how it is fed."""

from __future__ import annotations

from lvlmsal.adapters.base import ModelAdapter, adapter_for
from lvlmsal.adapters.images import open_image

__all__ = ["ModelAdapter", "adapter_for", "open_image"]
