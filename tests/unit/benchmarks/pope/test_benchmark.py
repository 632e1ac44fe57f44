"""POPE's other data sets, merged files and exports, and answers of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.pope.benchmark import Pope
from lvlmsal.benchmarks.pope.counts import pope_score
from lvlmsal.benchmarks.pope.files import read_pope_questions
from lvlmsal.errors import DataError
from lvlmsal.metrics.answer_parsers import PARSERS
from lvlmsal.registry import SCORERS

OBJECTS = ["dog", "cat", "bus", "car"]
LABELS = ["yes", "no", "yes", "no"]


def rows(*, first: str = "dog") -> list[dict[str, Any]]:
    return [
        {
            "question_id": n,
            "image": f"COCO_val2014_{n // 3:012d}.jpg",
            "text": f"Is there a {first if n == 1 else name} in the image?",
            "label": label,
        }
        for n, (name, label) in enumerate(zip(OBJECTS, LABELS, strict=True), start=1)
    ]


def lines(content: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in content)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def asked(root: Path, **options: Any) -> tuple[str, str]:
    pope = Pope(root=str(root), **options)
    return pope.label, pope.samples()[0].prompt.split()[3]


def test_data_sets_in_one_root_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "pope/coco_pope_random.json", lines(rows(first="coco")))
    # the POPE repository has arrays for these
    write(tmp_path / "pope/gqa_pope_seem_random.json", json.dumps(rows(first="gqa"), indent=4))
    write(tmp_path / "pope/aokvqa_pope_random.json", lines(rows(first="okvqa")))
    assert asked(tmp_path) == ("pope/random", "coco")
    assert asked(tmp_path, dataset="coco") == ("pope/random", "coco")
    assert asked(tmp_path, dataset="gqa") == ("pope/gqa/random", "gqa")
    assert asked(tmp_path, dataset="aokvqa") == ("pope/aokvqa/random", "okvqa")
    (problem,) = Pope(root=str(tmp_path), dataset="gqa", split="popular").problems()
    assert "pope/gqa_pope_popular.json" in problem
    write(tmp_path / "pope/gqa_pope_random.json", lines(rows()))
    (problem,) = Pope(root=str(tmp_path), dataset="gqa").problems()
    assert "gqa_pope_random.json, gqa_pope_seem_random.json" in problem


def test_one_data_set_needs_no_option_and_may_have_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a/pope/scene_pope_random.json", lines(rows(first="scene")))
    assert asked(tmp_path / "a") == ("pope/random", "scene")
    write(tmp_path / "b/pope/gqa/gqa_pope_random.json", lines(rows(first="gqa")))
    write(tmp_path / "b/pope/coco/coco_pope_random.json", lines(rows(first="coco")))
    assert asked(tmp_path / "b") == ("pope/random", "coco")
    assert asked(tmp_path / "b", dataset="gqa") == ("pope/gqa/random", "gqa")


def export() -> list[dict[str, Any]]:
    return [
        {
            "id": str(place),
            "question_id": str(row["question_id"]),
            "question": row["text"],
            "answer": row["label"],
            "image_source": row["image"].removesuffix(".jpg"),
            "category": category,
        }
        for place, (category, row) in enumerate(
            (category, row)
            for category in ("adversarial", "popular", "random")
            for row in rows(first=category)
        )
    ]


def test_the_hubs_export_is_keyed_by_category(tmp_path: Path) -> None:
    path = write(tmp_path / "pope.jsonl", lines(export()))
    assert asked(tmp_path, questions="pope.jsonl", split="popular") == ("pope/popular", "popular")
    (first, *_) = Pope(root=str(tmp_path), questions="pope.jsonl").samples()
    assert first.id == "1"
    assert first.images[0].name == "COCO_val2014_000000000000.jpg"
    assert len(read_pope_questions(path)) == 12
    broken = export()
    broken[4]["answer"] = "maybe"
    write(path, lines(broken))
    with pytest.raises(DataError, match=r"pope\.jsonl:5: 'answer' must be 'yes' or 'no'"):
        read_pope_questions(path)


def merged() -> list[dict[str, Any]]:
    """LLaVA's merged file: no labels, ids of its own, an instruction behind each question."""
    return [
        {
            "question_id": number,
            "image": row["image"],
            "text": row["text"] + "\nAnswer the question using a single word or phrase.",
            "category": category,
        }
        for number, (category, row) in enumerate(
            (category, row)
            for category in ("adversarial", "random")
            for row in rows(first=category)
        )
    ]


