"""The benchmarks read official layouts, and list everything that is wrong with the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lvlmsal.benchmarks.chair.benchmark import Chair
from lvlmsal.benchmarks.pope.benchmark import Pope
from lvlmsal.errors import DataError
from lvlmsal.registry import BENCHMARKS

ROWS = [
    {"question_id": 1, "image": "a.png", "text": "Is there a dog in the image?", "label": "yes"},
    {"question_id": 2, "image": "a.png", "text": "Is there a cat in the image?", "label": "no"},
    {"question_id": 3, "image": "b.png", "text": "Is there a bus in the image?", "label": "no"},
]


def write_pope(
    root: Path, rows: list[dict[str, object]], name: str = "pope/coco_pope_random.json"
) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = root / "val2014"
    folder.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"")
    return path


def write_coco(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    images = [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}]
    for image in images:
        (root / "images" / str(image["file_name"])).write_bytes(b"")
    instances = {
        "images": images,
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 1}],
    }
    captions = {
        "images": images,
        "annotations": [{"id": 1, "image_id": 3, "caption": "A puppy near a bus."}],
    }
    (root / "annotations/instances_val2014.json").write_text(json.dumps(instances))
    (root / "annotations/captions_val2014.json").write_text(json.dumps(captions))


def test_pope_reads_the_official_layout(tmp_path: Path) -> None:
    write_pope(tmp_path, ROWS)
    pope = Pope(root=str(tmp_path), prompt="{question} One word, please.")
    assert pope.problems() == []
    first, second, third = pope.samples()
    assert first.prompt == "Is there a dog in the image? One word, please."
    assert (first.id, first.target, first.images) == ("1", "yes", (tmp_path / "val2014/a.png",))
    assert first.group == second.group != third.group
    assert pope.label == "pope/random"


def test_pope_takes_one_category_of_a_merged_file(tmp_path: Path) -> None:
    rows = [{**row, "category": kind} for kind in ("random", "popular") for row in ROWS[:1]]
    write_pope(tmp_path, rows, "llava_pope_test.jsonl")
    questions = "llava_pope_test.jsonl"
    assert len(Pope(root=str(tmp_path), questions=questions, split="popular").samples()) == 1
    (problem,) = Pope(root=str(tmp_path), questions=questions, split="adversarial").problems()
    assert "adversarial" in problem
    assert "popular" in problem


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question_id": 3, "image": "b.png", "text": "Is?"}, "'label' is missing"),
        ({"question_id": 3, "image": "b.png", "text": "Is?", "label": "maybe"}, "'maybe'"),
        ({"question_id": 1, "image": "b.png", "text": "Is?", "label": "no"}, "already used"),
        ({"question_id": 3, "image": "c.png", "text": "Is?", "label": "no"}, "no image"),
        ({"question_id": 3, "image": "../b.png", "text": "Is?", "label": "no"}, "'..'"),
        ({"question_id": 3, "image": "/b.png", "text": "Is?", "label": "no"}, "absolute"),
        ({"question_id": 3, "image": "C:\\b.png", "text": "Is?", "label": "no"}, "absolute"),
        ({"question_id": 3, "image": "..\\b.png", "text": "Is?", "label": "no"}, "'..'"),
    ],
)
def test_a_bad_question_is_named_with_file_and_line(
    tmp_path: Path, row: dict[str, object], words: str
) -> None:
    path = write_pope(tmp_path, [*ROWS[:2], row])
    (problem,) = Pope(root=str(tmp_path)).problems()
    assert problem.startswith(f"{path}:3: ")
    assert words in problem


def test_a_cut_line_is_named(tmp_path: Path) -> None:
    path = write_pope(tmp_path, ROWS)
    path.write_text(path.read_text()[:-30])
    (problem,) = Pope(root=str(tmp_path)).problems()
    assert problem.startswith(f"{path}:3: ")


def test_every_missing_image_is_listed_up_to_a_limit(tmp_path: Path) -> None:
    rows = [
        {"question_id": n, "image": f"{n}.png", "text": "Is?", "label": "no"} for n in range(1, 16)
    ]
    path = write_pope(tmp_path, rows)
    problems = Pope(root=str(tmp_path)).problems()
    assert [p.split(" ")[0] for p in problems[:10]] == [f"{path}:{n}:" for n in range(1, 11)]
    assert problems[10] == "... and 5 more like these"


def test_samples_refuses_what_problems_lists(tmp_path: Path) -> None:
    write_pope(tmp_path, [{**ROWS[0], "label": "perhaps"}])
    with pytest.raises(DataError, match="perhaps"):
        Pope(root=str(tmp_path)).samples()


def test_two_question_files_are_not_guessed_between(tmp_path: Path) -> None:
    write_pope(tmp_path, ROWS, "pope/aokvqa_pope_random.json")
    write_pope(tmp_path, ROWS, "pope/gqa_pope_random.json")
    (problem,) = Pope(root=str(tmp_path)).problems()
    assert "aokvqa_pope_random.json, gqa_pope_random.json" in problem
    assert "'dataset'" in problem
    named = Pope(root=str(tmp_path), questions="pope/gqa_pope_random.json")
    assert len(named.samples()) == 3


def test_limit_keeps_the_questions_of_an_image_together(tmp_path: Path) -> None:
    write_pope(tmp_path, ROWS)
    assert [s.id for s in Pope(root=str(tmp_path), limit=1).samples()] == ["1", "2"]
    drawn = {
        tuple(s.id for s in Pope(root=str(tmp_path), limit=1, subset_seed=seed).samples())
        for seed in range(20)
    }
    assert drawn == {("1", "2"), ("3",)}


def test_a_random_subset_does_not_depend_on_the_order_of_lines(tmp_path: Path) -> None:
    rows = [
        {"question_id": n, "image": f"{n:02}.png", "text": "Is?", "label": "no"} for n in range(30)
    ]
    chosen = []
    for name, order in (("x", rows), ("y", rows[::-1])):
        write_pope(tmp_path / name, order)
        pope = Pope(root=str(tmp_path / name), limit=5, subset_seed=3)
        chosen.append({sample.id for sample in pope.samples()})
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 5


def test_digest_follows_what_is_asked(tmp_path: Path) -> None:
    write_pope(tmp_path, ROWS)
    digests = {
        Pope(root=str(tmp_path), **options).digest()
        for options in ({}, {"limit": 1}, {"prompt": "{question}?"}, {"parser": "opera"})
    }
    assert len(digests) == 3  # how answers are read is not part of the question


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"max_new_tokens": 0},
        {"prompt": "no place for it"},
        {"subset_seed": 1},
        {"root": " "},
    ],
)
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    (problem,) = BENCHMARKS.problems("pope", {"root": "x", **options})
    assert next(iter(options)) in problem


def test_chair_joins_annotated_and_described_objects(tmp_path: Path) -> None:
    write_coco(tmp_path)
    chair = Chair(root=str(tmp_path))
    assert chair.problems() == []
    assert [(s.id, s.target) for s in chair.samples()] == [("3", ["bus", "dog"]), ("7", [])]
    assert chair.metric().variant.startswith("COCO objects")


def test_chair_takes_the_ids_of_a_list_in_its_order(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "ids.txt").write_text("b.png\n\n3\n")
    assert [s.id for s in Chair(root=str(tmp_path), ids="ids.txt").samples()] == ["7", "3"]
    (tmp_path / "ids.txt").write_text("b.png\n4\nx.png\n")
    problems = Chair(root=str(tmp_path), ids="ids.txt").problems()
    assert [p.split(": ")[0] for p in problems] == [
        f"{tmp_path / 'ids.txt'}:2",
        f"{tmp_path / 'ids.txt'}:3",
    ]


def test_chair_uses_the_vocabulary_beside_the_images(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "vocabulary.txt").write_text("dog, dogs, puppy\n")
    chair = Chair(root=str(tmp_path))
    assert [s.target for s in chair.samples()] == [["dog"], []]
    assert chair.metric().variant.startswith("vocabulary.txt")
    assert tmp_path / "vocabulary.txt" in chair.data_files()


def test_a_missing_root_is_one_problem(tmp_path: Path) -> None:
    for benchmark in (Pope(root=str(tmp_path / "x")), Chair(root=str(tmp_path / "x"))):
        (problem,) = benchmark.problems()
        assert str(tmp_path / "x") in problem
