"""Files of the scene world: images, COCO-style annotations, captions, POPE questions, vocabulary.

They have the formats of the real data sets, so that the loaders of those read them.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from PIL import Image

from lvlmsal.pocket.draw import area, bounding_box, draw
from lvlmsal.pocket.language import caption, exists_question, plural
from lvlmsal.pocket.scene import SHAPES, Scene, sample_scene, training_statistics

VERSION: Final = 1
"""Rises whenever the same arguments would yield other files."""

POPE_SPLITS: Final = ("random", "popular", "adversarial")

CAPTIONS_PER_IMAGE: Final = 2

_MOST_PER_ANSWER: Final = 3


def scene_number(index: int, *, seed: int, shifted: bool) -> Scene:
    """The scene of image `index`, which does not depend on how many images there are.

    Args:
        index: From 0.
        seed: Seed of the world.
        shifted: Without the co-occurrence that the models are trained on.

    Returns:
        The scene. The models' training scenes come from other streams, so that it is new to them.
    """
    return sample_scene(_generator(index, seed, shifted, "scene"), shifted=shifted)


def _generator(index: int, seed: int, shifted: bool, use: str) -> random.Random:
    return random.Random(f"world/{VERSION}/{seed}/{int(shifted)}/{use}/{index}")


def file_name(image_id: int) -> str:
    """Name of an image file.

    Example:
        >>> file_name(123)
        'SCENE_000000000123.png'
    """
    return f"SCENE_{image_id:012d}.png"


def absent_shapes(scene: Scene, split: str, rng: random.Random) -> list[str]:
    """Shapes that are not in a scene, in the order in which a POPE split asks about them.

    Frequencies and co-occurrences are those of the distribution that the models are trained on,
    also for shifted scenes: what a prior is, the training decides.

    Args:
        scene: The scene.
        split: ``random`` (any order), ``popular`` (most frequent first) or ``adversarial`` (those
            first that most often stand with the present ones).
        rng: Decides the order in ``random``.

    Returns:
        All absent shapes.

    Raises:
        ValueError: There is no such split.
    """
    absent = list(scene.absent)
    if split == "random":
        rng.shuffle(absent)
        return absent
    frequency, together = training_statistics()
    if split == "popular":
        return sorted(absent, key=lambda shape: (-frequency.get(shape, 0), shape))
    if split == "adversarial":

        def company(shape: str) -> int:
            return sum(together.get((present, shape), 0) for present in scene.present)

        return sorted(absent, key=lambda shape: (-company(shape), shape))
    raise ValueError(f"unknown POPE split {split!r}; known: {', '.join(POPE_SPLITS)}")


def pope_questions(
    scenes: Iterable[tuple[int, Scene]], split: str, seed: int
) -> list[dict[str, Any]]:
    """Questions of one POPE split.

    Each image gets three questions about present shapes and three about absent ones, in turn; one
    with only two present shapes gets two and two. So labels balance in each image and in the file.

    Args:
        scenes: Pairs of image id and scene.
        split: One of `POPE_SPLITS`.
        seed: Decides which present shapes are asked about.

    Returns:
        Rows with ``question_id`` (from 1), ``image``, ``text`` and ``label``.
    """
    rows: list[dict[str, Any]] = []
    for image_id, scene in scenes:
        rng = random.Random(f"pope/{VERSION}/{seed}/{split}/{image_id}")
        asked = rng.sample(scene.present, min(_MOST_PER_ANSWER, len(scene.present)))
        absent = absent_shapes(scene, split, rng)[: len(asked)]
        for present_shape, absent_shape in zip(asked, absent, strict=True):
            for shape, label in ((present_shape, "yes"), (absent_shape, "no")):
                rows.append(
                    {
                        "question_id": len(rows) + 1,
                        "image": file_name(image_id),
                        "text": exists_question(shape),
                        "label": label,
                    }
                )
    return rows


def instances(scenes: Iterable[tuple[int, Scene]]) -> dict[str, Any]:
    """Objects of scenes as COCO has them; category ids count `SHAPES` from 1.

    Args:
        scenes: Pairs of image id and scene.

    Returns:
        ``images``, ``annotations`` and ``categories``; boxes are (left, top, width, height).
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, scene in scenes:
        images.append(
            {
                "id": image_id,
                "file_name": file_name(image_id),
                "width": scene.width,
                "height": scene.height,
            }
        )
        for thing in scene.things:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": SHAPES.index(thing.shape) + 1,
                    "bbox": list(bounding_box(thing)),
                    "area": area(thing),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": shape} for number, shape in enumerate(SHAPES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def vocabulary() -> str:
    """Names of the objects in the format of CHAIR's ``synonyms.txt``.

    Example:
        >>> vocabulary().splitlines()[0]
        'arrow, arrows'
    """
    return "".join(f"{shape}, {plural(shape)}\n" for shape in SHAPES)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=None, sort_keys=True) + "\n").encode()


