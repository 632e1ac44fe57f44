"""Files of the scene world: images, COCO-style annotations, captions, questions, vocabulary.

They have the formats of the real data sets, so that the loaders of those read them. The questions
of MME, AMBER and VizWiz came later; a world without them is completed.
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

from lvlmsal.pocket.scenes.absent import POPE_SPLITS, absent_shapes
from lvlmsal.pocket.scenes.draw import area, bounding_box, draw
from lvlmsal.pocket.scenes.language import caption, exists_question, plural
from lvlmsal.pocket.scenes.questions import VERSION as QUESTIONS_VERSION
from lvlmsal.pocket.scenes.questions import is_question_file, question_files
from lvlmsal.pocket.scenes.scene import SHAPES, Scene, sample_scene

VERSION: Final = 1
"""Rises whenever the same arguments would yield other files."""

CAPTIONS_PER_IMAGE: Final = 2

NOTE: Final = "world.json"
"""File that says which world a folder holds, with the digests of its other files."""

_SCRATCH: Final = f".{NOTE}"

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


def _digest(root: Path, *, questions: bool = False) -> str:
    """SHA-256 over names and contents of the later question files, or of all others."""
    digests = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file() and name not in (NOTE, _SCRATCH) and is_question_file(name) == questions:
            digests[path] = hashlib.sha256(path.read_bytes()).digest()
    if questions:
        # small letters: a file system may keep Annotations/val.json in the folder annotations
        names = {path.relative_to(root).as_posix().lower(): d for path, d in digests.items()}
        return _total(sorted(names.items()))
    return _total((path.relative_to(root).as_posix(), digests[path]) for path in sorted(digests))


def _total(digests: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, digest in digests:
        total.update(name.encode() + b"\0")
        total.update(digest)
    return total.hexdigest()


def _write_questions(root: Path, wanted: dict[str, Any]) -> None:
    """Write the later question files of a world, then the note of what it holds."""
    seed, shifted = wanted["seed"], wanted["shifted"]
    scenes = [
        (k + 1, file_name(k + 1), scene_number(k, seed=seed, shifted=shifted))
        for k in range(wanted["images"])
    ]
    digests = {}
    for name, content in question_files(scenes, seed):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written = content if isinstance(content, bytes) else (root / content).read_bytes()
        path.write_bytes(written)
        digests[name.lower()] = hashlib.sha256(written).digest()
    # not read back: another process may be completing the same world
    questions = {"version": QUESTIONS_VERSION, "digest": _total(sorted(digests.items()))}
    (root / _SCRATCH).write_bytes(
        _json({**wanted, "digest": _digest(root), "questions": questions})
    )
    (root / _SCRATCH).replace(root / NOTE)


def write_world(root: str | os.PathLike[str], *, images: int, seed: int, shifted: bool) -> Path:
    """Write a world, whole or not at all.

    The files are written to a folder next to `root`, which then takes its name. So a folder of that
    name is complete, however often a run was killed before.

    Args:
        root: The folder to make; its parents are made too.
        images: How many images.
        seed: Seed of the scenes. Image k is the same whatever `images` is.
        shifted: Draw shapes and colors uniformly and independently, without the co-occurrence that
            the models are trained on.

    Returns:
        The folder. One that already holds this very world is left as it is, or gets the questions
        of MME, AMBER and VizWiz if it was written before there were any.

    Raises:
        ValueError: `images` is less than 1.
        FileExistsError: `root` holds something else: another world, a damaged one, or other files.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     world = write_world(Path(folder) / "w", images=2, seed=0, shifted=False)
        ...     sorted(path.name for path in world.iterdir())
        ['Annotations', 'MME_Benchmark_release_version', 'annotations', 'data', 'images', 'pope',
         'vocabulary.txt', 'world.json']
    """
    root = Path(root)
    if images < 1:
        raise ValueError(f"images={images}: a world needs at least one image")
    wanted = {"version": VERSION, "seed": seed, "images": images, "shifted": shifted}
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        if _is_older(root, wanted):
            _write_questions(root, wanted)
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        for name, write in _files(images, seed, shifted):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
        _write_questions(folder, wanted)
        folder.chmod(0o755)
        folder.replace(root)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return root


def _is_older(root: Path, wanted: dict[str, Any]) -> bool:
    """Whether a world lacks the later questions; raises unless it is `wanted` and unchanged."""
    try:
        found = json.loads((root / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileExistsError(f"{root} exists and holds no whole world; move it away") from error
    digest, questions = found.pop("digest", None), found.pop("questions", None)
    if found != wanted:
        raise FileExistsError(f"{root} holds another world: {found}, not {wanted}")
    if digest != _digest(root):
        raise FileExistsError(
            f"{root}: files of this scene world were changed or deleted since it was written (they "
            f"differ from the digest in {NOTE}); move the folder away, and it is drawn again"
        )
    if questions is None or questions["version"] != QUESTIONS_VERSION:
        return True
    if questions["digest"] != _digest(root, questions=True):
        raise FileExistsError(
            f"{root}: questions of MME, AMBER or VizWiz differ from the digest in {NOTE}; move "
            "the world away"
        )
    return False
