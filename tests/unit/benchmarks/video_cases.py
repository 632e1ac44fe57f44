"""Cases for the conformance tests: HallusionBench, video QA and Video-ChatGPT's five scores."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvlmsal.benchmarks.hallusionbench.metric import HallusionBenchMetric
from lvlmsal.benchmarks.video_chatgpt.metric import ASPECTS, VideoChatGptMetric
from lvlmsal.benchmarks.video_qa.metric import VideoQaMetric
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judged import JudgedMetric

Samples = list[tuple[str, Any]]


def asked(
    place: str, question: int, gold: int, visual: int = 1, category: str = "VD"
) -> dict[str, Any]:
    """A target: `place` is subcategory, set and figure."""
    subcategory, set_id, figure_id = place.split("_")
    return {
        "category": category,
        "subcategory": subcategory,
        "set_id": set_id,
        "figure_id": figure_id,
        "question_id": str(question),
        "visual_input": visual,
        "question": f"Is it so {question}?",
        "gt_answer": gold,
        "gt_answer_details": "It is." if gold else "It is not.",
    }


# one set of VD with two figures, one of VS that begins without an image
HALLUSION: Samples = [
    ("Yes.", asked("ocr_0_0", 0, 1)),
    ("No", asked("ocr_0_0", 1, 1)),
    ("no, it is not", asked("ocr_0_1", 0, 0, visual=2)),
    ("Yesterday", asked("ocr_0_1", 1, 0, visual=2)),
    ("I cannot tell.", asked("map_3_0", 0, 1, visual=0, category="VS")),
    ("yes", asked("map_3_1", 0, 1, visual=1, category="VS")),
    ("I do not know.", asked("map_3_2", 0, 0, visual=2, category="VS")),
    ("Yes or no?", asked("ocr_0_0", 0, 1, category="VS")),
]
VERDICTS = [1, 0, 1, 0, 2, 1, 2, 2]


def ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def hallusion_reference(
    right: Sequence[bool], targets: Sequence[Any], *, bare: bool
) -> dict[str, float]:
    """The figures from right and wrong alone, group by group in plain Python."""

    def groups(keys: list[str], keep: Callable[[Any], bool]) -> list[list[bool]]:
        found: dict[tuple[str, ...], list[bool]] = {}
        for ok, t in zip(right, targets, strict=True):
            if keep(t):
                found.setdefault(tuple(t[key] for key in keys), []).append(ok)
        return list(found.values())

    def all_right(units: list[list[bool]]) -> float:
        return ratio(sum(map(all, units)), len(units))

    base = ["category", "subcategory", "set_id"]
    figures = groups(
        [*base, "figure_id"],
        lambda t: bare or not (t["category"] == "VS" and t["figure_id"] == "0"),
    )
    pair = [*base, "question_id"]
    said = [
        t["gt_answer"] if ok else 1 - t["gt_answer"] for ok, t in zip(right, targets, strict=True)
    ]
    wrong = [t["gt_answer"] for ok, t in zip(right, targets, strict=True) if not ok]
    return {
        "aacc": sum(right) / len(right),
        "qacc": all_right(groups(pair, lambda t: True)),
        "facc": all_right(figures),
        "easy_group_acc": all_right(groups(pair, lambda t: t["visual_input"] < 2)),
        "hard_group_acc": all_right(groups(pair, lambda t: t["visual_input"] == 2)),
        "figure_score": ratio(sum(sum(f) / len(f) for f in figures), len(figures)),
        "all_wrong": ratio(sum(not any(f) for f in figures), len(figures)),
        "inconsistent": ratio(sum(any(f) and not all(f) for f in figures), len(figures)),
        "yes_difference": (sum(said) - sum(t["gt_answer"] for t in targets)) / len(said),
        "fp_ratio": ratio(wrong.count(0), len(wrong)),
        "n": len(right),
    }


def judged_reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    verdicts = [VERDICTS[[a for a, _ in HALLUSION].index(answer)] for answer in answers]
    right = [
        v == 1 or (v == 2 and t["category"] == "VS" and t["figure_id"] == "0")
        for v, t in zip(verdicts, targets, strict=True)
    ]
    return {
        **hallusion_reference(right, targets, bare=False),
        "unclear": verdicts.count(2),
        "unjudged": 0,
    }


def judged_hallusion() -> CountMetric:
    metric = HallusionBenchMetric()
    words = ("This is incorrect.", "Correct", "unclear")
    given = [words[verdict] for verdict in VERDICTS]
    return with_replies(metric, HALLUSION, lambda place: given[place])


def with_replies(
    metric: JudgedMetric, samples: Samples, reply: Callable[[int], str]
) -> CountMetric:
    """The metric with one reply to each sample's first request."""
    found: dict[str, str] = {}
    for place, sample in enumerate(samples):
        for request in metric.requests(*sample):
            found[request.key] = reply(place)
    metric.replies = found
    return metric


