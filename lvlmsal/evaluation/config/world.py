"""Writing the scene world that a config asks for."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict
from pathlib import Path

from lvlmsal.errors import DataError
from lvlmsal.evaluation.config.schema import WorldConfig


def world_problems(world: WorldConfig | None) -> list[str]:
    """What keeps a world from being written or used; an existing one must be the one asked for."""
    if world is None or world.root == "???":
        return []
    if world.images < 1:
        return [f"world.images: must be at least 1, got {world.images}"]
    root = Path(world.root)
    if not root.exists():
        return []
    note = root / "world.json"
    if not note.is_file():
        if root.is_dir() and not any(root.iterdir()):
            return []
        return [f"world.root: {root} exists and is not a scene world (it has no world.json)"]
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        return [f"{note}: not valid JSON ({error}); delete the folder to have it written again"]
    if not isinstance(found, dict):
        return [f"{note}: expected a JSON object; delete the folder to have it written again"]
    asked = {key: value for key, value in asdict(world).items() if key != "root"}
    return [
        f"world.{key}: {root} was written with {key}={found[key]!r}, the config says {value!r}; "
        "choose another root, or delete the folder to have it written again"
        for key, value in asked.items()
        if key in found and found[key] != value
    ]


def ensure_world(world: WorldConfig) -> None:
    """Write the world, or see that the one that is there is whole.

    Raises:
        DataError: The folder cannot be written, or holds something else or a damaged world.
    """
    from lvlmsal.pocket.scenes.world import write_world

    try:
        try:
            write_world(world.root, images=world.images, seed=world.seed, shifted=world.shifted)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # another process of the run has written it meanwhile; now it is looked at
            write_world(world.root, images=world.images, seed=world.seed, shifted=world.shifted)
    except FileExistsError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", path=world.root) from error
