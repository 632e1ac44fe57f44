"""HallusionBench: hand-computed figures, the rules, and what the official script stumbles over."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lvlmsal.benchmarks.hallusionbench.counts import (
    hallusionbench_counts,
    hallusionbench_figures,
    unit_sizes,
)
from lvlmsal.benchmarks.hallusionbench.metric import (
    HallusionBenchMetric,
    HallusionRule,
    judge_verdict,
)
from lvlmsal.errors import ConfigError
from lvlmsal.metrics.judge_prompts import load_prompt
from lvlmsal.testing.metric import check_metric
from tests.unit.benchmarks.video_cases import HALLUSION, VERDICTS, asked, hallusion_reference

ANSWERS = [answer for answer, _ in HALLUSION]
TARGETS = [target for _, target in HALLUSION]


def figures(rows: Tensor) -> dict[str, float]:
    return {name: value.item() for name, value in hallusionbench_figures(rows.sum(0)).items()}


def test_figures_by_hand() -> None:
    # right: 1 0 1 0 | unclear without image: right | right, unclear | unclear without image: right
    found = figures(hallusionbench_counts(VERDICTS, TARGETS))
    assert found["aacc"] == 5 / 8
    # pairs: ocr 0 (1, 1), ocr 1 (0, 0), map 0 (1, 1, 0), VS ocr 0 (1)
    assert found["qacc"] == 2 / 4
    # figures: ocr 0 (1, 0), ocr 1 (1, 0), map 1 (1), map 2 (0); those without an image are none
    assert found["facc"] == 1 / 4
    assert found["figure_score"] == (0.5 + 0.5 + 1 + 0) / 4
    assert (found["inconsistent"], found["all_wrong"]) == (2 / 4, 1 / 4)
    # easy: ocr 0, ocr 1 (wrong), map (1, 1), VS ocr; hard: ocr 0, ocr 1 (wrong), map (wrong)
    assert (found["easy_group_acc"], found["hard_group_acc"]) == (3 / 4, 1 / 3)
    # predictions: yes no no yes yes yes yes yes, references: yes yes no no yes yes no yes
    assert found["yes_difference"] == 6 / 8 - 5 / 8
    assert found["fp_ratio"] == 2 / 3
    assert (found["unclear"], found["n"], found["unjudged"]) == (3, 8, 0)


def test_what_the_official_script_divides_by_zero_over_is_nan() -> None:
    perfect = figures(hallusionbench_counts([1, 1], TARGETS[:2]))
    assert math.isnan(perfect["fp_ratio"])
    assert math.isnan(perfect["hard_group_acc"])
    assert perfect["aacc"] == perfect["qacc"] == perfect["facc"] == 1
    bare = figures(hallusionbench_counts([0], TARGETS[4:5]))
    assert math.isnan(bare["facc"])
    assert bare["aacc"] == 0


def test_groups_without_figure_0_can_be_scored() -> None:
    # the official script looks the answer to figure 0 up and stops with a KeyError
    image_only = figures(hallusionbench_counts(VERDICTS[5:7], TARGETS[5:7]))
    assert (image_only["qacc"], image_only["facc"]) == (0, 0.5)


def test_the_two_kinds_of_set_with_one_name_are_apart() -> None:
    twins = [asked("ocr_0_1", 0, 1), asked("ocr_0_1", 0, 1, category="VS")]
    assert figures(hallusionbench_counts([1, 0], twins))["facc"] == 0.5


@pytest.mark.parametrize(
    ("rule", "verdicts"),
    [
        # Yes. | No | no, it is not | Yesterday | I cannot tell. | yes | I do not know. | Yes or no?
        ("strict", [1, 0, 1, 2, 2, 1, 2, 1]),
        ("lmms-eval", [1, 0, 1, 0, 0, 1, 1, 1]),
        ("vlmevalkit", [1, 0, 1, 2, 2, 1, 2, 2]),
    ],
)
def test_rules_without_a_judge(rule: HallusionRule, verdicts: list[int]) -> None:
    metric = HallusionBenchMetric(rule=rule)
    assert metric.verdicts(ANSWERS, TARGETS) == verdicts
    assert metric.requests(*HALLUSION[0]) == []
    right = [verdict == 1 for verdict in verdicts]
    expected = hallusion_reference(right, TARGETS, bare=rule != "strict")

    def reference(answers: list[str], targets: list[Any]) -> dict[str, float]:
        chosen = [right[ANSWERS.index(answer)] for answer in answers]
        return hallusion_reference(chosen, targets, bare=rule != "strict")

    check_metric(lambda: HallusionBenchMetric(rule=rule), HALLUSION, reference, processes=1)
    found = {name: value.item() for name, value in metric.score(ANSWERS, TARGETS).items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("correct", 1),
        ("CORRECT!", 1),
        ("Incorrect", 0),
        ("not correct", 1),  # as in the official script
        ("It is correct, not incorrect", 0),
        ("unclear", 2),
        ("", 2),
        ("richtig", 2),
        ("\ud800 corr\u00e9ct", 2),
    ],
)
def test_replies_of_the_judge(reply: str, verdict: int) -> None:
    assert judge_verdict(reply) == verdict


def test_the_judge_is_asked_once_with_question_reference_and_answer() -> None:
    metric = HallusionBenchMetric()
    answer, target = "{question} \ud83d\ude00", TARGETS[0]
    (request,) = metric.requests(answer, target)
    text = request.messages[0][1]
    for words in (target["question"], target["gt_answer_details"], answer):
        assert words in text
    metric.replies = {request.key: "anything"}
    assert metric.requests(answer, target) == []
    assert metric.verdicts([answer, "other"], [target, target]) == [2, None]


def test_unjudged_answers_are_counted_and_left_out() -> None:
    found = figures(hallusionbench_counts([1, None, 0, None], TARGETS[:4]))
    assert (found["aacc"], found["unjudged"], found["n"]) == (0.5, 2, 2)
    assert (found["facc"], found["qacc"]) == (1 / 2, 0)
    assert math.isnan(figures(hallusionbench_counts([None], TARGETS[:1]))["aacc"])


@given(
    st.lists(st.sampled_from([0, 1, 2]), min_size=8, max_size=8),
    st.permutations(range(8)),
    st.booleans(),
)
def test_against_plain_loops_in_any_order(
    verdicts: list[int], order: list[int], bare: bool
) -> None:
    targets = [TARGETS[place] for place in order]
    found = figures(
        hallusionbench_counts(
            verdicts, targets, unclear_without_image=False, figure_without_image=bare
        )
    )
    expected = hallusion_reference([v == 1 for v in verdicts], targets, bare=bare)
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_units_lie_within_a_set_so_that_sets_can_be_resampled() -> None:
    whole = hallusionbench_counts(VERDICTS, TARGETS)
    sets = [(t["category"], t["subcategory"], t["set_id"]) for t in TARGETS]
    apart = torch.zeros_like(whole)
    for name in set(sets):
        places = [place for place, other in enumerate(sets) if other == name]
        apart[places] = hallusionbench_counts(
            [VERDICTS[p] for p in places], [TARGETS[p] for p in places]
        )
    assert torch.equal(whole, apart)


@given(st.sets(st.integers(0, 7)))
def test_failed_samples_are_wrong_in_every_unit(failed: set[int]) -> None:
    targets = [
        {**target, "whole": size} for target, size in zip(TARGETS, unit_sizes(TARGETS), strict=True)
    ]
    kept = [place for place in range(8) if place not in failed]
    metric = HallusionBenchMetric()
    rows = torch.cat(
        [
            metric.rows_of_verdicts([VERDICTS[p] for p in kept], [targets[p] for p in kept]),
            metric.failed_rows([targets[p] for p in sorted(failed)]),
        ]
    )
    right = [place in kept and (VERDICTS[place] == 1 or place in (4, 7)) for place in range(8)]
    expected = hallusion_reference(right, TARGETS, bare=False)
    found = figures(rows[:, :-2])
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "target",
    [None, 1, "x", [], {}, {**TARGETS[0], "gt_answer": 2}, {**TARGETS[0], "visual_input": None}],
)
def test_what_is_no_target_is_refused(target: Any) -> None:
    metric = HallusionBenchMetric(rule="strict")
    for count in (lambda: metric.rows(["yes"], [target]), lambda: metric.failed_rows([target])):
        with pytest.raises(ValueError, match=r"must be one of|a target of HallusionBench has"):
            count()


def test_prompt_files(tmp_path: Any) -> None:
    path = tmp_path / "official.txt"
    path.write_text("[system]\nBe fair.\n[user]\n{question}|{reference}|{answer} {'a': 1}\n")
    metric = HallusionBenchMetric(judge_prompt=str(path))
    (request,) = metric.requests("{reference}", TARGETS[0])
    assert request.messages == (
        ("system", "Be fair."),
        ("user", "Is it so 0?|It is.|{reference} {'a': 1}"),
    )
    assert metric.variant.startswith("judge, prompt official.txt (")
    path.write_text("{question}")
    with pytest.raises(ConfigError, match=r"no place for \{reference\}, \{answer\}"):
        HallusionBenchMetric(judge_prompt=str(path))
    with pytest.raises(ConfigError, match="no such file"):
        load_prompt("lvlmsal-9", "", ())
