"""Scores of files made elsewhere: every layout in use, and every way in which files do not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.pope.counts import pope_score
from lvlmsal.benchmarks.pope.metric import PopeMetric
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.registry import SCORERS
from lvlmsal.statistics.bootstrap import figure_intervals


def score_pope_files(questions: Path, answers: Path, **options: Any) -> dict[str, Any]:
    return SCORERS.build("pope", questions=questions, answers=answers, **options).score()


def score_chair_files(annotations: Path, captions: Path, **options: Any) -> dict[str, Any]:
    return SCORERS.build("chair", annotations=annotations, captions=captions, **options).score()


OBJECTS = ["cat", "dog", "car", "bus"]
LABELS = ["yes", "no", "yes", "no"]
ANSWERS = ["Yes.", "No", "No", "There isn't a bus."]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def questions() -> list[dict[str, Any]]:
    return [
        {
            "question_id": i + 1,
            "image": f"COCO_val2014_{i // 2:012d}.jpg",
            "text": f"Is there a {name} in the image?",
            "label": label,
        }
        for i, (name, label) in enumerate(zip(OBJECTS, LABELS, strict=True))
    ]


def official() -> list[dict[str, Any]]:
    return [
        {"question": question["text"], "answer": answer}
        for question, answer in zip(questions(), ANSWERS, strict=True)
    ]


def llava() -> list[dict[str, Any]]:
    return [
        {
            "question_id": str(question["question_id"]),
            "prompt": question["text"] + "\nAnswer the question using a single word or phrase.",
            "text": answer,
            "model_id": "m",
        }
        for question, answer in zip(questions(), ANSWERS, strict=True)
    ]


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / "q.json"
    path.write_text(lines(questions()))
    return path


def score(asked: Path, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    path = asked.with_name("a.jsonl")
    path.write_text(lines(rows))
    return score_pope_files(asked, path, **options)


@pytest.mark.parametrize("rows", [official(), llava(), llava()[::-1]])
@pytest.mark.parametrize("parser", ["pope-official", "strict", "opera", "vcd", "lmms-eval"])
def test_pope_figures_do_not_depend_on_the_layout(
    asked: Path, rows: list[dict[str, Any]], parser: str
) -> None:
    result = score(asked, rows, parser=parser)
    expected = {k: v.item() for k, v in pope_score(ANSWERS, LABELS, parser=parser).items()}
    assert {
        name: math.nan if result[name] is None else result[name] for name in expected
    } == pytest.approx(expected, nan_ok=True)
    assert result["parser"] == parser
    assert isinstance(result["n"], int)
    assert isinstance(result["unparsed"], int)
    interval = result["intervals"]["accuracy"]
    assert 0 <= interval["low"] <= result["accuracy"] <= interval["high"] <= 1
    assert "n" not in result["intervals"]
    json.dumps(result, allow_nan=False)


def test_intervals_of_pope_resample_images(asked: Path) -> None:
    metric = PopeMetric()
    images = [question["image"] for question in questions()]
    assert len(set(images)) == 2
    found = figure_intervals(metric, metric.rows(ANSWERS, LABELS), images)["accuracy"]
    interval = score(asked, official())["intervals"]["accuracy"]
    assert interval == {"low": found.low, "high": found.high}


def test_pope_with_questions_as_an_array(asked: Path) -> None:
    asked.write_text(json.dumps(questions(), indent=2))
    assert score(asked, official(), parser="strict")["accuracy"] == 2 / 4


def test_undefined_figures_are_null_not_nan(asked: Path) -> None:
    rows = [{**row, "answer": "no"} for row in official()]
    result = score(asked, rows)
    assert result["precision"] is None
    assert result["intervals"]["precision"] == {"low": None, "high": None}
    assert result["f1"] == 0
    json.dumps(result, allow_nan=False)


def test_categories_are_scored_apart_and_together(asked: Path) -> None:
    asked.write_text(
        lines([{**q, "category": c} for c in ("random", "popular") for q in questions()])
    )
    rows = [{**row, "category": "random"} for row in llava()]
    rows += [{**row, "category": "popular", "text": "yes"} for row in llava()]
    result = score(asked, rows)
    assert result["n"] == 8
    assert result["categories"]["random"]["accuracy"] == 2 / 4
    assert result["categories"]["popular"]["yes_ratio"] == 1
    for row in rows:
        del row["category"]
    with pytest.raises(DataError, match=r"lines 1 and 5 share the question_id 1.*'category'"):
        score(asked, rows)


def test_the_answer_key_wins_where_text_repeats_the_question(asked: Path) -> None:
    rows = [
        {**row, "text": row["question"], "question_id": i + 1} for i, row in enumerate(official())
    ]
    assert score(asked, rows)["accuracy"] == 2 / 4
    rows[1]["text"] = "no"
    with pytest.raises(DataError, match=r"a\.jsonl:2: 'answer' is 'No' and 'text' is 'no'"):
        score(asked, rows)


def without(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (official()[:3], r"a\.jsonl: 3 answers for 4 questions"),
        (official() + official()[:1], r"a\.jsonl: 5 answers for 4 questions"),
        ([*official()[1::-1], *official()[2:]], r"a\.jsonl:1: 'question' is .*dog.*asks .*cat"),
        (
            [without(row, "question") for row in official()],
            r"a\.jsonl:1: .*neither a",
        ),
        ([*official()[:3], without(official()[3], "answer")], r"a\.jsonl:4: there is no answer"),
        ([*official()[:3], {**official()[3], "answer": None}], r"a\.jsonl:4: 'answer' must be a"),
        (llava()[:3], r"a\.jsonl: 1 of 4 questions have no answer: question_id 4"),
        (llava()[:1], r"3 of 4 questions have no answer: question_id 2, 3, 4"),
        ([*llava(), llava()[1]], r"a\.jsonl:5: question_id 2 occurs a second time.* line 2"),
        ([*llava(), {**llava()[0], "question_id": 9}], r"a\.jsonl:5: 1 of 5 .*unknown .*: 9;"),
        ([*llava()[:3], without(llava()[3], "question_id")], r"a\.jsonl:4: some lines have"),
        ([*llava()[:3], {**llava()[3], "prompt": "Is it?"}], r"a\.jsonl:4: 'prompt' is 'Is it\?'"),
        ([*llava()[:3], {**llava()[3], "text": ["no"]}], r"a\.jsonl:4: 'text' must be a string"),
        ([], r"a\.jsonl: the file is empty"),
    ],
)
def test_answers_that_do_not_fit_are_refused(
    asked: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(asked, rows)


def test_pope_files_that_are_missing_or_broken(asked: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        score_pope_files(asked, asked.with_name("none.jsonl"))
    with pytest.raises(ConfigError, match="unknown parser 'llama'"):
        score(asked, official(), parser="llama")
    path = asked.with_name("a.jsonl")
    path.write_text(lines(official())[:-10])
    with pytest.raises(DataError, match=r"a\.jsonl:4: not valid JSON .*cut off"):
        score_pope_files(asked, path)


# ---- CHAIR

SYNONYMS = "person, man, woman\ndog, puppy\ncat\nbus\ncouch, sofa\nhot dog\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images 1 (person, dog), 2 (nothing annotated, a cat in a caption), 3 (bus)."""
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    names = ["person", "dog", "cat", "bus", "couch", "hot dog"]
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    (annotations / "instances_val2014.json").write_text(
        json.dumps(
            {
                "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 2, 3)],
                "categories": categories,
                "annotations": [
                    {"image_id": i, "category_id": names.index(name)}
                    for i, name in [(1, "person"), (1, "dog"), (1, "dog"), (3, "bus")]
                ],
            }
        )
    )
    (annotations / "captions_val2014.json").write_text(
        json.dumps(
            {
                "annotations": [
                    {"image_id": 1, "caption": "A man and a dog."},
                    {"image_id": 1, "caption": "A puppy on a sofa."},
                    {"image_id": 2, "caption": "Two cats."},
                    {"image_id": 3, "caption": "Some vehicle."},
                ]
            }
        )
    )
    (tmp_path / "synonyms.txt").write_text(SYNONYMS)
    return annotations


