"""Writing the scene world that a config asks for."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict
from pathlib import Path

from lvlmsal.errors import DataError, UnsupportedError, close_matches
from lvlmsal.evaluation.config.schema import WorldConfig
from lvlmsal.pocket.files.folder import NOTE, REWRITE, note_problem, write_world


def world_problems(world: WorldConfig | None) -> list[str]:
    """What keeps a world from being written or used; an existing one must be the one asked for."""
    if world is None or world.root == "???":
        return []
    if world.images < 1:
        return [f"world.images: must be at least 1, got {world.images}"]
    root = Path(world.root)
    note = root / NOTE
    is_open = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    if world.kind != WorldConfig.kind and (problem := _kind_problem(world.kind, draw=is_open)):
        return [f"world.kind: {problem}"]
    if is_open:
        return []
    if not note.is_file():
        return [f"world.root: {root} exists and is not a scene world (it has no world.json)"]
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        return [f"{note}: not valid JSON ({error}); {REWRITE}"]
    if problem := note_problem(found):
        return [f"{note}: {problem}"]
    asked = {key: value for key, value in asdict(world).items() if key != "root"}
    return [
        f"world.{key}: {root} was written with {key}={found[key]!r}, the config says {value!r}; "
        f"choose another root, or {REWRITE}"
        for key, value in asked.items()
        if key in found and found[key] != value
    ]


def _kind_problem(kind: str, *, draw: bool) -> str | None:
    """What keeps a kind of world other than the usual one from being used, or from being drawn."""
    from lvlmsal.pocket.worlds import WORLDS  # takes numpy and Pillow, which a refusal does without

    if kind not in WORLDS:
        return f"must be {' or '.join(WORLDS)}, got {kind!r}.{close_matches(kind, WORLDS)}"
    try:
        if draw:
            WORLDS[kind].require()
    except UnsupportedError as error:
        return str(error)
    return None


def made_with(world: WorldConfig | None) -> dict[str, str]:
    """What the pictures of a world that is there depend on, besides its seed."""
    if world is None:
        return {}
    noted: dict[str, str] = json.loads(Path(world.root, NOTE).read_text("utf-8"))["made_with"]
    return noted


def ensure_world(world: WorldConfig) -> None:
    """Write the world, or see that the one that is there is whole.

    Raises:
        DataError: The folder cannot be written, or holds something else or a damaged world.
        UnsupportedError: Something that the world is drawn with is missing.
    """
    from lvlmsal.pocket.worlds import WORLDS

    asked = {key: value for key, value in asdict(world).items() if key not in ("kind", "root")}
    try:
        try:
            write_world(WORLDS[world.kind], world.root, **asked)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # another process of the run has written it meanwhile; now it is looked at
            write_world(WORLDS[world.kind], world.root, **asked)
    except FileExistsError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", path=world.root) from error
