"""VizWiz: annotations, LLaVA's question files, submissions, and files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.vizwiz.benchmark import Vizwiz
from lvlmsal.benchmarks.vizwiz.files import read_vizwiz_prompts, read_vizwiz_questions
from lvlmsal.errors import DataError
from lvlmsal.registry import BENCHMARKS, SCORERS

NAMES = [f"VizWiz_val_{n:08d}.jpg" for n in range(3)]


def entry(image: str, question: str, answer: str, kind: str, **more: Any) -> dict[str, Any]:
    """A question on which nine of ten people agree."""
    answers = [{"answer": answer, "answer_confidence": "yes"}] * 9
    return {
        "image": image,
        "question": question,
        "answers": [*answers, {"answer": "unsuitable", "answer_confidence": "no"}],
        "answer_type": kind,
        "answerable": int(kind != "unanswerable"),
        **more,
    }


ENTRIES = [
    entry(NAMES[0], "What COLOR is this?", "blue", "other"),
    entry(NAMES[1], "Is it on?", "yes", "yes/no"),
    entry(NAMES[2], "What is it?", "unanswerable", "unanswerable"),
]
TEST = [{"image": "VizWiz_test_0.jpg", "question": "What?"}]
ANSWERS = ["Blue.", "no", "Unanswerable"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/val.json").write_text(json.dumps(ENTRIES))
    (tmp_path / "Annotations/test.json").write_text(json.dumps(TEST))
    (tmp_path / "val").mkdir()
    for name in NAMES:
        (tmp_path / "val" / name).write_bytes(b"")
    return tmp_path


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def llava_questions(root: Path, names: list[str] = NAMES) -> Path:
    path = root / "llava_test.jsonl"
    rows = [
        {"question_id": f"{7 + n:04d}", "image": name, "text": f"Q{n}?\nBriefly.", "category": "x"}
        for n, name in enumerate(names)
    ]
    path.write_text(lines(rows))
    return path


def test_the_benchmark_reads_the_official_layout(root: Path) -> None:
    vizwiz = Vizwiz(root=str(root))
    assert vizwiz.problems() == []
    first, _, last = vizwiz.samples()
    assert first.id == first.group == NAMES[0]
    assert first.images == (root / "val" / NAMES[0],)
    assert first.prompt == (
        "What COLOR is this?\n"
        "When the provided information is insufficient, respond with 'Unanswerable'.\n"
        "Answer the question using a single word or phrase."
    )
    assert first.target["answers"] == ["blue"] * 9 + ["unsuitable"]
    assert first.target["confidences"] == ["yes"] * 9 + ["no"]
    assert (last.target["answer_type"], last.target["answerable"]) == ("unanswerable", False)
    assert vizwiz.label == "vizwiz/val"
    assert Vizwiz(root=str(root), images="elsewhere").image_root() == root / "elsewhere"
    metric = Vizwiz(root=str(root), rule="lmms-eval").metric()
    found = metric.score(ANSWERS, [sample.target for sample in vizwiz.samples()])
    assert found["accuracy"].item() == pytest.approx(2 / 3)


def test_the_test_split_can_be_answered_but_not_scored(root: Path) -> None:
    (root / "images").mkdir()
    (root / "images/VizWiz_test_0.jpg").write_bytes(b"")
    vizwiz = Vizwiz(root=str(root), split="test")
    assert vizwiz.problems() == []
    metric = vizwiz.metric()
    found = metric.score(["x"], [vizwiz.samples()[0].target])
    assert found["unscored"] == 1
    assert found["accuracy"].isnan()


def test_a_question_file_of_llava_says_what_is_asked(root: Path) -> None:
    llava_questions(root, NAMES[2:0:-1])
    vizwiz = Vizwiz(root=str(root), questions="llava_test.jsonl")
    assert vizwiz.problems() == []
    assert [(s.id, s.prompt) for s in vizwiz.samples()] == [
        (NAMES[2], "Q0?\nBriefly."),
        (NAMES[1], "Q1?\nBriefly."),
    ]
    assert root / "llava_test.jsonl" in vizwiz.data_files()
    llava_questions(root, ["other.jpg"])
    (problem,) = Vizwiz(root=str(root), questions="llava_test.jsonl").problems()
    assert "llava_test.jsonl:1: the image 'other.jpg' is not in" in problem
    for options, word in (
        ({"questions": "x", "prompt": "{question}?"}, "no effect"),
        ({"prompt": "Hm?"}, "must contain"),
        ({"split": "dev"}, "'train', 'val', 'test'"),
    ):
        (problem,) = BENCHMARKS.problems("vizwiz", {"root": "x", **options})
        assert word in problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": NAMES[0]}, r"val\.json:\d: the image .* was already in line"),
        ({"image": " "}, "'image' is empty"),
        ({"image": None}, "'image' must be a string"),
        ({"answer_type": "color"}, "'answer_type' must be one of 'yes/no', 'number'"),
        ({"answerable": 2}, "'answerable' must be 0 or 1, got 2"),
        ({"answers": []}, "at least one answer"),
        ({"answers": ["yes"]}, "must hold objects"),
        ({"answers": [{"answer": "yes"}]}, "'answer_confidence' is missing"),
        ({"answers": [{"answer": 5, "answer_confidence": "yes"}]}, "'answer' must be a string"),
    ],
)
def test_broken_annotations_are_named(root: Path, change: dict[str, Any], message: str) -> None:
    path = root / "Annotations/val.json"
    rows = [ENTRIES[0], {**ENTRIES[1], **change}]
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]")
    with pytest.raises(DataError, match=message) as caught:
        read_vizwiz_questions(path)
    assert caught.value.line == 3
    path.write_text(json.dumps([ENTRIES[0], TEST[0]]))
    with pytest.raises(DataError, match="some questions of the file have 'answers'"):
        read_vizwiz_questions(path)


def test_broken_question_files_are_named(root: Path) -> None:
    path = llava_questions(root)
    path.write_text(path.read_text() + lines([{"question_id": 7, "image": "y", "text": "z"}]))
    with pytest.raises(DataError, match=r"jsonl:4: question_id 7 was already used in line 1"):
        read_vizwiz_prompts(path)
    llava_questions(root, [NAMES[0]] * 2)
    with pytest.raises(DataError, match=r"jsonl:2: image .* was already used in line 1"):
        read_vizwiz_prompts(path)


def submission() -> list[dict[str, Any]]:
    return [{"image": name, "answer": answer} for name, answer in zip(NAMES, ANSWERS, strict=True)]


def llava_answers() -> list[dict[str, Any]]:
    return [{"question_id": 7 + n, "prompt": "", "text": a} for n, a in enumerate(ANSWERS)]


def score(root: Path, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    path = root / "answers.json"
    path.write_text(json.dumps(rows))
    annotations = options.pop("annotations", root / "Annotations/val.json")
    scorer = SCORERS.build("vizwiz", annotations=annotations, answers=path, **options)
    return scorer.score()


def test_layouts_of_answers_score_alike(root: Path) -> None:
    first = score(root, submission())
    assert first["accuracy"] == pytest.approx((1 + 0 + 1) / 3)
    assert (first["accuracy_other"], first["accuracy_yes_no"]) == (1, 0)
    assert first["accuracy_number"] is None
    assert (first["unanswerable_f1"], first["unanswerable_ap"]) == (1, 1)
    assert (first["n"], first["unscored"]) == (3, 0)
    assert first["intervals"]["accuracy"]["high"] <= 1
    json.dumps(first, allow_nan=False)
    assert score(root, submission()[::-1]) == first
    questions = llava_questions(root)
    assert score(root, llava_answers(), questions=questions) == first
    assert score(root, llava_answers()[::-1], questions=questions) == first
    every = score(root, submission(), rules="all")["rules"]
    assert {name: figures["accuracy"] for name, figures in every.items()} == {
        "vizwiz-api": pytest.approx(2 / 3),
        "llava": pytest.approx(2 / 3),
        "lmms-eval": pytest.approx(2 / 3),
        "vqa-official": pytest.approx((0.1 + 0 + 0.1) / 3),
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (submission()[:2], r"1 of 3 questions have no answer: VizWiz_val_00000002\.jpg"),
        ([*submission(), submission()[0]], "occurs a second time"),
        ([*submission(), {"image": "z.jpg", "answer": "a"}], "unknown image: z.jpg"),
        ([*submission()[:2], {"image": NAMES[2]}], "expected 'answer' or 'text'"),
        ([*submission()[:2], {"image": NAMES[2], "answer": None}], "'answer' must be a string"),
        (llava_answers(), "--questions llava_test.jsonl"),
    ],
)
def test_answers_that_do_not_fit_are_refused(
    root: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(root, rows)


def test_text_next_to_answer_is_the_answer_or_the_question(root: Path) -> None:
    plain = score(root, submission())
    asked = {entry["image"]: entry["question"] for entry in ENTRIES}
    rows = [{**row, "text": row["answer"]} for row in submission()]
    assert score(root, rows) == plain
    rows = [{**row, "text": asked[row["image"]]} for row in rows]
    assert score(root, rows) == plain
    rows[0]["text"] = "something else"
    with pytest.raises(DataError, match="leave only the model's answer"):
        score(root, rows)


def test_more_that_does_not_fit(root: Path) -> None:
    questions = llava_questions(root)
    rows = [*llava_answers(), {"question_id": 99, "text": "a"}]
    with pytest.raises(DataError, match="the question_id 99 is not in"):
        score(root, rows, questions=questions)
    with pytest.raises(DataError, match="the test split has none"):
        score(root, submission(), annotations=root / "Annotations/test.json")
    for options, word in (
        ({"rules": "vizwiz_api"}, "Did you mean 'vizwiz-api'"),
        ({"rule": "x"}, "unknown rule 'x'"),
    ):
        with pytest.raises(Exception, match=word):
            score(root, submission(), **options)
