"""MM-Vet: reading grades, what is asked again, and means by capability."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lvlmsal.benchmarks.mm_vet.counts import mm_vet_counts, mm_vet_figures, mm_vet_grade
from lvlmsal.benchmarks.mm_vet.metric import RETRY_SUFFIX, MmVetMetric
from lvlmsal.errors import ConfigError

TARGET = {"question": "x?", "answer": "1<AND>2<OR>3", "capability": ["rec"]}


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("0.5", 0.5),
        ("1", 1.0),
        ("0.7 because", 0.7),
        ("0.7\n", 0.7),
        ("0.7\nbecause", None),
        (" 0.7", None),
        ("0,7", None),
        ("-0.1", None),
        ("1.1", None),
        ("", None),
        ("nan", None),
        ("0.5.", None),
        (".5", 0.5),
    ],
)
def test_grades_are_read_as_the_official_script_does(reply: str, grade: float | None) -> None:
    assert mm_vet_grade(reply) == grade


def test_unusable_replies_are_asked_for_again_with_suffix_and_temperature() -> None:
    metric = MmVetMetric()
    replies: dict[str, str] = {}
    metric.replies = replies
    temperatures, texts, attempts = [], [], []
    while requests := metric.requests("a | b", TARGET):
        (request,) = requests
        temperatures.append(request.temperature)
        attempts.append(request.attempt)
        texts.append(request.messages[0][1])
        assert request.max_tokens == 3
        row = metric.rows(["a | b"], [TARGET])[0]
        assert row[metric.count_names.index("unjudged")] == 1
        replies[request.key] = "?"
    assert temperatures == [0.0, 0.0, 0.5, 1.0, 1.5]
    assert attempts == [0, 1, 2, 3, 4]
    assert texts[0].endswith("\nx? | 1 <AND> 2 <OR> 3 | a | b | ")
    assert all(text == texts[0] + RETRY_SUFFIX for text in texts[1:])
    found = metric.score(["a | b"], [TARGET])
    assert (found["given_up"], found["unjudged"]) == (1, 0)
    # the script says 0 here; of a judge who was never read nothing is said
    assert math.isnan(found["total"])
    assert math.isnan(found["total_graded"])


def test_runs_are_asked_beside_each_other_and_keep_earlier_replies() -> None:
    once, thrice = MmVetMetric(), MmVetMetric(judge_runs=3)
    (first,) = once.requests("a", TARGET)
    asked = thrice.requests("a", TARGET)
    assert asked[0].key == first.key
    assert len({request.key for request in asked}) == 3
    thrice.replies = {first.key: "0.4"}
    assert [r.attempt for r in thrice.requests("a", TARGET)] == [5, 10]
    thrice.replies = {request.key: text for request, text in zip(asked, "010", strict=True)}
    found = thrice.score(["a"], [TARGET])
    assert float(found["total"]) == pytest.approx(1 / 3)
    assert float(found["total_std"]) == pytest.approx(math.sqrt(2) / 3)


def test_a_failed_sample_is_wrong_in_all_that_it_calls_for() -> None:
    metric = MmVetMetric(judge_runs=2)
    target = {**TARGET, "capability": ["rec", "ocr"]}
    figures = metric.figures(metric.failed_rows([target])[0])
    names = ("total", "total_std", "rec", "ocr", "set_rec_ocr", "given_up", "unjudged")
    assert [float(figures[name]) for name in names] == [0.0] * 7
    assert math.isnan(figures["set_rec"])


def test_a_single_run_has_no_spread() -> None:
    assert math.isnan(mm_vet_figures(mm_vet_counts([[0.5]], [["rec"]])[0], 1)["total_std"])


def test_a_repeated_capability_counts_once() -> None:
    row = mm_vet_counts([[0.5], [1.0]], [["ocr", "rec", "ocr"], ["rec"]]).sum(0)
    figures = mm_vet_figures(row, 1)
    assert (float(figures["ocr"]), float(figures["rec"])) == (0.5, 0.75)


def test_a_file_with_the_official_prompt_is_taken_word_for_word(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Grade {answer}.\n\nQ | A | P | C\n")
    metric = MmVetMetric(judge_prompt=str(path))
    (request,) = metric.requests("b", TARGET)
    assert request.messages == (
        ("user", "Grade {answer}.\n\nQ | A | P | C\n\nx? | 1 <AND> 2 <OR> 3 | b | "),
    )
    assert metric.variant.startswith("prompt prompt.txt (")
    assert metric.prompt_digest != MmVetMetric().prompt_digest
    path.write_text(" \n")
    with pytest.raises(ConfigError, match="empty"):
        MmVetMetric(judge_prompt=str(path))
    with pytest.raises(ConfigError, match="no such file"):
        MmVetMetric(judge_prompt="official")


def test_wrong_values_are_refused() -> None:
    for runs in (0, 11):
        with pytest.raises(ValueError, match="judge_runs"):
            MmVetMetric(judge_runs=runs)
    with pytest.raises(ValueError, match="capabilities"):
        mm_vet_counts([[1.0]], [["recognition"]])
    with pytest.raises(ValueError, match="capabilities"):
        mm_vet_counts([[1.0]], [[]])
    with pytest.raises(ValueError, match="grades"):
        mm_vet_counts([[]], [["rec"]])
