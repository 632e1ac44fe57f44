"""Named subsets: the same groups for everybody, and lists whose mistakes have a line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvlmsal.benchmarks.subsets as subsets_module
from lvlmsal.benchmarks.chair.benchmark import Chair
from lvlmsal.benchmarks.pope.benchmark import Pope
from lvlmsal.benchmarks.subsets import Population, Recipe, drawn
from lvlmsal.errors import DataError
from lvlmsal.registry import BENCHMARKS


def write_pope(root: Path, names: list[str]) -> Path:
    """Two questions on each image."""
    (root / "pope").mkdir(parents=True)
    rows = [
        {"question_id": 2 * n + k, "image": name, "text": "Is it?", "label": "no"}
        for n, name in enumerate(names)
        for k in (1, 2)
    ]
    path = root / "pope/coco_pope_random.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def groups(benchmark: Pope | Chair) -> list[str]:
    return list(dict.fromkeys(sample.group for sample in benchmark.samples()))


def test_the_published_order_by_hand() -> None:
    # what `printf all-seed0/a | sha256sum` and so on print
    rank = {k: hashlib.sha256(b"all-seed0/" + k.encode()).hexdigest() for k in "abcd"}
    assert [rank[k][:4] for k in "abcd"] == ["f4c3", "bac7", "1b94", "71fe"]
    assert drawn(list("abcd"), Recipe("all", 3, 0)) == ["c", "d", "b"]


@given(
    st.lists(st.text(min_size=1), unique=True, max_size=30),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_a_draw_depends_neither_on_the_order_nor_on_the_number(
    keys: list[str], seed: int, random: object
) -> None:
    everything = drawn(keys, Recipe("all", len(keys), seed))
    assert sorted(everything) == sorted(keys)
    shuffled = list(keys)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for count in range(len(keys)):
        assert drawn(shuffled, Recipe("all", count, seed)) == everything[:count]


def test_a_recipe_keeps_whole_images_and_the_order_of_the_file(tmp_path: Path) -> None:
    names = [f"image {n}é.png" for n in range(20)]
    write_pope(tmp_path, names)
    pope = Pope(root=str(tmp_path), subset="all-5-seed3")
    chosen = groups(pope)
    assert len(pope.samples()) == 10
    assert chosen == [name for name in names if name in set(chosen)]
    by_hand = sorted(names, key=lambda n: hashlib.sha256(f"all-seed3/{n}".encode()).hexdigest())
    assert set(chosen) == set(by_hand[:5])
    assert groups(Pope(root=str(tmp_path), subset="all-5-seed4")) != chosen
    assert groups(Pope(root=str(tmp_path), subset="all-5-seed3", limit=2)) == chosen[:2]


def test_the_list_of_a_subset_chooses_it_again(tmp_path: Path) -> None:
    write_pope(tmp_path, [f"{n}.png" for n in range(20)])
    for options in ({"subset": "all-6-seed1"}, {"limit": 6, "subset_seed": 1}):
        drawn_ = Pope(root=str(tmp_path), **options)
        subset = drawn_.chosen()
        assert subset is not None
        (tmp_path / "list.txt").write_text(subset.text(), encoding="utf-8")
        again = Pope(root=str(tmp_path), subset="list.txt")
        assert again.digest() == drawn_.digest()
        listed = again.chosen()
        assert listed is not None
        assert listed.digest == subset.digest
        sha = hashlib.sha256("".join(f"{g}\n" for g in sorted(subset.groups)).encode())
        assert subset.digest == sha.hexdigest()
    assert Pope(root=str(tmp_path)).chosen() is None


def test_the_same_images_of_coco_whatever_the_benchmark_calls_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    val = subsets_module.POPULATIONS["coco-val2014"]
    assert val.size == 40504
    small = Population(val.pattern, 12)
    monkeypatch.setitem(subsets_module.POPULATIONS, "coco-val2014", small)
    numbers = list(range(7, 130, 11))
    names = [f"COCO_val2014_{n:012d}.jpg" for n in numbers]
    write_pope(tmp_path, [*names, "COCO_train2014_000000000009.jpg"])
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    images = [{"id": n, "file_name": f"COCO_val2014_{n:012d}.jpg"} for n in numbers]
    content = {"images": images, "annotations": [], "categories": []}
    for kind in ("instances", "captions"):
        (annotations / f"{kind}_val2014.json").write_text(json.dumps(content))
    (tmp_path / "vocabulary.txt").write_text("dog, dogs\n")
    recipe = "coco-val2014-4-seed0"
    pope = groups(Pope(root=str(tmp_path), subset=recipe))
    chair = groups(Chair(root=str(tmp_path), subset=recipe))
    assert len(chair) == 4
    assert [f"COCO_val2014_{int(n):012d}.jpg" for n in chair] == pope
    rank = {n: hashlib.sha256(f"coco-val2014-seed0/{n}".encode()).hexdigest() for n in numbers}
    assert {int(n) for n in chair} == set(sorted(numbers, key=rank.__getitem__)[:4])


def test_a_population_must_be_whole(tmp_path: Path) -> None:
    write_pope(tmp_path, [f"COCO_val2014_{n:012d}.jpg" for n in range(5)])
    (problem, *_) = Pope(root=str(tmp_path), subset="coco-val2014-2-seed0").problems()
    assert "40504" in problem
    assert "all-2-seed0" in problem
    (problem, *_) = Pope(root=str(tmp_path), subset="all-6-seed0").problems()
    assert "the files hold 5" in problem


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subset": "coco-val2017-500-seed0"}, "no population 'coco-val2017'"),
        ({"subset": "all-0-seed0"}, "subset of 0"),
        ({"subset": "all-5-seed0", "subset_seed": 1, "limit": 3}, "two ways"),
    ],
)
def test_impossible_choices_are_refused_before_reading(
    options: dict[str, object], words: str
) -> None:
    (problem,) = BENCHMARKS.problems("pope", {"root": "x", **options})
    assert words in problem


def test_a_list_may_name_groups_numbers_or_images(tmp_path: Path) -> None:
    write_pope(tmp_path, ["7.png", "8.png", "12", "a b.png"])
    (tmp_path / "ids.txt").write_text("# mine\n\na b.png \n0012\n", encoding="utf-8")
    assert groups(Pope(root=str(tmp_path), subset="ids.txt")) == ["12", "a b.png"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("7.png\nno.png\n", ":2: ", "'no.png' is not in the data"),
        ("7.png\n\n8.png\n7.png\n", ":4: ", "already named in line 1"),
        ("12\n012\n", ":2: ", "already named in line 1"),
        ("", ": ", "empty"),
        ("# nothing\n\n", ": ", "empty"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(
    tmp_path: Path, text: str, line: str, words: str
) -> None:
    write_pope(tmp_path, ["7.png", "8.png", "12"])
    path = tmp_path / "ids.txt"
    path.write_text(text)
    pope = Pope(root=str(tmp_path), subset="ids.txt")
    (problem,) = pope.reading_problems()
    assert problem.startswith(f"{path}{line}")
    assert words in problem
    with pytest.raises(DataError):
        pope.chosen()


def test_an_image_of_two_groups_is_no_name(tmp_path: Path) -> None:
    images = {"fig/1": ["x.png"], "fig/2": ["x.png", "y.png"]}
    path = tmp_path / "ids.txt"
    path.write_text("y.png\nx.png\n")
    problems: list[str] = []
    assert subsets_module.listed_groups(path, images, problems) == {"fig/2"}
    (problem,) = problems
    assert "fig/1, fig/2" in problem


def test_a_list_is_looked_for_in_the_root_and_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    write_pope(root, ["7.png", "8.png"])
    (tmp_path / "ids.txt").write_text("8.png\n")
    monkeypatch.chdir(tmp_path)
    assert groups(Pope(root=str(root), subset="ids.txt")) == ["8.png"]
    (root / "ids.txt").write_text("7.png\n")
    assert groups(Pope(root=str(root), subset="ids.txt")) == ["7.png"]
    (problem,) = Pope(root=str(root), subset="other.txt").reading_problems()
    assert "<population>-<n>-seed<k>" in problem
