"""Scores of LLaVA-Bench and MM-Vet from official files and from stored replies."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
from lvlmsal.benchmarks.mm_vet.metric import MmVetMetric
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.judges import Endpoint, ReplyStore
from lvlmsal.judges.client import Reply
from lvlmsal.metrics.judged import JudgedMetric
from lvlmsal.registry import SCORERS
from tests.unit.benchmarks.judged_files import (
    LLAVA_QUESTIONS,
    MM_VET_QUESTIONS,
    lines,
    write_llava_bench,
    write_mm_vet,
)

REVIEWS = [
    {"question_id": 2, "category": "llava_bench_complex", "content": "8 6\nWell.", "tuple": [8, 6]},
    {"question_id": 0, "category": "llava_bench_conv", "content": "9, 7", "tuple": [-1, -1]},
    {"question_id": 1, "category": "llava_bench_detail", "tuple": [7.0, 7.5]},
]


def score(name: str, **files: Any) -> dict[str, Any]:
    return SCORERS.build(name, **files).score()


def llava_files(root: Path) -> dict[str, Path]:
    names = {"questions": "questions", "context": "context", "reference": "answers_gpt4"}
    return {key: root / f"{name}.jsonl" for key, name in names.items()}


def official(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What the official script prints of a review file, in its own steps with numpy."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        for name in (row["category"], "all"):
            found.setdefault(name, []).append(row["tuple"])
    figures = {}
    for name, pairs in found.items():
        first, second = (round(x, 3) for x in np.asarray(pairs).mean(0).tolist())
        figures[name] = round(second / first * 100, 1)
    return figures


def test_reviews_give_the_official_figures_and_the_sane_ones(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text(lines(REVIEWS))
    found = score("llava-bench", reviews=path)
    printed = official(REVIEWS)
    assert found["official"] == printed["all"] == 89.3  # 4.167 / 4.667
    assert found["official_complex"] == printed["llava_bench_complex"] == 75.0
    assert found["official_conv"] == printed["llava_bench_conv"] == 100.0
    assert found["ratio"] == pytest.approx(13.5 / 15)
    assert found["ratio_conv"] is None
    assert (found["failed"], found["unjudged"], found["n"]) == (1, 0, 3)
    assert found["intervals"]["ratio"]["low"] <= 0.9 <= found["intervals"]["ratio"]["high"]
    assert found["warnings"] == ["2 of 3 replies of the judge could be read"]
    other = score("llava-bench", reviews=path, reading="lmms-eval")
    assert other["failed"] == 0
    assert other["ratio"] == pytest.approx(20.5 / 24)
    assert "lines 2" in other["warnings"][0]


def test_reviews_are_matched_by_id(tmp_path: Path) -> None:
    root, path = write_llava_bench(tmp_path), tmp_path / "reviews.jsonl"
    path.write_text(lines(REVIEWS))
    found = score("llava-bench", reviews=path, **llava_files(root))
    assert found["official"] == 89.3
    path.write_text(lines(REVIEWS[:2]))
    with pytest.raises(DataError, match="1 of 3 questions have no review: 1"):
        score("llava-bench", reviews=path, **llava_files(root))
    path.write_text(lines([*REVIEWS, {**REVIEWS[0], "question_id": 7}]))
    with pytest.raises(DataError, match="unknown question_id: 7"):
        score("llava-bench", reviews=path, **llava_files(root))
    path.write_text(lines([*REVIEWS, REVIEWS[0]]))
    with pytest.raises(DataError, match="already used in line 1"):
        score("llava-bench", reviews=path)


def keep(
    path: Path,
    metric: JudgedMetric,
    answers: list[str],
    targets: list[Any],
    texts: list[str],
    model: str = "gpt-4",
) -> None:
    """Store replies to what a metric asks, as a judging does."""
    store, endpoint = ReplyStore(path), Endpoint(model=model)
    metric.replies = store.replies(endpoint.judge)
    left = list(texts)
    while left and (requests := metric.set_requests(answers, targets)):
        store.add(requests[0], endpoint, Reply(left.pop(0), 10, 2, 0.1, 1, model, "stop"))
    store.close()


LLAVA_TARGETS = [
    {
        "question": row["text"],
        "context": "A bus.\nIt is red — très rouge." if row["question_id"] == 0 else "One text.",
        "reference": f"reference {row['question_id']}",
        "category": row["category"],
    }
    for row in LLAVA_QUESTIONS
]


def test_answers_with_stored_replies(tmp_path: Path) -> None:
    root = write_llava_bench(tmp_path / "data")
    answers, replies = tmp_path / "answers.jsonl", tmp_path / "judge.jsonl"
    rows = [{"question_id": str(n), "text": f"mine {n}"} for n in (1, 2, 0)]
    answers.write_text(lines(rows))
    given = [f"mine {n}" for n in range(3)]
    keep(replies, LlavaBenchMetric(), given, LLAVA_TARGETS, ["8 4", "10 10"])
    files = {**llava_files(root), "answers": answers, "replies": replies}
    found = score("llava-bench", **files)
    assert (found["ratio_conv"], found["ratio_detail"], found["ratio_complex"]) == (0.5, 1.0, None)
    assert found["unjudged"] == 1
    assert found["warnings"] == [
        "1 of 3 answers have no usable reply of the judge: 2",
        "2 of 3 replies of the judge could be read",
    ]

    keep(replies, LlavaBenchMetric(), given, LLAVA_TARGETS, ["5 5"] * 3, model="other")
    with pytest.raises(DataError, match="several judges"):
        score("llava-bench", **files)
    assert score("llava-bench", judge="other", **files)["ratio"] == 1.0
    assert score("llava-bench", judge="gpt-4", **files)["unjudged"] == 1
    with pytest.raises(DataError, match=r"no reply is one of 'gpt-5'"):
        score("llava-bench", judge="gpt-5", **files)

    answers.write_text(lines(rows[:2]))
    with pytest.raises(DataError, match="1 of 3 question_ids are missing: 0"):
        score("llava-bench", judge="other", **files)
    answers.write_text(lines([*rows, {"question_id": 5, "text": ""}]))
    with pytest.raises(DataError, match="unknown: 5"):
        score("llava-bench", judge="other", **files)


def test_scorers_say_which_files_they_need(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for files, words in [
        ({}, r"give reviews \(--reviews\), or answers"),
        ({"answers": path}, "--replies, --questions, --context, --reference"),
        ({"reviews": path, "answers": path}, "exclude each other"),
        ({"reviews": path, "questions": path}, "together"),
    ]:
        with pytest.raises(ConfigError, match=words):
            SCORERS.build("llava-bench", **files)
    for files, words in [
        ({}, r"give grades \(--grades\), or answers"),
        ({"answers": path}, "together with replies"),
        ({"grades": path, "answers": path, "replies": path}, "not both"),
    ]:
        with pytest.raises(ConfigError, match=words):
            SCORERS.build("mm-vet", questions=path, **files)


GRADES = {
    "v1_0": {"model": ["g"] * 2, "content": ["0.5", "1.0"], "score": [0.5, 1.0]},
    "v1_2": {"model": ["g"] * 2, "content": ["1.0", "0.9"], "score": [1.0, 0.9]},
    "v1_1": {"model": ["g"] * 2, "content": ["I", "0.0"], "score": [0.0, 0.0]},
}


def test_official_grades(tmp_path: Path) -> None:
    root, path = write_mm_vet(tmp_path), tmp_path / "grade.json"
    path.write_text(json.dumps(GRADES))
    found = score("mm-vet", questions=root / "mm-vet.json", grades=path)
    runs = np.array([(0.5 + 0.0 + 1.0) / 3, (1.0 + 0.0 + 0.9) / 3])
    assert found["total"] == pytest.approx(runs.mean())
    assert found["total_std"] == pytest.approx(runs.std())
    assert found["rec"] == pytest.approx(1.9 / 4)
    assert found["math"] == found["set_ocr_math"] == 0.75
    assert found["set_rec"] == pytest.approx(0.95)
    assert (found["know"], found["set_rec_spat"]) == (None, 0.0)
    assert (found["given_up"], found["n"], found["judge_runs"]) == (1, 3, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"v1_0": None}, "1 of 3 question ids are missing: v1_0"),
        ({"v1_9": GRADES["v1_0"]}, "unknown: v1_9"),
        ({"v1_0": {"score": [0.5]}}, "different numbers of runs"),
        ({"v1_0": {"score": [0.5, 1.5]}}, "from 0 to 1"),
        ({"v1_0": {"score": [0.5, True]}}, "from 0 to 1"),
        ({"v1_0": {"score": [0.5, math.nan]}}, "from 0 to 1"),
        ({"v1_0": {"score": []}}, "list of grades"),
        ({"v1_0": {"score": [1, 1], "content": ["1"]}}, "lists of one length"),
        ({"v1_0": 0.5}, "list of grades"),
    ],
)
def test_broken_grades_are_told(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    root, path = write_mm_vet(tmp_path), tmp_path / "grade.json"
    content = {key: value for key, value in {**GRADES, **change}.items() if value is not None}
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=words):
        score("mm-vet", questions=root / "mm-vet.json", grades=path)


def test_mm_vet_answers_with_stored_replies(tmp_path: Path) -> None:
    root = write_mm_vet(tmp_path / "data")
    answers, replies = tmp_path / "answers.json", tmp_path / "judge.jsonl"
    given = {key: f"mine {key}" for key in reversed(MM_VET_QUESTIONS)}
    answers.write_text(json.dumps(given))
    targets = [
        {**row, "capability": caps}
        for row, caps in zip(
            MM_VET_QUESTIONS.values(), (["ocr", "math"], ["rec", "spat"], ["rec"]), strict=True
        )
    ]
    texts = [f"mine {key}" for key in MM_VET_QUESTIONS]
    keep(replies, MmVetMetric(judge_runs=2), texts, targets, ["1.0", "0.5", "no", "0.2", "0.4"])
    files = {"questions": root / "mm-vet.json", "answers": answers, "replies": replies}
    found = score("mm-vet", judge_runs=2, **files)
    assert found["math"] == 0.75
    assert found["spat"] == pytest.approx(0.3)
    assert found["unjudged"] == 1
    assert "v1_2" in found["warnings"][0]
    answers.write_text(json.dumps({**given, "v1_0": 3}))
    with pytest.raises(DataError, match="must be a string"):
        score("mm-vet", **files)


def test_attempts_of_mm_vet_count_five_for_each_run(tmp_path: Path) -> None:
    root = write_mm_vet(tmp_path / "data")
    answers, replies = tmp_path / "answers.json", tmp_path / "replies.jsonl"
    answers.write_text(json.dumps({key: f"mine {key}" for key in MM_VET_QUESTIONS}))
    files = {"questions": root / "mm-vet.json", "answers": answers, "replies": replies}

    def write(*attempts: tuple[int, str]) -> None:
        rows = [
            {"id": key, "attempt": attempt, "reply": reply}
            for key in MM_VET_QUESTIONS
            for attempt, reply in attempts
        ]
        replies.write_text("".join(json.dumps(row) + "\n" for row in rows))

    # the second run has no grade at once, but at its second try
    write((0, "1.0"), (5, "well"), (6, "0.5"))
    found = score("mm-vet", judge_runs=2, **files)
    assert (found["total"], found["total_std"]) == (0.75, 0.25)
    assert (found["unjudged"], found["warnings"]) == (0, [])
    with pytest.raises(DataError, match=r"jsonl:2: 'attempt' must be from 0 to 4, got 5\. .*5 \*"):
        score("mm-vet", **files)
    write((0, "1.0"), (1, "0.5"))
    with pytest.raises(
        DataError, match=r"jsonl:2: nothing asks for attempt 1 of 'v1_\d', and its attempt 5 is"
    ):
        score("mm-vet", judge_runs=2, **files)
