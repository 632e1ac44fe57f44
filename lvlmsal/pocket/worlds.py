"""The worlds by the kind that configs name, and the folders that hold one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lvlmsal.errors import DataError
from lvlmsal.pocket.files.folder import NOTE, note_problem
from lvlmsal.pocket.files.world import World
from lvlmsal.pocket.scenes.world import WORLD as SHAPES
from lvlmsal.pocket.stickers.world import WORLD as STICKERS
from lvlmsal.readers.rows import read_json_object

WORLDS: Final = MappingProxyType({world.kind: world for world in (SHAPES, STICKERS)})
"""Kind -> the world as its files have it."""


def read_world(root: Path) -> tuple[World, Callable[[int], Any]]:
    """The world that a folder holds, and what makes the scene of an image id.

    Args:
        root: Of a world that this package wrote; scenes are drawn again from the seed that is noted
            there.

    Raises:
        DataError: There is no note of a world of this version.
    """
    path = root / NOTE
    note = read_json_object(path, "the note of a scene world")
    if problem := note_problem(note):
        raise DataError(problem, path=path)
    world = WORLDS.get(note["kind"])
    if world is None or note.get("version") != world.version:
        raise DataError(
            f"is of the world {note['kind']!r}, version {note.get('version')!r}; expected "
            f"{', '.join(f'{name} {known.version}' for name, known in WORLDS.items())}",
            path=path,
        )

    def scene(image_id: int) -> Any:
        return world.scene_number(image_id - 1, seed=note["seed"], shifted=note["shifted"])

    return world, scene