VIDEO: Samples = [
    ("He runs.", {"question": "what is he doing", "answer": "running"}),
    ("a cat", {"question": "who sits there", "answer": "dog"}),
    ("two", {"question": "how many", "answer": "2"}),
    ("left", {"question": "where", "answer": "right"}),
    ("", {"question": "why", "answer": "because"}),
]
VIDEO_REPLIES = [
    "{'pred': 'yes', 'score': 4.8}",
    "{'pred': 'no', 'score': 1}",
    "{'pred': 'No, yes.', 'score': '3'}",
    "{'pred': 'maybe', 'score': 2}",
    "I would say no.",
]


def video_metric() -> CountMetric:
    return with_replies(VideoQaMetric(attempts=1), VIDEO, lambda place: VIDEO_REPLIES[place])


def video_reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    yes = no = total = judged = 0
    for answer in answers:
        reply = VIDEO_REPLIES[[a for a, _ in VIDEO].index(answer)]
        if not reply.startswith("{"):
            continue
        content = ast.literal_eval(reply)
        judged += 1
        total += int(content["score"])
        if "yes" in content["pred"].lower():
            yes += 1
        elif "no" in content["pred"].lower():
            no += 1
    return {
        "accuracy": ratio(yes, yes + no),
        "score": ratio(total, judged),
        "neither": judged - yes - no,
        "unjudged": len(answers) - judged,
        "n": len(answers),
    }


def pair(name: str, part: int) -> dict[str, Any]:
    texts = ["What happens?", "What is going on?"]
    target = {"aspects": ["consistency"], "answer": "A fall.", "pair": name, "part": part}
    return {**target, "question": texts[part - 1], "question2": texts[1]}


GENERIC = {"aspects": ["correctness", "detail", "context"], "question": "What?", "answer": "This."}
FIVE: Samples = [
    ("this", GENERIC),
    ("that", {**GENERIC, "question": "And then?"}),
    ("first this", {"aspects": ["temporal"], "question": "When?", "answer": "At first."}),
    ("he falls", pair("v_a_0", 1)),
    ("a fall", pair("v_a_0", 2)),
    ("he rises", pair("v_a_1", 2)),
]
FIVE_SCORES = {
    ("this", "correctness"): 3.9,
    ("this", "detail"): 1,
    ("this", "context"): 5,
    ("that", "correctness"): 2,
    ("that", "detail"): 0,
    ("first this", "temporal"): 4,
    ("he falls", "consistency"): 2,
}


def five_metric() -> CountMetric:
    metric = VideoChatGptMetric()
    answers = [answer for answer, _ in FIVE]
    found = {}
    for (answer, aspect), score in FIVE_SCORES.items():
        chosen = [
            (a, {**t, "aspects": [aspect]})
            for a, t in FIVE
            if (a == answer or t.get("pair") == "v_a_0") and aspect in t["aspects"]
        ]
        (request,) = metric.set_requests([a for a, _ in chosen], [t for _, t in chosen])
        found[request.key] = str({"score": score})
    assert len(answers) == len(set(answers))
    metric.replies = found
    return metric


def five_reference(answers: Sequence[str], targets: Sequence[Any]) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    n = judged = 0
    for aspect in ASPECTS:
        scores = []
        for answer, target in zip(answers, targets, strict=True):
            if aspect not in target["aspects"] or target.get("part") == 2:
                continue
            n += 1
            if aspect == "consistency" and "a fall" not in answers:
                scores.append(0)  # the second answer failed
            elif (answer, aspect) in FIVE_SCORES:
                scores.append(int(FIVE_SCORES[answer, aspect]))
        judged += len(scores)
        figures[aspect] = ratio(sum(scores), len(scores))
    mean = sum(figures.values()) / len(ASPECTS)
    return {**figures, "mean": mean, "unjudged": n - judged, "n": n}


CASES: dict[str, tuple[Callable[[], CountMetric], Samples, Callable[..., Any]]] = {
    "hallusionbench": (judged_hallusion, HALLUSION, judged_reference),
    "video-qa": (video_metric, VIDEO, video_reference),
    "video-chatgpt": (five_metric, FIVE, five_reference),
}
