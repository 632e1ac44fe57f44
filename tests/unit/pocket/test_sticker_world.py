"""The files of the sticker world, read by the loaders of the real data sets."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.evaluation.config.schema import WorldConfig
from lvlmsal.evaluation.config.world import ensure_world, made_with
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.pocket.files.pairs import PAIRS
from lvlmsal.pocket.files.pope import POPE_SPLITS
from lvlmsal.pocket.stickers.classes import NOUNS
from lvlmsal.pocket.stickers.draw import draw
from lvlmsal.pocket.stickers.glyphs import FONT_DIGEST
from lvlmsal.pocket.stickers.scene import Scene, sample_scene
from lvlmsal.pocket.stickers.world import WORLD, write_world
from lvlmsal.registry import BENCHMARKS
from tests.unit.pocket.sticker_truth import answer_to, cells, cells_of, mistakes, names

pytestmark = pytest.mark.slow

IMAGES, SEED = 40, 7


@pytest.fixture(scope="module", params=[False, True], ids=["ordinary", "shifted"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / f"shifted-{request.param}"
    return write_world(root, images=IMAGES, seed=SEED, shifted=request.param)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def scene_of(world: Path, name: str) -> Scene:
    found = re.fullmatch(r"STICKERS_(\d{12})\.png", Path(name).name)
    assert found is not None
    shifted = read(world / "world.json")["shifted"]
    scene: Scene = WORLD.scene_number(int(found[1]) - 1, seed=SEED, shifted=shifted)
    return scene


def samples_of(benchmark: Benchmark) -> list[Any]:
    assert benchmark.problems() == []
    return benchmark.samples()


def scored(benchmark: Benchmark, scenes: list[Scene]) -> dict[str, float]:
    """Figures of true captions."""
    captions = [WORLD.caption(scene, random.Random(0)) for scene in scenes]
    targets = [sample.target for sample in benchmark.samples()]
    return {name: float(v) for name, v in benchmark.metric().score(captions, targets).items()}


def test_the_note_says_what_the_pictures_depend_on(world: Path) -> None:
    note = read(world / "world.json")
    assert note["kind"] == "stickers"
    assert note["made_with"]["font"] == FONT_DIGEST
    assert note["made_with"].keys() == {"font", "pil", "freetype2"}
    assert write_world(world, images=IMAGES, seed=SEED, shifted=note["shifted"]) == world


def test_runs_note_it_too(tmp_path: Path) -> None:
    asked = WorldConfig(root=str(tmp_path / "w"), kind="stickers", images=1)
    ensure_world(asked)
    assert made_with(asked)["font"] == FONT_DIGEST
    shapes = WorldConfig(root=str(tmp_path / "s"), images=1)
    ensure_world(shapes)
    assert made_with(shapes) == made_with(None) == {}


def test_instances_are_cocos_and_what_is_visible(world: Path) -> None:
    content = read(world / "annotations/instances.json")
    official = {"person": 1, "stop sign": 13, "tie": 32, "wine glass": 46, "toothbrush": 90}
    categories = {entry["name"]: entry["id"] for entry in content["categories"]}
    assert official.items() <= categories.items()
    assert list(categories) == list(NOUNS)
    assert not (world / "vocabulary.txt").exists()
    by_id = {number: name for name, number in categories.items()}
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        assert annotation["iscrowd"] == 0
        found[annotation["image_id"]].append(annotation)
    for entry in content["images"]:
        scene = scene_of(world, entry["file_name"])
        with Image.open(world / "images" / entry["file_name"]) as image:
            assert image.size == (entry["width"], entry["height"])
            drawn = draw(scene)
            assert np.array_equal(np.asarray(image), drawn.image)
        rows = found[entry["id"]]
        assert [by_id[row["category_id"]] for row in rows] == [t.name for t in scene.things]
        for index, row in enumerate(rows, start=1):
            left, top, width, height = row["bbox"]
            seen = drawn.owner == index
            assert row["area"] == seen.sum() == seen[top : top + height, left : left + width].sum()


def test_captions_are_true(world: Path) -> None:
    content = read(world / "annotations/captions.json")
    files = {entry["id"]: entry["file_name"] for entry in content["images"]}
    count = Counter(row["image_id"] for row in content["annotations"])
    assert count == dict.fromkeys(files, 2)
    for row in content["annotations"]:
        scene = scene_of(world, files[row["image_id"]])
        assert mistakes(scene, row["caption"]) == []


def test_every_caption_scans_to_the_classes_of_its_scene() -> None:
    coco = Vocabulary.coco()
    for k in range(1500):
        scene = sample_scene(random.Random(k), shifted=k % 2 == 1)
        text = WORLD.caption(scene, random.Random(k))
        assert {name for name, _ in coco.objects(text)} == set(scene.present), text


def test_chair_takes_cocos_list(world: Path) -> None:
    benchmark = BENCHMARKS.build("chair", root=str(world))
    samples = samples_of(benchmark)
    assert len(samples) == IMAGES
    scenes = [scene_of(world, sample.images[0].name) for sample in samples]
    for scene, sample in zip(scenes, samples, strict=True):
        assert set(sample.target) == set(scene.present)
    figures = scored(benchmark, scenes)
    assert figures["chair_i"] == figures["chair_s"] == 0.0


@pytest.mark.parametrize("split", POPE_SPLITS)
def test_pope_is_true_and_balanced(world: Path, split: str) -> None:
    lines = (world / f"pope/stickers_pope_{split}.json").read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        row = json.loads(line)
        assert list(row) == ["question_id", "image", "text", "label"]
        assert row["question_id"] == number
    samples = samples_of(BENCHMARKS.build("pope", root=str(world), split=split))
    asked: dict[str, list[Any]] = defaultdict(list)
    for sample in samples:
        name = sample.images[0].name
        asked[name].append(sample)
        assert sample.target == answer_to(scene_of(world, name), sample.prompt)
    assert len(asked) == IMAGES
    for name, group in asked.items():
        each = min(3, len(scene_of(world, name).present))
        assert Counter(s.target for s in group) == {"yes": each, "no": each}
        assert len({s.prompt for s in group}) == 2 * each


def test_popular_and_adversarial_ask_about_the_likely_absent_ones(world: Path) -> None:
    # counted here as well, in other scenes than the world's own statistics
    frequency: Counter[str] = Counter()
    together: Counter[frozenset[str]] = Counter()
    for k in range(3000):
        present = sample_scene(random.Random(f"counted/{k}")).present
        frequency.update(present)
        together.update(frozenset((a, b)) for a in present for b in present if a < b)

    def mean(split: str, worth: Any) -> float:
        rows = [
            json.loads(line)
            for line in (world / f"pope/stickers_pope_{split}.json").read_text().splitlines()
        ]
        asked = [(scene_of(world, r["image"]), r["text"]) for r in rows if r["label"] == "no"]
        return float(np.mean([worth(scene, names(text)[0]) for scene, text in asked]))

    def popularity(_: Scene, name: str) -> int:
        return frequency[name]

    def company(scene: Scene, name: str) -> int:
        return sum(together[frozenset((other, name))] for other in scene.present)

    assert mean("popular", popularity) > 3 * mean("random", popularity)
    assert mean("adversarial", company) > 1.2 * mean("popular", company)
    assert mean("popular", company) > 1.2 * mean("random", company)


def test_mme_has_a_yes_and_a_no_for_each_image(world: Path) -> None:
    samples = samples_of(BENCHMARKS.build("mme", root=str(world)))
    by_task: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        question, suffix, _ = sample.prompt.partition(" Please answer yes or no.")
        assert suffix
        target = sample.target
        assert target["label"] == answer_to(scene_of(world, target["image"]), question), question
        by_task[target["task"]][target["label"]] += 1
    assert by_task.keys() == PAIRS.keys()
    for counts in by_task.values():
        assert counts["yes"] == counts["no"] > IMAGES // 4
    assert by_task["scene"]["yes"] == IMAGES


def test_amber_is_true(world: Path) -> None:
    described = BENCHMARKS.build("amber", root=str(world), variant="words")
    scenes = [scene_of(world, sample.images[0].name) for sample in samples_of(described)]
    for scene, sample in zip(scenes, described.samples(), strict=True):
        assert set(sample.target["truth"]) == set(scene.present)
        assert not set(sample.target["hallu"]) & set(scene.present)
    figures = scored(described, scenes)
    assert (figures["chair"], figures["cover"], figures["hal"]) == (0.0, 1.0, 0.0)
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples_of(BENCHMARKS.build("amber", root=str(world), part="discriminative")):
        target = sample.target
        scene = scene_of(world, sample.images[0].name)
        assert target["label"] == answer_to(scene, sample.prompt), sample.prompt
        answers[target["dimension"]][target["label"]] += 1
    assert answers["existence"] == {"no": 2 * IMAGES}
    for dimension in ("state", "number", "relation"):
        assert answers[dimension]["yes"] == answers[dimension]["no"] > IMAGES // 4


def test_vizwiz_has_ten_answers_of_which_most_are_right(world: Path) -> None:
    numbers = ("zero", "one", "two", "three", "four", "five", "six")
    samples = samples_of(BENCHMARKS.build("vizwiz", root=str(world), prompt="{question}"))
    assert len(samples) == IMAGES
    for sample in samples:
        scene = scene_of(world, sample.images[0].name)
        (answer, votes), *_ = Counter(sample.target["answers"]).most_common()
        assert len(sample.target["answers"]) == 10
        assert votes >= 6
        if not sample.target["answerable"]:
            assert answer == "unanswerable"
            assert not scene.of(names(sample.prompt)[0])
        elif sample.prompt.startswith("Where"):
            where = cells(re.sub(r"\b(in|at|on) ", r"\1 the ", answer))
            assert where == cells_of(scene, names(sample.prompt)[0])
        else:
            right = answer_to(scene, sample.prompt)
            assert answer == (str(numbers.index(right)) if right in numbers else right)
    kinds = {sample.target["answer_type"] for sample in samples}
    assert kinds == {"yes/no", "number", "other", "unanswerable"}


def test_image_k_is_the_same_however_many_there_are(tmp_path: Path) -> None:
    small, large = (
        write_world(tmp_path / str(count), images=count, seed=SEED, shifted=False)
        for count in (2, 4)
    )
    for path in (small / "images").iterdir():
        assert path.read_bytes() == (large / "images" / path.name).read_bytes()
    few, many = (read(root / "annotations/captions.json") for root in (small, large))
    assert many["annotations"][: len(few["annotations"])] == few["annotations"]
