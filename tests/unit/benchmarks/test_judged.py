"""LLaVA-Bench and MM-Vet: the official layouts, and every way in which files do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.benchmarks.llava_bench.benchmark import LlavaBench
from lvlmsal.benchmarks.llava_bench.files import read_reviews
from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
from lvlmsal.benchmarks.mm_vet.benchmark import MmVet
from lvlmsal.errors import DataError
from tests.unit.benchmarks.judged_files import (
    CONTEXT,
    LLAVA_QUESTIONS,
    MM_VET_QUESTIONS,
    lines,
    write_llava_bench,
    write_mm_vet,
)


def test_llava_bench_reads_the_official_layout(tmp_path: Path) -> None:
    benchmark = LlavaBench(root=str(write_llava_bench(tmp_path)))
    assert benchmark.problems() == []
    first, second, third = benchmark.samples()
    assert (first.id, first.prompt) == ("0", "What is this?")
    assert first.images == (tmp_path / "images/001.jpg",)
    assert first.target == {
        "question": "What is this?",
        "context": "A bus.\nIt is red — très rouge.",
        "reference": "reference 0",
        "category": "conv",
    }
    assert second.target["context"] == "One text."
    assert second.group == third.group == "002.jpg"
    assert isinstance(benchmark.metric(), LlavaBenchMetric)


def test_the_prompt_of_the_model_is_not_that_of_the_judge(tmp_path: Path) -> None:
    root = str(write_llava_bench(tmp_path))
    first = LlavaBench(root=root, prompt="{question} Be brief.").samples()[0]
    assert first.prompt == "What is this? Be brief."
    assert first.target["question"] == "What is this?"


def test_a_prompt_without_the_question_is_refused(tmp_path: Path) -> None:
    for benchmark in (LlavaBench, MmVet):
        with pytest.raises(ValueError, match="prompt must contain"):
            benchmark(root=str(tmp_path), prompt="Describe it.")


def test_rule_files_are_looked_for_in_the_root(tmp_path: Path) -> None:
    rules = {
        f"llava_bench_{c}": {"role": "Assistant", "prompt": "Grade."}
        for c in ("conv", "detail", "complex")
    }
    root = write_llava_bench(tmp_path)
    (root / "rule.json").write_text(json.dumps(rules))
    metric = LlavaBench(root=str(root), judge_prompt="rule.json", reading="lmms-eval").metric()
    assert metric.judge_prompt == str(root / "rule.json")
    assert metric.reading == "lmms-eval"
    (write_mm_vet(tmp_path / "vet") / "few.txt").write_text("Q | A | P | C\n")
    metric = MmVet(root=str(tmp_path / "vet"), judge_prompt="few.txt", judge_runs=5).metric()
    assert (metric.judge_prompt, metric.judge_runs) == (str(tmp_path / "vet/few.txt"), 5)


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("questions.jsonl", [LLAVA_QUESTIONS[0], LLAVA_QUESTIONS[0]], "already used in line 1"),
        ("questions.jsonl", [{**LLAVA_QUESTIONS[0], "category": "chat"}], "must be one of conv"),
        ("questions.jsonl", [{**LLAVA_QUESTIONS[0], "question_id": 9}], "no reference answer"),
        ("context.jsonl", CONTEXT[:1], "'002.jpg' has no context"),
        ("context.jsonl", [{"image": "001.jpg", "caption": 3}, CONTEXT[1]], "'caption' must be"),
        ("context.jsonl", [CONTEXT[0], CONTEXT[0]], "already used in line 1"),
        ("answers_gpt4.jsonl", [{"question_id": 0}], "there is no answer: expected"),
        ("questions.jsonl", [{**LLAVA_QUESTIONS[0], "image": "../x.jpg"}], "has no context"),
    ],
)
def test_broken_files_of_llava_bench_are_told(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], words: str
) -> None:
    root = write_llava_bench(tmp_path)
    (root / name).write_text(lines(rows))
    assert words in "\n".join(LlavaBench(root=str(root)).problems())


def test_mm_vet_reads_the_official_layout(tmp_path: Path) -> None:
    benchmark = MmVet(root=str(write_mm_vet(tmp_path)))
    assert benchmark.problems() == []
    first, second, _ = benchmark.samples()
    assert (first.id, first.group, first.prompt) == ("v1_0", "v1_0.png", "What is x?")
    assert first.target == {
        "question": "What is x?",
        "answer": "-1<AND>-5",
        "capability": ["ocr", "math"],
    }
    assert second.target["capability"] == ["rec", "spat"]  # a text with commas, as on the hub


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "expected a JSON object"),
        ("{}", "expected a JSON object"),
        ('{"v1_0": ', "not valid JSON"),
        ('{"v1_0": 3}', "'v1_0': expected 'imagename'"),
        ('{"v1_0": {}, "v1_0": {}}', "there twice: 'v1_0'"),
        (json.dumps({"v1_0": {**MM_VET_QUESTIONS["v1_0"], "capability": []}}), "'capability'"),
        (json.dumps({"v1_0": {**MM_VET_QUESTIONS["v1_0"], "capability": ["fly"]}}), "['fly']"),
        (json.dumps({"v1_0": {**MM_VET_QUESTIONS["v1_0"], "imagename": "/x"}}), "absolute"),
        (json.dumps({"v1_0": {**MM_VET_QUESTIONS["v1_0"], "imagename": "x"}}), "no image"),
    ],
)
def test_broken_files_of_mm_vet_are_told(tmp_path: Path, content: str, words: str) -> None:
    root = write_mm_vet(tmp_path)
    (root / "mm-vet.json").write_text(content)
    assert words in "\n".join(MmVet(root=str(root)).problems())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question_id": 0, "category": "all", "content": "8 7"}, "llava_bench_conv"),
        ({"question_id": 0, "category": "llava_bench_conv"}, "there is no review"),
        ({"question_id": 0, "category": "llava_bench_conv", "tuple": [1]}, "two numbers"),
        ({"question_id": 0, "category": "llava_bench_conv", "tuple": [1, True]}, "two numbers"),
        ({"question_id": 0, "category": "llava_bench_conv", "tuple": "12"}, "two numbers"),
        ({"category": "llava_bench_conv", "tuple": [1, 2]}, "'question_id' is missing"),
    ],
)
def test_broken_reviews_are_told(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text(lines([row]))
    with pytest.raises(DataError, match=words):
        read_reviews(path)
