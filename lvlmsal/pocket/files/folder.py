"""The folder of a world, written whole or not at all, with a note of what it holds."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from lvlmsal.pocket.files.amber import amber_files
from lvlmsal.pocket.files.coco import Shot, captions, instances
from lvlmsal.pocket.files.mme import mme_files
from lvlmsal.pocket.files.pope import POPE_SPLITS, pope_questions
from lvlmsal.pocket.files.vizwiz import vizwiz_files
from lvlmsal.pocket.files.world import World
from lvlmsal.progress import track

NOTE: Final = "world.json"
"""File that says which world a folder holds, with the digest of its other files."""

REWRITE: Final = "delete the folder to have it written again"


def write_world(
    world: World, root: str | os.PathLike[str], *, images: int, seed: int, shifted: bool
) -> Path:
    """Write a world, whole or not at all.

    The files are written to a folder next to `root`, which then takes its name. So a folder of that
    name is complete, however often a run was killed before.

    Args:
        world: The world.
        root: The folder to make; its parents are made too.
        images: How many images.
        seed: Seed of the scenes. Image k is the same whatever `images` is.
        shifted: Draw scenes without the co-occurrence that the models are trained on.

    Returns:
        The folder. One that already holds this very world is left as it is.

    Raises:
        ValueError: `images` is less than 1.
        FileExistsError: `root` holds something else: another world, a damaged one, or other files.
        UnsupportedError: Something that the world is drawn with is missing.
    """
    root = Path(root)
    if images < 1:
        raise ValueError(f"images={images}: a world needs at least one image")
    wanted = {
        "kind": world.kind,
        "version": world.version,
        "seed": seed,
        "images": images,
        "shifted": shifted,
    }
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        _check(root, wanted)
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        for name, content in _files(world, images, seed, shifted):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_bytes(folder, content))
        note = {**wanted, "made_with": world.made_with(), "digest": _digest(folder)}
        (folder / NOTE).write_bytes(_bytes(folder, note))
        folder.chmod(0o755)
        folder.replace(root)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return root


def note_problem(found: object) -> str | None:
    """What is wrong with the content of a note; None for that of a world of this version."""
    if not isinstance(found, dict):
        return f"expected a JSON object; {REWRITE}"
    if "kind" not in found:
        return f"the world was written by an earlier version of lvlmsal; {REWRITE}"
    return None


def _check(root: Path, wanted: dict[str, Any]) -> None:
    """Refuse a folder that is not `wanted` and unchanged."""
    try:
        found = json.loads((root / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileExistsError(f"{root} exists and holds no whole world; move it away") from error
    if problem := note_problem(found):
        raise FileExistsError(f"{root / NOTE}: {problem}")
    known = {key: found.get(key) for key in wanted}
    if known != wanted:
        raise FileExistsError(f"{root} holds another world: {known}, not {wanted}")
    if found.get("digest") != _digest(root):
        raise FileExistsError(
            f"{root}: files of this scene world were changed or deleted since it was written (they "
            f"differ from the digest in {NOTE}); move the folder away, and it is drawn again"
        )


def _files(world: World, images: int, seed: int, shifted: bool) -> Iterator[tuple[str, Any]]:
    """Relative path of each file and its content, see `_bytes`."""
    shots = []
    for image_id in track(range(1, images + 1), "pictures"):
        scene = world.scene_number(image_id - 1, seed=seed, shifted=shifted)
        picture, objects = world.draw(scene)
        shots.append(Shot(image_id, scene, picture.size, objects))
        file = io.BytesIO()
        picture.save(file, format="PNG")
        yield f"images/{world.file_name(image_id)}", file.getvalue()
    scenes = [(shot.image_id, shot.scene) for shot in shots]
    yield "annotations/instances.json", instances(world, shots)
    yield "annotations/captions.json", captions(world, shots, seed=seed, shifted=shifted)
    for split in POPE_SPLITS:
        rows = pope_questions(world, scenes, split, seed)
        yield f"pope/{world.pope}_pope_{split}.json", "".join(f"{json.dumps(r)}\n" for r in rows)
    yield from world.more_files().items()
    yield from mme_files(world, scenes, seed)
    yield from amber_files(world, scenes, seed)
    yield from vizwiz_files(world, scenes, seed)


def _bytes(folder: Path, content: Any) -> bytes:
    """Bytes and text as they are, a path as the file that it names, all else as JSON."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, PurePosixPath):
        return (folder / content).read_bytes()
    return (json.dumps(content, sort_keys=True) + "\n").encode()


def _digest(root: Path) -> str:
    """SHA-256 over names and contents of all files but the note."""
    # small letters: a file system may keep Annotations/val.json in the folder annotations
    names = {path.relative_to(root).as_posix().lower(): path for path in root.rglob("*")}
    total = hashlib.sha256()
    for name, path in sorted(names.items()):
        if path.is_file() and name != NOTE:
            total.update(name.encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
