"""MME's two layouts, what can be wrong with them, and answers in both kinds of file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.mme.benchmark import Mme
from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.registry import BENCHMARKS, SCORERS

SIDE = "Is there an elephant? Please answer yes or no.\tYes\nIs there a hair drier?\tNo"
ART = "Is this a painting?  Please answer yes or no.\tyes \nIs it a jug?\tno\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of existence (side by side) and one of artwork (in folders)."""
    side = tmp_path / "existence"
    art = tmp_path / "artwork"
    side.mkdir()
    (art / "images").mkdir(parents=True)
    (art / "questions_answers_YN").mkdir()
    for name in ("0001", "0002"):
        (side / f"{name}.txt").write_text(SIDE)
    (side / "0001.jpg").write_bytes(b"")
    (side / "0002.png").write_bytes(b"")
    (art / "images/10.jpg").write_bytes(b"")
    (art / "questions_answers_YN/10.txt").write_text(ART)
    return tmp_path


def test_both_layouts_are_read(root: Path) -> None:
    mme = Mme(root=str(root))
    assert mme.problems() == []
    samples = mme.samples()
    assert [s.id for s in samples] == [
        *("existence/0001.jpg#1", "existence/0001.jpg#2"),
        *("existence/0002.png#1", "existence/0002.png#2"),
        *("artwork/10.jpg#1", "artwork/10.jpg#2"),
    ]
    assert samples[4].images == (root / "artwork/images/10.jpg",)
    assert samples[4].prompt.endswith("painting?  Please answer yes or no.")
    assert samples[4].target == {
        "task": "artwork",
        "image": "artwork/10.jpg",
        "question": 1,
        "label": "yes",
    }
    assert [s.group for s in samples[:3]] == ["existence/0001.jpg"] * 2 + ["existence/0002.png"]
    assert mme.label == "mme"
    assert len(mme.data_files()) == 3
    metric = mme.metric()
    figures = metric.score(["yes", "no"] * 3, [s.target for s in samples])
    assert (figures["score/existence"].item(), figures["score/artwork"].item()) == (200, 200)


def test_the_folder_of_the_release_and_single_tasks(root: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    for task in ("existence", "artwork"):
        (root / task).rename(root / "outer" / task)
    outer.rename(tmp_path / "MME_Benchmark_release_version")
    mme = Mme(root=str(tmp_path), tasks=("artwork",), prompt="{question} One word.")
    assert mme.problems() == []
    assert mme.label == "mme/artwork"
    assert [s.id for s in mme.samples()] == ["artwork/10.jpg#1", "artwork/10.jpg#2"]
    assert mme.samples()[1].prompt == "Is it a jug? One word."
    assert len(Mme(root=str(tmp_path), limit=1).samples()) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("existence/0001.txt", "Is there a dog?\tYes\n", r"0001\.txt: expected two lines.*got 1"),
        ("existence/0001.txt", SIDE + "\nx\tyes", r"0001\.txt: expected two lines.*got 3"),
        ("existence/0001.txt", "Is there?\tYes\nIs it? No", r"0001\.txt:2: expected a question"),
        ("existence/0001.txt", "Is\tthere?\tYes\nIs it?\tNo", r"0001\.txt:1: expected a question"),
        ("existence/0001.txt", "Is there?\tTrue\nIs it?\tNo", r"0001\.txt:1: .*Yes or No.*'True'"),
        ("existence/0001.png", "", r"0001\.txt: belongs to several images: 0001\.jpg, 0001\.png"),
        ("existence/0003.txt", SIDE, r"0003\.txt:1: there is no image .*existence/0003\.jpg"),
    ],
)
def test_what_is_wrong_is_named(root: Path, name: str, text: str, message: str) -> None:
    (root / name).write_text(text)
    (problem,) = Mme(root=str(root)).problems()
    assert re.search(message, problem), problem


