"""ScienceQA: problems and splits, layouts of answers, and files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.scienceqa.benchmark import Scienceqa
from lvlmsal.benchmarks.scienceqa.files import read_scienceqa
from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.registry import BENCHMARKS, SCORERS


def problem(answer: int, **more: Any) -> dict[str, Any]:
    return {
        "question": "Which is an animal?",
        "choices": ["a cat", "a rock", "a sea"],
        "answer": answer,
        "hint": "",
        "image": None,
        "task": "closed choice",
        "grade": "grade2",
        "subject": "natural science",
        "topic": "biology",
        "category": "x",
        "skill": "y",
        "lecture": "",
        "solution": "",
        "split": "test",
        **more,
    }


PROBLEMS = {
    "4": problem(0),
    "11": problem(1, hint="Look.", image="image.png", subject="social science", topic="geography"),
    "7": problem(2, grade="grade12"),
    "1": problem(0, split="train"),
}
SPLITS = {"train": ["1"], "test": ["11", "4", "7"], "trainval": ["1"]}
ANSWERS = {"4": "A", "11": "B.", "7": "A"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "problems.json").write_text(json.dumps(PROBLEMS))
    (tmp_path / "pid_splits.json").write_text(json.dumps(SPLITS))
    (tmp_path / "images/test/11").mkdir(parents=True)
    (tmp_path / "images/test/11/image.png").write_bytes(b"")
    return tmp_path


def test_the_benchmark_asks_as_llava_does(root: Path) -> None:
    scienceqa = Scienceqa(root=str(root))
    assert scienceqa.problems() == []
    first, second, _ = scienceqa.samples()
    assert first.id == "11"
    assert first.prompt == (
        "Context: Look.\nWhich is an animal?\nA. a cat\nB. a rock\nC. a sea\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert first.images == (root / "images/test/11/image.png",)
    assert second.images == ()
    assert second.prompt.startswith("Which is an animal?\nA. a cat\n")
    assert first.target == {
        "answer": 1,
        "choices": 3,
        "subject": "social science",
        "grade": 2,
        "hint": True,
        "image": True,
    }
    assert scienceqa.label == "scienceqa/test"
    assert scienceqa.metric().count_names[0] == "n"


def test_modalities_and_splits(root: Path) -> None:
    image, text = (Scienceqa(root=str(root), modality=modality) for modality in ("image", "text"))
    assert [s.id for s in image.samples()] == ["11"]
    assert [s.id for s in text.samples()] == ["4", "7"]
    assert (image.label, text.label) == ("scienceqa/test-image", "scienceqa/test-text")
    assert [s.id for s in Scienceqa(root=str(root), split="trainval").samples()] == ["1"]
    (found,) = Scienceqa(root=str(root), split="tests").problems()
    assert "no split 'tests'. Did you mean 'test'?" in found
    for options in ({"modality": "img"}, {"prompt": "Well?"}):
        assert len(BENCHMARKS.problems("scienceqa", {"root": "x", **options})) == 1


def test_images_beside_the_problems_and_missing_ones(root: Path) -> None:
    (root / "images").rename(root / "pictures")
    (root / "pictures/test").rename(root / "test")
    assert Scienceqa(root=str(root)).problems() == []
    (root / "test/11/image.png").unlink()
    (found,) = Scienceqa(root=str(root)).problems()
    assert "problem 11: there is no image" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": ["a"]}, "'choices' must be a list of 2 to 5 strings"),
        ({"choices": list("abcdef")}, "'choices' must be a list of 2 to 5 strings"),
        ({"choices": "abc"}, "'choices' must be a list of strings"),
        ({"answer": 3}, "'answer' must be an index from 0 to 2, got 3"),
        ({"answer": True}, "'answer' must be an index"),
        ({"answer": "A"}, "'answer' must be an index"),
        ({"grade": "grade13"}, "'grade' must be one of"),
        ({"subject": "magic"}, "'subject' must be one of 'natural science'"),
        ({"image": 3}, "'image' must be a file name or null"),
        ({"hint": None}, "'hint' must be a string, got None"),
    ],
)
def test_broken_problems_are_named(root: Path, change: dict[str, Any], message: str) -> None:
    path = root / "problems.json"
    path.write_text(json.dumps({**PROBLEMS, "7": {**PROBLEMS["7"], **change}}))
    with pytest.raises(DataError, match=f"problem '7': {message}"):
        read_scienceqa(path, root / "pid_splits.json")


def test_broken_files_are_named(root: Path) -> None:
    problems, splits = root / "problems.json", root / "pid_splits.json"
    for content, message in (
        ({"test": ["4", "4", "7"]}, "lists ids twice: 4"),
        ({"test": ["4", "99"]}, "1 of 2 problems .* are not in the file: 99"),
        ({"test": [4]}, "ids in quotes"),
        ({"test": []}, "the split 'test' lists no problems"),
        ([], "expected a JSON object"),
    ):
        splits.write_text(json.dumps(content))
        with pytest.raises(DataError, match=message):
            read_scienceqa(problems, splits)
    splits.write_text('{"test": ["4"]}')
    problems.write_text('{"4": 1}')
    with pytest.raises(DataError, match="problem '4' must be an object"):
        read_scienceqa(problems, splits)
    problems.write_text('{"4": ')
    with pytest.raises(DataError, match=r"problems\.json:1: not valid JSON"):
        read_scienceqa(problems, splits)


def llava() -> list[dict[str, Any]]:
    return [{"question_id": pid, "prompt": "x", "text": text} for pid, text in ANSWERS.items()]


def score(root: Path, content: Any, **options: Any) -> dict[str, Any]:
    path = root / "answers.jsonl"
    if isinstance(content, list):
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(json.dumps(content))
    files = {"problems": root / "problems.json", "splits": root / "pid_splits.json"}
    return SCORERS.build("scienceqa", **files, answers=path, **options).score()


def test_answers_of_llava(root: Path) -> None:
    result = score(root, llava())
    assert result["accuracy"] == 1 / 3  # 'B.' is not read, 'A' is wrong in problem 7
    assert (result["natural"], result["social"], result["language"]) == (1 / 2, 0, None)
    assert (result["image"], result["no_context"]) == (0, 1 / 2)
    assert (result["unparsed"], result["missing"], result["n"]) == (1, 0, 3)
    assert result["categories"] == {
        "biology": {"accuracy": 1 / 2, "n": 2},
        "geography": {"accuracy": 0, "n": 1},
    }
    json.dumps(result, allow_nan=False)
    assert score(root, llava()[::-1]) == result
    assert score(root, [{**row, "question_id": int(row["question_id"])} for row in llava()]) == (
        result
    )
    every = score(root, llava(), rules="all")["rules"]
    assert {name: figures["accuracy"] for name, figures in every.items()} == {
        "llava": 1 / 3,
        "lmms-eval": 2 / 3,
        "strict": 2 / 3,
    }
    assert score(root, llava(), modality="image", rule="strict")["accuracy"] == 1
    assert score(root, llava(), modality="text")["n"] == 2


def test_official_result_files(root: Path) -> None:
    result = score(root, {"acc": 1, "results": {"4": 0, "11": 1, "7": -1}})
    assert (result["accuracy"], result["unparsed"]) == (2 / 3, 1)
    with pytest.raises(DataError, match="problem 4 must be an index from -1 to 4, got 'A'"):
        score(root, {"results": {"4": "A"}})
    with pytest.raises(DataError, match="'results' must be an object"):
        score(root, {"results": [1]})


def test_what_is_missing_is_refused_or_wrong(root: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 3 problems have no answer: 11\..*--missing wrong"):
        score(root, llava()[::2])
    result = score(root, llava()[::2], missing="wrong")
    assert (result["accuracy"], result["image"]) == (1 / 3, 0)
    assert (result["missing"], result["unparsed"], result["n"]) == (1, 0, 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*llava(), {"question_id": "1", "text": "A"}], "unknown question_id: 1;"),
        ([*llava(), llava()[0]], "question_id 4 occurs a second time"),
        ([{"question_id": "4"}], "there is no answer: expected 'answer' or 'text'"),
        ([{"text": "A"}], "'question_id' is missing"),
        ([], "the file is empty"),
    ],
)
def test_answers_that_do_not_fit_are_refused(
    root: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(root, rows)


def test_rules_are_named_one_by_one_or_all_together(root: Path) -> None:
    assert list(score(root, llava(), rules="strict, llava")["rules"]) == ["strict", "llava"]
    with pytest.raises(LvlmsalError, match=r"unknown rule 'strikt'\. Did you mean 'strict'"):
        score(root, llava(), rules="llava,strikt")


def test_the_question_under_text_is_not_the_answer(root: Path) -> None:
    asked = f"Context: x\n{PROBLEMS['4']['question']}\nA. a cat"
    rows = [{**row, "text": asked, "answer": row["text"]} for row in llava()]
    assert score(root, rows) == score(root, llava())
    with pytest.raises(DataError, match="leave only the model's answer"):
        score(root, [{**row, "answer": "A"} for row in llava()])


def test_unknown_ids_are_refused_or_left_out(root: Path) -> None:
    rows = [*llava(), {"question_id": "1", "text": "A"}, {"question_id": 99, "text": "A"}]
    with pytest.raises(DataError, match=r":4: 2 of 5 .*unknown .*: 1, 99;.*--unknown ignore"):
        score(root, rows)
    result = score(root, rows, unknown="ignore")
    assert (result.pop("unknown"), result["n"]) == (2, 3)
    plain = score(root, llava())
    assert plain.pop("unknown") == 0
    assert result == plain
    official = {"results": {"4": 0, "11": 1, "7": -1, "1": 3}}
    assert score(root, official, unknown="ignore")["accuracy"] == 2 / 3
