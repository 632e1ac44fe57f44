"""Scorers of HallusionBench, video QA and Video-ChatGPT's benchmark: official and bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.video_qa.metric import VideoQaMetric
from lvlmsal.cli import main
from lvlmsal.errors import ConfigError, DataError, LvlmsalError
from lvlmsal.registry import SCORERS
from tests.unit.benchmarks.video_cases import HALLUSION, VERDICTS
from tests.unit.readers.test_video import ANSWERS, QUESTIONS, write

KEYS = ("category", "subcategory", "set_id", "figure_id", "question_id")


def hallusion_rows(**more: Any) -> list[dict[str, Any]]:
    """The cases of the metric's tests, as the official file has them: all values are text."""
    rows = []
    for (answer, target), verdict in zip(HALLUSION, VERDICTS, strict=True):
        texts = {key: str(value) for key, value in target.items()}
        name = None if target["visual_input"] == 0 else "./x.png"
        row = {**texts, "filename": name, "model_prediction": answer}
        rows.append({**row, "gpt4v_output_gpt_check": str(verdict), **more})
    return rows


def score(name: str, **options: Any) -> dict[str, Any]:
    given = {key: str(value) for key, value in options.items()}
    found: dict[str, Any] = SCORERS.build(name, **given).score()
    json.dumps(found)
    return found


def test_hallusionbench_takes_the_verdicts_of_the_official_file(tmp_path: Path) -> None:
    results = write(tmp_path / "HallusionBench_result.json", hallusion_rows())
    found = score("hallusionbench", results=results, questions=results)
    assert (found["aacc"], found["qacc"], found["facc"]) == (5 / 8, 2 / 4, 1 / 4)
    assert found["variant"].endswith("gpt4v_output_gpt_check")
    assert list(found["categories"]) == ["VD", "VD ocr", "VS", "VS map", "VS ocr"]
    assert found["categories"]["VD"]["aacc"] == 2 / 4
    assert found["categories"]["VS ocr"]["facc"] is None
    assert found["intervals"]["aacc"]["low"] <= 5 / 8 <= found["intervals"]["aacc"]["high"]


def test_hallusionbench_reads_answers_under_a_rule(tmp_path: Path) -> None:
    rows = hallusion_rows()
    for row in rows:
        del row["gpt4v_output_gpt_check"]
    results = write(tmp_path / "r.json", rows)
    assert score("hallusionbench", results=results, rule="lmms-eval")["aacc"] == 5 / 8
    assert score("hallusionbench", results=results, rule="strict")["unclear"] == 3
    found = score("hallusionbench", results=results, rule="strict", rules="lmms-eval,strict")
    assert found["unclear"] == found["rules"]["strict"]["unclear"] == 3
    assert found["rules"]["lmms-eval"]["aacc"] == 5 / 8
    with pytest.raises(
        LvlmsalError, match=r"unknown rule 'judge'\..*Known: all, lmms-eval, strict"
    ):
        score("hallusionbench", results=results, rule="strict", rules="judge")
    with pytest.raises(DataError, match=r"r\.json:1.*no verdict.*strict"):
        score("hallusionbench", results=results)


def test_hallusionbench_takes_replies(tmp_path: Path) -> None:
    results = write(tmp_path / "r.json", hallusion_rows())
    words = ("incorrect", "correct", "unclear")
    replies = [
        {"id": "_".join(t[k] for k in list(t)[:5]), "reply": words[verdict]}
        for (_, t), verdict in zip(HALLUSION, VERDICTS, strict=True)
    ]
    path = write(tmp_path / "replies.json", replies)
    assert score("hallusionbench", results=results, replies=path)["facc"] == 1 / 4
    path = write(tmp_path / "replies.json", replies[1:])
    found = score("hallusionbench", results=results, replies=path)
    assert (found["unjudged"], found["n"]) == (1, 7)
    assert "VD_ocr_0_0_0" in found["warnings"][0]
    with pytest.raises(ConfigError, match="strict"):
        score("hallusionbench", results=results, replies=path, rule="strict")


