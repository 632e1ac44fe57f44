"""A judge of whom nothing could be read gives no score; one who was read in part is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from lvlmsal.benchmarks.hallusionbench.metric import HallusionBenchMetric
from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
from lvlmsal.benchmarks.mm_vet.metric import MmVetMetric
from lvlmsal.benchmarks.video_chatgpt.metric import VideoChatGptMetric
from lvlmsal.benchmarks.video_qa.metric import VideoQaMetric
from lvlmsal.metrics.judged import TALLIES, JudgedMetric

Case = tuple[Callable[[], JudgedMetric], list[Any], str]

WILD = [
    {"question": f"{n}?", "context": "c", "reference": "r", "category": "conv"} for n in range(3)
]
VET = [{"question": f"{n}?", "answer": "a", "capability": ["rec"]} for n in range(3)]
VIDEO = [{"question": f"{n}?", "answer": "a"} for n in range(3)]
CHAT = [{**target, "aspects": ["correctness"]} for target in VIDEO]
HALLUSION = [
    {
        "category": "VD",
        "subcategory": "math",
        "set_id": "0",
        "figure_id": "1",
        "question_id": str(n),
        "visual_input": 2,
        "gt_answer": 1,
        "question": f"{n}?",
        "gt_answer_details": "yes",
    }
    for n in range(3)
]
CASES: dict[str, Case] = {
    "llava-bench": (LlavaBenchMetric, WILD, "8 6"),
    "llava-bench lmms-eval": (lambda: LlavaBenchMetric(reading="lmms-eval"), WILD, "8 6"),
    "mm-vet": (MmVetMetric, VET, "0.5"),
    "mm-vet twice": (lambda: MmVetMetric(judge_runs=2), VET, "0.5"),
    "video-qa": (VideoQaMetric, VIDEO, "{'pred': 'yes', 'score': 4}"),
    "video-qa lmms-eval": (
        lambda: VideoQaMetric(rule="lmms-eval"),
        VIDEO,
        "{'pred':'yes','score':4}",
    ),
    "video-chatgpt lmms-eval": (lambda: VideoChatGptMetric(rule="lmms-eval"), CHAT, "{'score': 4}"),
    "hallusionbench": (HallusionBenchMetric, HALLUSION, "correct"),
}


def judged(case: str, replies: Sequence[str]) -> tuple[JudgedMetric, torch.Tensor]:
    """The metric of a case after these replies, one an answer, and its rows."""
    make, targets, _ = CASES[case]
    metric, said = make(), {}
    answers = [f"answer {n}" for n in range(3)]
    for answer, target, reply in zip(answers, targets, replies, strict=True):
        metric.replies = said
        while requests := metric.requests(answer, target):
            said.update({request.key: reply for request in requests})
    metric.replies = said
    return metric, metric.rows(answers, targets)


def scores(metric: JudgedMetric, rows: torch.Tensor) -> dict[str, float]:
    return {k: v.item() for k, v in metric.figures(rows.sum(0)).items() if k not in TALLIES}


@pytest.mark.parametrize("case", CASES)
def test_nothing_read_is_no_score(case: str) -> None:
    metric, rows = judged(case, ["I will not say."] * 3)
    assert all(math.isnan(value) for value in scores(metric, rows).values())
    (text,) = metric.unread(rows)
    assert text.startswith("0 of ")
    assert text.endswith("so there is no score")
    # nor does a sample that failed make one: what it adds is no judgment of the others
    failed = metric.failed_rows(CASES[case][1][:1])
    assert all(math.isnan(value) for value in scores(metric, torch.cat([rows, failed])).values())


@pytest.mark.parametrize("case", CASES)
def test_what_was_read_in_part_is_counted(case: str) -> None:
    good = CASES[case][2]
    metric, rows = judged(case, [good, "I will not say.", good])
    runs = 2 if case == "mm-vet twice" else 1
    assert metric.heard_of(rows) == (2 * runs, 3 * runs)
    assert metric.unread(rows) == [f"{2 * runs} of {3 * runs} replies of the judge could be read"]
    assert any(not math.isnan(value) for value in scores(metric, rows).values())
    metric, rows = judged(case, [good] * 3)
    assert metric.unread(rows) == []


def test_the_official_100_of_nothing_is_gone() -> None:
    metric, rows = judged("llava-bench", ["I will not say."] * 3)
    figures = metric.figures(rows.sum(0))
    assert math.isnan(figures["official"])
    assert (figures["failed"], figures["n"]) == (3, 3)
    # with one that was read, the script's own value: (8, 6), (-1, -1), (-1, -1)
    metric, rows = judged("llava-bench", ["8 6", "no", "no"])
    script = round(round(4 / 3, 3) / round(6 / 3, 3) * 100, 1)
    assert metric.figures(rows.sum(0))["official"] == script