CAPTIONS = [
    {"image_id": 1, "caption": "A woman, a puppy and a cat. The cat sleeps on the sofa."},
    {"image_id": 2, "caption": "A cat."},
    {"image_id": 3, "caption": "Two buses."},
]


def chair(folder: Path, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    path = folder.parent / "c.jsonl"
    path.write_text(lines(rows))
    return score_chair_files(folder, path, **options)


@pytest.mark.slow
def test_chair_of_files_counted_by_hand(folder: Path) -> None:
    for options in ({}, {"vocabulary": folder.parent / "synonyms.txt"}):
        result = chair(folder, CAPTIONS, **options)
        # image 1: person, dog, couch are there (the sofa by a caption); two mentions of a cat
        assert result["chair_s"] == 1 / 3
        assert result["chair_i"] == 2 / 7
        assert result["recall"] == 5 / 5
        assert result["precision"] == 5 / 6
        assert result["f1"] == pytest.approx(10 / 11)
        assert (result["n_captions"], result["n_mentions"], result["n_hallucinated"]) == (3, 7, 2)
        assert (result["covered"], result["gt_objects"]) == (5, 5)
        assert result["length"] == pytest.approx((16 + 3 + 3) / 3)
        assert result["annotations"] == ["instances_val2014.json", "captions_val2014.json"]
        assert result["warnings"] == []
        assert set(result["intervals"]) == {
            *("chair_s", "chair_i", "recall", "precision", "f1", "length")
        }
        json.dumps(result, allow_nan=False)
        assert result["variant"].startswith("synonyms.txt" if options else "COCO objects")


@pytest.mark.slow
def test_the_original_rule_loses_the_singular_bus_and_the_own_list_does_not(folder: Path) -> None:
    rows = [{"image_id": 3, "caption": "A bus."}]
    assert chair(folder, rows)["recall"] == 1
    original = chair(folder, rows, vocabulary=folder.parent / "synonyms.txt")
    assert original["recall"] == 0
    assert original["chair_i"] is None


def test_ids_as_strings_and_other_keys(folder: Path) -> None:
    expected = chair(folder, CAPTIONS)
    rows = [{"id": f"{row['image_id']:012d}", "answer": row["caption"]} for row in CAPTIONS]
    result = chair(folder, rows, image_id_key="id", caption_key="answer")
    assert result == expected


def test_captions_as_an_array(folder: Path) -> None:
    path = folder.parent / "c.json"
    path.write_text(json.dumps(CAPTIONS))
    assert score_chair_files(folder, path)["chair_i"] == 2 / 7


def test_the_layout_of_the_original_script(folder: Path) -> None:
    expected = chair(folder, CAPTIONS)
    path = folder.parent / "c.json"
    scores = {"Bleu_1": 0.5, "CIDEr": 1.0}
    entries = {str(row["image_id"]): {**row, **scores} for row in CAPTIONS}
    for indent in (None, 2):
        path.write_text(json.dumps({"overall": scores, "imgToEval": entries}, indent=indent))
        assert score_chair_files(folder, path) == expected
    path.write_text(json.dumps({"imgToEval": {**entries, "again": CAPTIONS[0]}}))
    with pytest.raises(DataError, match="image_id 1 occurs a second time"):
        score_chair_files(folder, path)
    for wrong in ({}, {"1": "A dog."}):
        path.write_text(json.dumps({"imgToEval": wrong}))
        with pytest.raises(DataError, match="an object for each caption"):
            score_chair_files(folder, path)


@pytest.mark.parametrize(
    "name", ["COCO_val2014_{:012d}.jpg", "val2014/COCO_val2014_{:012d}.JPG", "{:012d}.png"]
)
def test_file_names_of_images_stand_for_their_ids(folder: Path, name: str) -> None:
    rows = [{"image": name.format(row["image_id"]), "text": row["caption"]} for row in CAPTIONS]
    found = chair(folder, rows, image_id_key="image", caption_key="text")
    assert found == chair(folder, CAPTIONS)
    with pytest.raises(DataError, match=r"unknown image: x\.jpg"):
        chair(folder, [{"image": "x.jpg", "caption": ""}], image_id_key="image")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [*CAPTIONS, {"image_id": 7, "caption": "x"}, {"image_id": "a", "caption": "x"}],
            r"c\.jsonl:4: 2 of 5 lines have an unknown image_id: 7, a; the other file has 3",
        ),
        ([*CAPTIONS, CAPTIONS[0]], r"c\.jsonl:4: image_id 1 occurs a second time; .*line 1"),
        (
            [*CAPTIONS, {"image_id": "1", "caption": "x"}],
            r"c\.jsonl:4: image_id 1 occurs a second time; .*line 1",
        ),
        ([{"image_id": 1}], r"c\.jsonl:1: the key 'caption' is missing"),
        ([{"caption": "x"}], r"c\.jsonl:1: the key 'image_id' is missing"),
        ([{"image_id": 1, "caption": 5}], r"c\.jsonl:1: 'caption' must be a string"),
        ([{"image_id": None, "caption": "x"}], r"c\.jsonl:1: 'image_id': an id must be"),
        ([], r"c\.jsonl: the file is empty"),
    ],
)
def test_captions_that_do_not_fit_are_refused(
    folder: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        chair(folder, rows)


@pytest.mark.slow
def test_what_makes_figures_doubtful_is_said(folder: Path) -> None:
    vocabulary = folder.parent / "small.txt"
    vocabulary.write_text("dog\nperson, man\n")
    truth = json.loads((folder / "captions_val2014.json").read_text())
    truth["annotations"] = truth["annotations"][:2]
    (folder / "captions_val2014.json").write_text(json.dumps(truth))
    result = chair(folder, CAPTIONS, vocabulary=vocabulary)
    assert result["warnings"] == [
        "2 images have no reference captions, only annotated objects: 2, 3",
        "1 annotated objects are not in the vocabulary, so no caption can mention them: bus",
    ]


def test_chair_files_that_are_missing(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: there is no such file"):
        chair(folder, CAPTIONS, vocabulary=folder / "none.txt")
    with pytest.raises(DataError, match="none: there is no such folder"):
        score_chair_files(folder / "none", folder.parent / "c.jsonl")
    with pytest.raises(DataError, match=r"none\.jsonl: there is no such file"):
        score_chair_files(folder, folder / "none.jsonl")
