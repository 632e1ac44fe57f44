"""The world's files of MME, AMBER and VizWiz: true, readable by the models, and never changing."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.pocket.files.mme import MME
from lvlmsal.pocket.files.pope import POPE_SPLITS
from lvlmsal.pocket.scenes.language import NUMBERS, PLACES, corpus
from lvlmsal.pocket.scenes.scene import GRID, SHAPES, Scene
from lvlmsal.pocket.scenes.world import scene_number, write_world
from lvlmsal.pocket.training.tokenizer import words

pytestmark = pytest.mark.slow

IMAGES, SEED = 30, 7


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(
        tmp_path_factory.mktemp("data") / "w", images=IMAGES, seed=SEED, shifted=True
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def scene_of(name: str) -> Scene:
    number = re.fullmatch(r"SCENE_(\d{12})\.png", name)
    assert number is not None
    return scene_number(int(number[1]) - 1, seed=SEED, shifted=True)


def truth(question: str, scene: Scene) -> bool:
    """Whether a yes-no question is true of a scene, read off its words alone."""
    colors = {thing.shape: thing.color for thing in scene.things}
    cells = {thing.shape: divmod(thing.cell, GRID) for thing in scene.things}
    if found := re.fullmatch(r"Is there an? (\w+) in (?:the|this) image\?", question):
        return found[1] in colors
    if found := re.fullmatch(r"Are there (\w+) objects in the image\?", question):
        return NUMBERS.index(found[1]) == len(scene.things)
    if found := re.fullmatch(
        r"Is the (\w+) (to the left of|to the right of|above|below) the (\w+)\?", question
    ):
        (row, column), (row_2, column_2) = cells[found[1]], cells[found[3]]
        return {
            "to the left of": column < column_2,
            "to the right of": column > column_2,
            "above": row < row_2,
            "below": row > row_2,
        }[found[2]]
    found = re.fullmatch(r"(?:Is|Are) the (\w+) (.+)\?", question)
    assert found is not None, question
    shape = found[1] if found[1] in SHAPES else re.sub("(?<=s)es$|(?<=sh)es$|s$", "", found[1])
    if found[2] in PLACES:
        return divmod(PLACES.index(found[2]), GRID) == cells[shape]
    return colors[shape] == found[2]


def test_earlier_files_are_what_they_always_were(tmp_path: Path) -> None:
    # taken before there were questions of MME, AMBER and VizWiz
    root = write_world(tmp_path / "w", images=12, seed=7, shifted=True)
    total = hashlib.sha256()
    splits = [f"pope/scene_pope_{split}.json" for split in sorted(POPE_SPLITS)]
    for name in (
        "annotations/captions.json",
        "annotations/instances.json",
        *splits,
        "vocabulary.txt",
    ):
        total.update((root / name).read_bytes())
    assert total.hexdigest() == "717e3f6b7d10ea1ecbc26327b5f9cc88c70f0c313eeae1bb11008a5a808273e5"


def test_mme_asks_two_questions_an_image(world: Path) -> None:
    tasks = {path.name for path in (world / MME).iterdir()}
    assert tasks == {"existence", "count", "position", "color"}
    for task in tasks:
        folder = world / MME / task
        texts = sorted(folder.glob("*.txt"))
        assert len(texts) > IMAGES // 2
        for path in texts:
            image = path.with_suffix(".png")
            assert image.read_bytes() == (world / "images" / image.name).read_bytes()
            pairs = [line.split("\t") for line in path.read_text().splitlines()]
            assert [label for _, label in pairs] == ["Yes", "No"]
            for text, label in pairs:
                question, suffix, rest = text.partition(" Please answer yes or no.")
                assert suffix
                assert not rest
                assert truth(question, scene_of(image.name)) == (label == "Yes")


def test_amber_is_in_the_layout_of_the_release(world: Path) -> None:
    data = world / "data"
    annotations = read(data / "annotations.json")
    assert [entry["id"] for entry in annotations] == list(range(1, len(annotations) + 1))
    everything = read(data / "query/query_all.json")
    assert [query["id"] for query in everything] == sorted(query["id"] for query in everything)
    assert {query["id"] for query in everything} == {entry["id"] for entry in annotations}
    parts = [read(data / f"query/query_{kind}.json") for kind in ("generative", "discriminative")]
    assert [*parts[0], *parts[1]] == everything
    kinds = ("attribute", "existence", "relation")
    by_kind = [read(data / f"query/query_discriminative-{kind}.json") for kind in kinds]
    assert [query for part in by_kind for query in part] == parts[1]
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for query in everything:
        entry, scene = annotations[query["id"] - 1], scene_of(query["image"])
        if entry["type"] == "generative":
            assert set(entry["truth"]) == set(scene.present)
            assert not set(entry["hallu"]) & set(scene.present)
            assert query["query"] == "Describe this image."
        else:
            assert truth(query["query"], scene) == (entry["truth"] == "yes"), query
            answers[entry["type"]][entry["truth"]] += 1
    state, number = (answers[f"discriminative-attribute-{kind}"] for kind in ("state", "number"))
    assert state == number == {"yes": IMAGES, "no": IMAGES}
    assert answers["discriminative-hallucination"] == {"no": 2 * IMAGES}
    assert set(answers["discriminative-relation"]) == {"yes"}
    assert answers["relation"] == {"no": answers["discriminative-relation"]["yes"]}
    assert set(read(data / "relation.json")) == set(SHAPES)


def test_vizwiz_has_ten_answers_of_which_most_are_right(world: Path) -> None:
    rows = read(world / "Annotations/val.json")
    assert [row["image"] for row in rows] == sorted(p.name for p in (world / "images").iterdir())
    for row in rows:
        scene = scene_of(row["image"])
        given = Counter(answer["answer"] for answer in row["answers"])
        assert sum(given.values()) == 10
        (common, times), *_ = given.most_common()
        assert times >= 6
        assert all(text == text.strip().lower() for text in given)
        assert row["answerable"] == (common != "unanswerable")
        if row["answer_type"] == "yes/no":
            assert truth(row["question"], scene) == (common == "yes")
        elif row["answer_type"] == "number":
            assert common == str(len(scene.things))
        elif row["answer_type"] == "other":
            kind = "where" if row["question"].startswith("Where") else "color"
            places = [place.replace("the ", "") for place in PLACES]
            shape = next(s for s in SHAPES if re.search(rf"\b{s}(?:s|es)?\?", row["question"]))
            (thing, *_) = scene.of(shape)
            assert common == (places[thing.cell] if kind == "where" else thing.color)
        else:
            assert not any(s in words(row["question"]) for s in scene.present)
    assert {row["answer_type"] for row in rows} == {"yes/no", "number", "other", "unanswerable"}


def test_every_word_is_one_that_the_models_know(world: Path) -> None:
    known = {word for text in corpus() for word in words(text)}
    texts = [q["query"] for q in read(world / "data/query/query_all.json")]
    texts += [row["question"] for row in read(world / "Annotations/val.json")]
    texts += [
        line.split("\t")[0]
        for path in (world / MME).rglob("*.txt")
        for line in path.read_text().splitlines()
    ]
    assert {word for text in texts for word in words(text)} <= known


@pytest.mark.parametrize("keys", [{"kind"}, {"kind", "made_with"}])
def test_an_older_world_is_refused(tmp_path: Path, keys: set[str]) -> None:
    root = write_world(tmp_path / "w", images=2, seed=1, shifted=False)
    note = read(root / "world.json")
    old = {key: value for key, value in note.items() if key not in keys} | {"questions": {}}
    (root / "world.json").write_text(json.dumps(old))
    with pytest.raises(FileExistsError, match=r"world\.json: .*earlier version.*delete the folder"):
        write_world(root, images=2, seed=1, shifted=False)


def test_damaged_questions_are_refused(tmp_path: Path) -> None:
    root = write_world(tmp_path / "w", images=2, seed=1, shifted=False)
    (root / "data/safe_words.txt").write_text("star\n")
    with pytest.raises(FileExistsError, match="differ from the digest"):
        write_world(root, images=2, seed=1, shifted=False)