def _files(images: int, seed: int, shifted: bool) -> Iterable[tuple[str, Callable[[Path], object]]]:
    """Relative path of each file and what writes it."""
    scenes = [
        (index + 1, scene_number(index, seed=seed, shifted=shifted)) for index in range(images)
    ]

    def image_writer(scene: Scene) -> Callable[[Path], object]:
        return lambda path: Image.fromarray(draw(scene)).save(path, format="PNG")

    def bytes_writer(content: bytes) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(content)

    for image_id, scene in scenes:
        yield f"images/{file_name(image_id)}", image_writer(scene)
    yield "annotations/instances.json", bytes_writer(_json(instances(scenes)))
    captions: list[dict[str, Any]] = []
    for image_id, scene in scenes:
        rng = _generator(image_id - 1, seed, shifted, "caption")
        for _ in range(CAPTIONS_PER_IMAGE):
            number = len(captions) + 1
            captions.append({"id": number, "image_id": image_id, "caption": caption(scene, rng)})
    entries = instances(scenes)["images"]
    content = {"images": entries, "annotations": captions}
    yield "annotations/captions.json", bytes_writer(_json(content))
    for split in POPE_SPLITS:
        rows = pope_questions(scenes, split, seed)
        lines = b"".join((json.dumps(row) + "\n").encode() for row in rows)
        yield f"pope/scene_pope_{split}.json", bytes_writer(lines)
    yield "vocabulary.txt", bytes_writer(vocabulary().encode())


def _digest(root: Path) -> str:
    """SHA-256 over names and contents of all files but ``world.json``."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != "world.json":
            total.update(path.relative_to(root).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def write_world(root: str | os.PathLike[str], *, images: int, seed: int, shifted: bool) -> Path:
    """Write a world, whole or not at all.

    The files are written to a folder beside `root`, which then takes its name. So a folder of that
    name is complete, however often a run was killed before.

    Args:
        root: The folder to make; its parents are made too.
        images: How many images.
        seed: Seed of the scenes. Image k is the same whatever `images` is.
        shifted: Draw shapes and colours uniformly and independently, without the co-occurrence that
            the models are trained on.

    Returns:
        The folder. One that already holds this very world is left as it is.

    Raises:
        ValueError: `images` is less than 1.
        FileExistsError: `root` holds something else: another world, a damaged one, or other files.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     world = write_world(Path(folder) / "w", images=2, seed=0, shifted=False)
        ...     sorted(path.name for path in world.iterdir())
        ['annotations', 'images', 'pope', 'vocabulary.txt', 'world.json']
    """
    root = Path(root)
    if images < 1:
        raise ValueError(f"images={images}: a world needs at least one image")
    wanted = {"version": VERSION, "seed": seed, "images": images, "shifted": shifted}
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        _check_same(root, wanted)
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        for name, write in _files(images, seed, shifted):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        (folder / "world.json").write_bytes(_json({**wanted, "digest": _digest(folder)}))
        folder.chmod(0o755)
        folder.replace(root)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return root


def _check_same(root: Path, wanted: dict[str, Any]) -> None:
    """Raise unless `root` holds the world `wanted`, with its files unchanged."""
    try:
        found = json.loads((root / "world.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileExistsError(f"{root} exists and holds no whole world; move it away") from error
    digest = found.pop("digest", None)
    if found != wanted:
        raise FileExistsError(f"{root} holds another world: {found}, not {wanted}")
    if digest != _digest(root):
        raise FileExistsError(f"{root}: files differ from the digest in world.json; move it away")