def score(root: Path, questions: Path, answers: list[dict[str, Any]], **options: Any) -> Any:
    path = write(root / "answers.jsonl", lines(answers))
    return SCORERS.build("pope", questions=questions, answers=path, **options).score()


def test_llavas_merged_file_takes_its_labels_from_popes_files(tmp_path: Path) -> None:
    for category in ("adversarial", "random", "popular"):
        write(tmp_path / f"coco/coco_pope_{category}.json", lines(rows(first=category)[::-1]))
    questions = write(tmp_path / "llava_pope_test.jsonl", lines(merged()))
    answers = [
        {"question_id": row["question_id"], "prompt": row["text"], "text": "Yes"}
        for row in merged()[::-1]
    ]
    answers[0]["text"] = "No"  # the last question, on a car
    result = score(tmp_path, questions, answers, labels=tmp_path / "coco")
    assert result["accuracy"] == 5 / 8
    assert result["categories"]["random"]["accuracy"] == 3 / 4
    assert result["categories"]["adversarial"]["accuracy"] == 2 / 4
    with pytest.raises(DataError, match=r"test\.jsonl:1: the key 'label' is missing.*--labels"):
        score(tmp_path, questions, answers)
    with pytest.raises(DataError, match=r"coco_pope_adversarial|expected one file \*_pope_adv"):
        score(tmp_path, questions, answers, labels=tmp_path / "none")
    write(tmp_path / "coco/coco_pope_random.json", lines(rows()))
    with pytest.raises(DataError, match=r"jsonl:5: the question 'Is there a random .* not in"):
        score(tmp_path, questions, answers, labels=tmp_path / "coco")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write(tmp_path / "coco_pope_random.json", lines(rows()))


def pai(**more: str) -> list[dict[str, Any]]:
    answers = ["Yes.", "There isn't.", "No", "no"]
    return [
        {
            "label": int(label == "yes"),
            "ans": answer,
            **{k: f"<s>{row[v]}</s>" for k, v in more.items()},
        }
        for row, label, answer in zip(rows(), LABELS, answers, strict=True)
    ]


def test_answers_of_pai(tmp_path: Path, questions: Path) -> None:
    full = score(tmp_path, questions, pai(query="text", question="text"), parser="opera")
    assert full["accuracy"] == 3 / 4
    assert full["warnings"] == []
    words = [{**row, "label": "yes" if row["label"] else "No"} for row in pai()]
    for given in (pai(), words):
        result = score(tmp_path, questions, given, parser="opera")
        assert result["accuracy"] == 3 / 4
        (warning,) = result["warnings"]
        assert warning.startswith("4 answers are matched by their order alone")


def test_answers_of_pai_that_do_not_fit(tmp_path: Path, questions: Path) -> None:
    swapped = [pai()[1], pai()[0], *pai()[2:]]
    with pytest.raises(DataError, match=r"jsonl:1: 'label' is 0, but that of line 1 .* 'yes'"):
        score(tmp_path, questions, swapped)
    with pytest.raises(DataError, match=r"jsonl:1: 'label' is None"):
        score(tmp_path, questions, [{"ans": row["ans"]} for row in pai()])
    with pytest.raises(DataError, match=r"jsonl:3: 'query' is .*dog.* asks .*bus"):
        score(
            tmp_path,
            questions,
            [{**row, "query": rows()[n % 2]["text"]} for n, row in enumerate(pai())],
        )


