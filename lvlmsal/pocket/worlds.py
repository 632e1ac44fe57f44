"""The worlds by the kind that configs name."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from lvlmsal.pocket.scenes.world import WORLD as SHAPES
from lvlmsal.pocket.stickers.world import WORLD as STICKERS

WORLDS: Final = MappingProxyType({world.kind: world for world in (SHAPES, STICKERS)})
"""Kind -> the world as its files have it."""