def test_replies_that_another_id_stands_for_are_named(tmp_path: Path) -> None:
    first, *_ = hallusion_rows()
    rows = [{**first, "set_id": str(number)} for number in range(3)]
    results = write(tmp_path / "r.json", rows)
    ids = ["_".join(row[key] for key in KEYS) for row in rows]
    replies = [{"id": name, "reply": "correct"} for name in ids]
    path = write(tmp_path / "replies.json", replies)
    assert score("hallusionbench", results=results, replies=path)["warnings"] == []
    path = write(tmp_path / "replies.json", [*replies[:2], {"id": ids[2], "reply": "incorrect"}])
    found = score("hallusionbench", results=results, replies=path)
    (warning,) = found["warnings"]
    assert warning.startswith("1 of 3 replies were not taken")
    assert warning.endswith(ids[2])
    assert found["aacc"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpt4v_output_gpt_check": "3"}, r"must be 0 \(wrong\)"),
        ({"question_id": "9"}, "VD_ocr_0_0_9 is not in the question file"),
        ({"gt_answer": "0"}, "another release"),
    ],
)
def test_hallusionbench_refuses(tmp_path: Path, change: dict[str, str], words: str) -> None:
    rows = hallusion_rows()
    questions = write(tmp_path / "q.json", rows)
    results = write(tmp_path / "r.json", [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(DataError, match=words):
        score("hallusionbench", results=results, questions=questions)


def test_hallusionbench_names_missing_results(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.json", hallusion_rows())
    results = write(tmp_path / "r.json", hallusion_rows()[:-1])
    with pytest.raises(DataError, match=r"1 of 8 questions have no result: VS_ocr_0_0_0"):
        score("hallusionbench", results=results, questions=questions)


OWN = [  # as the inference script writes them
    {"id": "v_abc_2", "question": "where is he", "answer": "in a field", "pred": "on grass"},
    {"id": "v_abc_1", "question": "what is he doing", "answer": "running", "pred": "He runs."},
]
SCORER = [  # as the scorer reads them
    {"video_name": "abc", "Q": row["question"], "A": row["answer"], "pred": row["pred"]}
    for row in OWN
]
REPLIES = [
    {"id": "v_abc_1", "reply": "{'pred': 'yes', 'score': 4.8}"},
    {"id": "v_abc_2", "reply": "Sure: no"},
    {"id": "v_abc_2", "attempt": 1, "reply": "{'pred': 'no', 'score': 2}"},
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        "questions": write(tmp_path / "q.json", QUESTIONS),
        "answers": write(tmp_path / "a.json", ANSWERS),
        "predictions": write(tmp_path / "p.json", OWN),
        "replies": write(tmp_path / "replies.json", REPLIES),
    }


@pytest.mark.parametrize("layout", [OWN, SCORER, OWN[::-1], SCORER[::-1]])
def test_video_qa_takes_both_layouts(files: dict[str, Path], layout: list[Any]) -> None:
    write(files["predictions"], layout)
    found = score("video-qa", **files)
    assert (found["accuracy"], found["score"], found["unjudged"]) == (0.5, 3.0, 0)
    assert found["variant"] == "official, prompt lvlmsal-1"
    assert score("video-qa", **files, rule="strict")["score"] == pytest.approx(3.4)


def test_video_qa_takes_replies_by_key(files: dict[str, Path]) -> None:
    asked = {"question": "what is he doing", "answer": "running"}
    (request,) = VideoQaMetric().requests("He runs.", asked)
    stored = {"key": request.key, "reply": "{'pred': 'yes', 'score': 3}", "model": "m"}
    write(files["replies"], [stored, {**stored, "key": "another"}])
    found = score("video-qa", **files)
    assert (found["accuracy"], found["score"], found["unjudged"]) == (1.0, 3.0, 1)
    assert "1 of 2 answers have no usable reply of the judge: v_abc_2" in found["warnings"]


def test_what_is_asked_twice_is_told_apart_by_its_answer(files: dict[str, Path]) -> None:
    same = {"video_name": "abc", "question": "what is he doing"}
    write(files["questions"], [{**same, "question_id": f"v_abc_{n}"} for n in (1, 2)])
    rows = [{"video_name": "abc", "Q": same["question"], "pred": "x"} for _ in range(2)]
    answers = ("in a field", "running")
    write(files["predictions"], [{**r, "A": a} for r, a in zip(rows, answers, strict=True)])
    assert score("video-qa", **files)["n"] == 2
    write(files["predictions"], [{**row, "A": "running"} for row in rows])
    with pytest.raises(DataError, match="not among the 2 questions"):
        score("video-qa", **files)


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("predictions", OWN[:1], "1 of 2 questions have no prediction: v_abc_1"),
        ("predictions", [*OWN, OWN[0]], "already answered in line 1"),
        ("predictions", [*OWN, {**OWN[0], "id": "x"}], "not among the 2"),
        ("predictions", [{**OWN[0], "answer": "running"}, OWN[1]], "by position"),
        ("predictions", [{"pred": "x"}], "'video_name' is missing"),
        ("replies", [*REPLIES, {"id": "x", "reply": ""}], "nothing is asked under the id 'x'"),
        ("replies", [*REPLIES, REPLIES[0]], "a second reply for attempt 0"),
        ("replies", [{"id": "v_abc_1", "reply": 4}], "'reply' must be a string"),
        ("replies", [{"id": "v_abc_1", "attempt": "x", "reply": ""}], "'attempt' must be"),
    ],
)
def test_video_qa_refuses(files: dict[str, Path], name: str, rows: list[Any], words: str) -> None:
    write(files[name], rows)
    with pytest.raises(DataError, match=words):
        score("video-qa", **files)


def test_video_chatgpt_scores_prediction_files(tmp_path: Path) -> None:
    single = {"video_name": "v_a", "Q": "What?", "A": "This.", "pred": "this"}
    paired = {"video_name": "v_a", "Q1": "a?", "Q2": "b?", "A": "x", "pred1": "x", "pred2": "y"}
    given = {
        "generic": write(tmp_path / "g.json", [single, {**single, "pred": "that"}]),
        "consistency": write(tmp_path / "c.json", [paired]),
    }
    values = {"correctness": (3, 4), "detail": (1, 2), "context": (5, 5), "consistency": (2,)}
    replies = [
        {"id": f"{aspect}/v_a_{place}", "reply": f"{{'score': {value}.6}}"}
        for aspect, scores in values.items()
        for place, value in enumerate(scores)
    ]
    path = write(tmp_path / "replies.json", replies)
    found = score("video-chatgpt", replies=path, **given)
    assert [found[aspect] for aspect in values] == [3.5, 1.5, 5.0, 2.0]
    assert (found["temporal"], found["mean"]) == (None, None)
    assert (found["n"], found["unjudged"]) == (7, 0)
    assert score("video-chatgpt", replies=path, rule="strict", **given)["detail"] == 2.1
    with pytest.raises(DataError, match="'Q1' and 'Q2'"):
        score("video-chatgpt", replies=path, consistency=given["generic"])
    with pytest.raises(ConfigError, match="at least one of"):
        score("video-chatgpt", replies=path)


def test_the_commands(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert main(["score", "video-qa", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 0.5
    results = write(tmp_path / "r.json", hallusion_rows())
    assert main(["score", "hallusionbench", "--results", str(results)]) == 0
    assert "aacc: 0.6250 [" in capsys.readouterr().out
