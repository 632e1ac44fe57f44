"""LLaVA-Bench: reading reviews, ratios of means, and what is asked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.llava_bench.counts import (
    llava_bench_counts,
    llava_bench_figures,
    llava_bench_scores,
)
from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
from lvlmsal.errors import ConfigError

TARGET = {
    "question": "What is {answer}?",
    "context": "A bus.\nA cat.",
    "reference": "A bus {context}.",
    "category": "complex",
}
RULES = {
    f"llava_bench_{name}": {"role": f"Helper{name}", "prompt": f"Grade it: {name} {{x}}."}
    for name in ("conv", "detail", "complex")
}


@pytest.mark.parametrize(
    ("review", "official", "lmms"),
    [
        ("8 7", (8, 7), (8, 7)),
        ("8.5 7\nAssistant 1 ...", (8.5, 7), (8.5, 7)),
        ("7,6", (7, 6), (7, 6)),
        ("7, 6", None, (7, 6)),
        (" 8 7", None, (8, 7)),
        ("8 7 ", None, (8, 7)),
        ("8\t7", None, (8, 7)),
        ("8/10 7/10", None, (8, 10)),
        ("8 7 6", None, (8, 7)),
        ("\n8 7", None, (8, 7)),
        ("8 7\r\nand", (8, 7), (8, 7)),
        ("Answer 1: 8, Answer 2: 7", None, (1, 8)),
        ("7-6", None, (7, -6)),
        ("eight seven", None, None),
        ("8", None, None),
        ("", None, None),
        ("8e0 7", (8, 7), (8, 0)),
        ("\u0668 \u0667", (8, 7), (8, 7)),
    ],
)
def test_scores_are_read_as_each_rule_does(
    review: str, official: tuple[float, float] | None, lmms: tuple[float, float] | None
) -> None:
    assert llava_bench_scores(review) == (official or (-1, -1))
    assert llava_bench_scores(review, "lmms-eval") == (lmms or (-1, -1))


def figures(reviews: list[str | None], category: str = "conv") -> dict[str, float]:
    rows = llava_bench_counts(reviews, [category] * len(reviews))
    return {name: float(value) for name, value in llava_bench_figures(rows.sum(0)).items()}


def test_a_failed_pair_enters_the_official_figure_as_minus_one_and_the_other_not() -> None:
    found = figures(["8 6", "sorry", None])
    assert found["ratio"] == found["ratio_conv"] == 0.75
    # means (8 - 1) / 2 and (6 - 1) / 2
    assert found["official"] == found["official_conv"] == round(2.5 / 3.5 * 100, 1) == 71.4
    # the script's line: ratio, then ten times each of these means, not those of the usable pairs
    assert (found["official_reference"], found["official_answer"]) == (35.0, 25.0)
    assert (found["official_reference_conv"], found["official_answer_conv"]) == (35.0, 25.0)
    assert (found["reference"], found["answer"]) == (8, 6)
    assert math.isnan(found["official_answer_detail"])
    assert (found["failed"], found["unjudged"], found["n"]) == (1, 1, 3)
    assert math.isnan(found["ratio_detail"])
    assert math.isnan(found["official_detail"])


def test_it_is_a_ratio_of_means() -> None:
    found = figures(["10 5", "2 2"])
    assert found["ratio"] == pytest.approx(7 / 12)
    assert found["ratio"] != pytest.approx((5 / 10 + 2 / 2) / 2)


def test_what_is_no_score_makes_the_official_figure_undefined_and_no_other() -> None:
    for odd in ("7 nan", "inf 3", "1e300 2"):
        found = figures(["8 6", odd])
        assert found["ratio"] == 0.75
        assert all(math.isnan(found[name]) for name in ("official", "official_reference"))
        assert found["failed"] == 1


def test_means_of_zero_leave_the_ratio_undefined() -> None:
    found = figures(["0 5"])
    assert math.isnan(found["ratio"])
    assert math.isnan(found["official"])
    assert math.isnan(figures(["1 3", "none"])["official"])  # (1 - 1) / 2


@given(st.lists(st.tuples(st.integers(2, 20), st.integers(2, 20)), min_size=1, max_size=30))
def test_the_official_figure_is_that_of_plain_python(pairs: list[tuple[int, int]]) -> None:
    found = figures([f"{a / 2} {b / 2}" for a, b in pairs])
    first, second = (round(sum(column) / 2 / len(pairs), 3) for column in zip(*pairs, strict=True))
    assert found["official"] == round(second / first * 100, 1)
    assert found["official_reference"] == round(first * 10, 1)
    assert found["official_answer"] == round(second * 10, 1)


def test_wrong_categories_and_readings_are_refused() -> None:
    with pytest.raises(ValueError, match="category"):
        llava_bench_counts(["8 7"], ["llava_bench_conv"])
    with pytest.raises(ValueError, match="category"):
        LlavaBenchMetric().requests("a", {**TARGET, "category": "all"})
    with pytest.raises(ValueError, match="reading"):
        LlavaBenchMetric(reading="lmms")  # type: ignore[arg-type]


def rule_file(folder: Path, content: Any = RULES) -> str:
    path = folder / "rule.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_the_official_rule_file_gives_the_official_message(tmp_path: Path) -> None:
    metric = LlavaBenchMetric(judge_prompt=rule_file(tmp_path))
    (request,) = metric.requests("A {question} cat.", TARGET)
    assert (request.temperature, request.max_tokens, request.attempt) == (0.2, 1024, 0)
    (system, instruction), (user, text) = request.messages
    assert (system, user) == ("system", "user")
    assert "precise assistant" in instruction
    assert text == (
        "[Context]\nA bus.\nA cat.\n\n"
        "[Question]\nWhat is {answer}?\n\n"
        "[Helpercomplex 1]\nA bus {context}.\n\n[End of Helpercomplex 1]\n\n"
        "[Helpercomplex 2]\nA {question} cat.\n\n[End of Helpercomplex 2]\n\n"
        "[System]\nGrade it: complex {x}.\n\n"
    )
    assert metric.variant.startswith("official, prompt rule.json (")


def test_prompts_are_told_apart(tmp_path: Path) -> None:
    own, official = LlavaBenchMetric(), LlavaBenchMetric(judge_prompt=rule_file(tmp_path))
    assert own.prompt_digest != official.prompt_digest
    other = {**RULES, "llava_bench_conv": {"role": "Helperconv", "prompt": "Grade it well."}}
    assert LlavaBenchMetric(judge_prompt=rule_file(tmp_path, other)).prompt_digest not in (
        own.prompt_digest,
        official.prompt_digest,
    )
    asked = {
        LlavaBenchMetric().requests("a", {**TARGET, "category": c})[0].key
        for c in ("conv", "detail", "complex")
    }
    assert len(asked) == 3


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"llava_bench_conv": 1}', json.dumps({**RULES, "llava_bench_conv": {}})],
)
def test_what_is_no_rule_file_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match=r"expected LLaVA's rule.json"):
        LlavaBenchMetric(judge_prompt=rule_file(tmp_path, content))
    with pytest.raises(ConfigError, match="no such file"):
        LlavaBenchMetric(judge_prompt="lvlmsal-2")


def test_samples_without_an_answer_have_no_scores() -> None:
    assert not LlavaBenchMetric().failed_rows([TARGET]).any()
    metric = LlavaBenchMetric()
    row = dict(zip(metric.count_names, metric.rows(["a"], [TARGET])[0].tolist(), strict=True))
    assert {name for name, count in row.items() if count} == {"unjudged", "n", "asked"}