def test_answers_of_vcd(tmp_path: Path, questions: Path) -> None:
    given = [
        {
            "question_id": row["question_id"],
            "prompt": row["text"],
            "text": text,
            "model_id": "llava-v1.5-7b",
            "image": row["image"],
            "metadata": {},
        }
        for row, text in zip(rows(), ["Yes, there is", "snow", "It is there", "YES"], strict=True)
    ]
    result = score(tmp_path, questions, given, parser="vcd")
    # right: "yes" in the first, "no" in "snow"; the third holds neither; the fourth says yes
    assert (result["accuracy"], result["unparsed"]) == (2 / 4, 1)


# answer: is it read as no by pope-official, opera; the verdicts of lmms-eval, vlmevalkit, strict
ADVERSARIAL: list[tuple[str, bool, bool, str | None, str | None, str | None]] = [
    ("", False, False, None, None, None),
    ("NO", False, True, "no", "no", "no"),
    ("nO", False, False, "no", "no", "no"),
    ("Not visible", False, False, None, None, None),
    ("No!", False, False, None, "no", "no"),
    ("No:", False, False, None, None, "no"),
    ('"No"', False, False, None, "no", "no"),
    ("(no)", False, False, None, "no", "no"),
    ("\nNo", False, False, "no", "no", "no"),
    ("No\nThe image shows a dog", False, False, None, "no", "no"),
    ("There isn't a dog", False, True, None, None, None),
    ("I cannot see one", False, False, None, None, None),
    ("None", False, False, None, None, None),
    ("Nope", False, False, None, None, None),
    ("...No", False, True, None, "no", "no"),
    ("A. No", False, True, None, "no", None),
    ("Maybe. No.", False, True, None, "no", None),
    ("yes,no", False, False, None, None, "yes"),
    ("\u00a0No", False, False, "no", "no", "no"),
    ("It is not sure", True, True, None, None, None),
    ("Yes, no doubt.", True, True, None, None, "yes"),
    ("Yes. There is no doubt", False, True, None, None, "yes"),
    ("No.", True, True, None, "no", "no"),
    ("No, there is not.", True, True, None, "no", "no"),
    ("нет", False, False, None, None, None),
]


def test_all_parsers_on_answers_that_try_them(tmp_path: Path) -> None:
    # every question has the label no, so accuracy counts the verdicts that say no
    asked = [
        {**row, "question_id": n, "label": "no", "image": f"{n}.jpg"}
        for n in range(len(ADVERSARIAL))
        for row in rows()[:1]
    ]
    path = write(tmp_path / "q.json", lines(asked))
    answers = [{"question_id": n, "text": case[0]} for n, case in enumerate(ADVERSARIAL)]
    found = score(tmp_path, path, answers, parsers="all")["parsers"]
    n = len(ADVERSARIAL)
    official = sum(case[1] for case in ADVERSARIAL)
    assert found["pope-official"]["accuracy"] == found["llava"]["accuracy"] == official / n
    assert found["opera"]["accuracy"] == sum(case[2] for case in ADVERSARIAL) / n
    assert found["vcd"]["accuracy"] == sum("no" in case[0].lower() for case in ADVERSARIAL) / n
    for name, place in (("lmms-eval", 3), ("vlmevalkit", 4), ("strict", 5)):
        assert found[name]["accuracy"] == sum(case[place] == "no" for case in ADVERSARIAL) / n
        assert found[name]["unparsed"] == sum(case[place] is None for case in ADVERSARIAL)
    assert list(found) == list(PARSERS)
    assert found["pope-official"]["precision"] == 0
    assert found["pope-official"]["recall"] is None


@pytest.mark.parametrize("case", ADVERSARIAL, ids=lambda case: repr(case[0]))
def test_single_verdicts(case: tuple[Any, ...]) -> None:
    answer, official, opera, *others = case
    verdicts = {name: PARSERS[name].parse(answer, "no") for name in PARSERS}
    assert verdicts["pope-official"] == ("no" if official else "yes")
    assert verdicts["opera"] == ("no" if opera else "yes")
    assert [verdicts[name] for name in ("lmms-eval", "vlmevalkit", "strict")] == others
    assert pope_score([answer], ["no"], parser="llava")["accuracy"].item() == official