def test_tasks_that_are_not_there(root: Path) -> None:
    (problem,) = Mme(root=str(root), tasks=("count",)).problems()
    assert "no folder of the task 'count'" in problem
    (problem,) = BENCHMARKS.problems("mme", {"root": str(root), "tasks": ["ocr"]})
    assert "no task 'ocr'. Did you mean 'OCR'?" in problem
    (problem,) = Mme(root=str(root / "existence")).problems()
    assert "holds no folder of a task" in problem
    (root / "count").mkdir()
    (problem,) = Mme(root=str(root)).problems()
    assert "holds no text files" in problem


# ---- answer files

OFFICIAL = {
    "existence": [
        "0001.jpg\tIs it?\tYes\tYes, it is.",
        "0001.jpg\tIs it not?\tNo\tno\twith a tab",
        "0002.jpg\tIs it?\tYes\tI know",
        "0002.jpg\tIs it not?\tNo\t  yes",
    ],
    "OCR": ["1.png\tIs it?\tno\tNot at all", "1.png\tIs it not?\tyes\tYESTERDAY"],
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for task, lines in OFFICIAL.items():
        (tmp_path / f"{task}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def score(**options: Any) -> dict[str, Any]:
    return SCORERS.build("mme", **options).score()


def test_results_counted_by_hand(results: Path) -> None:
    found = score(results=results, parsers="all")
    # official: "I know" and "  yes" are neither
    assert found["score/existence"] == 100 * 2 / 4 + 100 * 1 / 2
    assert found["score/OCR"] == 200
    assert found["perception"] is None
    assert found["score/count"] is None
    assert found["task_mean"] == 150
    assert (found["unparsed"], found["n"]) == (2, 6)
    assert found["categories"]["existence"] == {
        "score": 100,
        "acc": 0.5,
        "acc_plus": 0.5,
        "unparsed": 2,
        "n": 4,
    }
    assert list(found["categories"]) == ["existence", "OCR"]
    (warning,) = found["warnings"]
    assert warning.startswith("12 of 14 tasks are missing")
    assert found["parsers"]["official"]["accuracy"] == 4 / 6
    assert found["parsers"]["lmms-eval"]["unparsed"] == 1
    assert found["parsers"]["strict"]["accuracy"] == 2 / 6
    json.dumps(found, allow_nan=False)


def test_pairs_are_made_by_image_not_by_position(results: Path) -> None:
    expected = score(results=results)
    first, second, third, fourth = OFFICIAL["existence"]
    (results / "existence.txt").write_text("\n".join([third, first, fourth, second]))
    assert score(results=results)["score/existence"] == expected["score/existence"]


def test_images_of_one_name_in_two_folders_are_two_images(results: Path) -> None:
    lines = ["a/1.png\tIs it?\tYes\tyes", "a/1.png\tIs it not?\tNo\tyes"]
    lines += ["b/1.png\tIs it?\tYes\tno", "b/1.png\tIs it not?\tNo\tno"]
    (results / "OCR.txt").write_text("\n".join(lines))
    # two of four right, and no image with both
    assert score(results=results)["score/OCR"] == 50


def test_two_files_of_a_task_are_refused(results: Path) -> None:
    (results / "ocr.txt").write_text((results / "OCR.txt").read_text())
    if not (results / "OCR.txt").samefile(results / "ocr.txt"):
        with pytest.raises(DataError, match=r"two files of the task 'OCR', OCR\.txt and ocr\.txt"):
            score(results=results)


def test_other_files_are_named(results: Path) -> None:
    (results / "notes.txt").write_text("")
    (results / "ocr.txt").write_text((results / "OCR.txt").read_text())
    (results / "OCR.txt").unlink()
    found = score(results=results)
    assert found["score/OCR"] == 200
    assert found["warnings"][0] == "1 files are of no task and were left out: notes.txt"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (OFFICIAL["existence"][:3], r"existence\.txt:3: the image '0002\.jpg' has one line only"),
        (
            [*OFFICIAL["existence"], "0001.jpg\tIs it red?\tYes\tyes"],
            r"existence\.txt:5: a third line on the image '0001\.jpg'; .* line 1 and 2",
        ),
        (
            [*OFFICIAL["existence"][:1] * 2],
            r"existence\.txt:2: the same question on the image '0001\.jpg'; .* line 1",
        ),
        (
            ["0001.jpg\tIs it?\tYes\tYes", "since there is one", *OFFICIAL["existence"][1:]],
            r"existence\.txt:2: expected four tab-separated columns .* got 1: .*line break",
        ),
        (["0001.jpg\tIs it?\tTrue\tYes"], r"existence\.txt:1: the right answer must be Yes or No"),
        ([], r"existence\.txt: the file is empty"),
    ],
)
def test_results_that_are_broken(results: Path, lines: list[str], message: str) -> None:
    (results / "existence.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        score(results=results)


def test_folders_and_options_that_do_not_fit(results: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        score(results=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no result file such as existence\.txt"):
        score(results=tmp_path / "empty")
    for options in (
        {},
        {"answers": "a.jsonl"},
        {"root": "."},
        {"results": results, "root": results},
        {"results": results, "answers": "a", "root": "b"},
    ):
        with pytest.raises(LvlmsalError, match="--results"):
            score(**options)
    with pytest.raises(LvlmsalError, match=r"unknown .* 'oficial'\. Did you mean 'official'"):
        score(results=results, parsers="strict,oficial")
    with pytest.raises(LvlmsalError, match="unknown parser of MME"):
        score(results=results, parser="llava")


def llava(root: Path) -> list[dict[str, Any]]:
    instruction = "\nAnswer the question using a single word or phrase."
    return [
        {
            "question_id": s.group,
            "prompt": s.prompt.replace(" Please answer yes or no.", "") + instruction,
            "text": {"existence/0002.png#2": "Yes"}.get(s.id, s.target["label"].capitalize()),
        }
        for s in Mme(root=str(root)).samples()
    ]


def write(root: Path, rows: list[dict[str, Any]]) -> Path:
    path = root / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows,
        lambda rows: rows[::-1],
        # the text file's name instead of the image's
        lambda rows: [{**r, "question_id": r["question_id"][:-4] + ".txt"} for r in rows],
        # the question under the key that is the answer elsewhere
        lambda rows: [{**r, "answer": r["text"], "text": r["prompt"]} for r in rows],
        # ids of this library, with and without prompts
        lambda rows: [
            {**r, "question_id": f"{r['question_id']}#{i % 2 + 1}"} for i, r in enumerate(rows)
        ],
        lambda rows: [
            {"question_id": f"{r['question_id']}#{i % 2 + 1}", "text": r["text"]}
            for i, r in enumerate(rows)
        ],
    ],
)
def test_llavas_answers(root: Path, change: Callable[[Any], Any]) -> None:
    found = score(answers=write(root, change(llava(root))), root=root)
    assert found["score/existence"] == 100 * 3 / 4 + 100 * 1 / 2
    assert found["score/artwork"] == 200
    assert found["n"] == 6


def test_llavas_answers_to_some_tasks(root: Path) -> None:
    rows = [row for row in llava(root) if row["question_id"].startswith("artwork")]
    found = score(answers=write(root, rows), root=root)
    assert found["n"] == 2
    assert found["warnings"][0].startswith("13 of 14")


def test_llavas_answers_that_do_not_fit(root: Path) -> None:
    rows = llava(root)
    for wrong, message in [
        (rows[1:], r"1 of the 6 questions .* existence/0001\.jpg#1"),
        ([*rows, rows[0]], r"jsonl:7: a second answer to question 1 on .* line 1"),
        ([*rows, {**rows[0], "question_id": "existence/9.jpg"}], r"jsonl:7: there is no question"),
        ([{**rows[0], "prompt": "Is it?"}, *rows[1:]], r"jsonl:1: 'prompt' is 'Is it\?', but"),
        (
            [{**rows[0], "question_id": "existence/0001.jpg#2"}, *rows[1:]],
            r"jsonl:1: 'prompt' is 'Is there an eleph",
        ),
        ([{**rows[0], "text": None}, *rows[1:]], r"jsonl:1: 'text' must be a string"),
    ]:
        with pytest.raises(DataError, match=message):
            score(answers=write(root, wrong), root=root)
