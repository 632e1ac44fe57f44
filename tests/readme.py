"""The README's own lines, and what has to be there before they run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

README: Final = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

PREPARED: Final = """
import lvlmsal
from lvlmsal.pocket.stickers.world import write_world

world = write_world("world", images=1, seed=7, shifted=True)
(world / "images/STICKERS_000000000001.png").rename("scene.png")
lvlm = lvlmsal.load("pocket-idefics3")
model = lvlm.model
inputs = lvlm.adapter.encode([["scene.png"]], ["Is there a dog in the image?"])
"""
"""Code that makes a model, its inputs and a picture in the current folder."""


def blocks(language: str) -> list[str]:
    """The code of the README in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
