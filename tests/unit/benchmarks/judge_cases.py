"""Cases for the conformance tests: LLaVA-Bench and MM-Vet, with a judge that is a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev
from typing import Any

from lvlmsal.benchmarks.llava_bench.metric import LlavaBenchMetric
from lvlmsal.benchmarks.mm_vet.metric import MmVetMetric
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judged import JudgedMetric

Samples = list[tuple[str, Any]]


def wild(category: str, review: str | None) -> tuple[str, Any]:
    """An answer that the judge reviews with these words; None is not reviewed."""
    target = {
        "question": "What is this?",
        "context": "A red bus.\nIt rains.",
        "reference": "A bus.",
        "category": category,
    }
    return f"answer to be called {review}", target


LLAVA: Samples = [
    wild("conv", "8 6\nBecause."),
    wild("detail", "7,7"),
    wild("conv", "7, 6"),
    wild("complex", "9 9.5"),
    wild("complex", None),
    wild("detail", "8/10 7/10"),
    wild("detail", "6.1 7.3"),
    wild("conv", "70 80"),
]


def judged(metric: JudgedMetric, samples: Samples, texts: Callable[[str, Any], list[str]]) -> None:
    """Give a metric a judge's replies: one list for each answer, used up attempt by attempt."""
    replies: dict[str, str] = {}
    metric.replies = replies
    for answer, target in samples:
        left = texts(answer, target)
        while (requests := metric.requests(answer, target)) and left:
            replies[requests[0].key] = left.pop(0)


def said(answer: str) -> str | None:
    """What `wild` has put into an answer."""
    text = answer.removeprefix("answer to be called ")
    return None if text == "None" else text


def llava_bench() -> CountMetric:
    metric = LlavaBenchMetric()
    judged(metric, LLAVA, lambda answer, target: [t for t in [said(answer)] if t is not None])
    return metric


def llava_reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    """Pairs put down by hand; the official figure as its script computes it, with numpy's mean."""
    pairs = {
        "8 6\nBecause.": (8.0, 6.0),
        "7,7": (7.0, 7.0),
        "7, 6": None,
        "9 9.5": (9.0, 9.5),
        "8/10 7/10": None,
        "6.1 7.3": (6.1, 7.3),
        "70 80": (70.0, 80.0),
    }
    reviewed = [
        (target["category"], pairs[text])
        for answer, target in zip(answers, targets, strict=True)
        if (text := said(answer)) is not None
    ]
    good = [(name, p) for name, p in reviewed if p is not None and max(p) <= 10]
    figures: dict[str, float] = {
        "failed": len(reviewed) - len(good),
        "unjudged": len(answers) - len(reviewed),
        "n": len(answers),
        "reference": fmean(p[0] for _, p in good) if good else math.nan,
        "answer": fmean(p[1] for _, p in good) if good else math.nan,
    }
    for name in ("", "conv", "detail", "complex"):
        mine = [p for category, p in good if name in ("", category)]
        every = [p or (-1.0, -1.0) for category, p in reviewed if name in ("", category)]
        end = f"_{name}" if name else ""
        above, below = sum(p[1] for p in mine), sum(p[0] for p in mine)
        figures[f"ratio{end}"] = above / below if mine else math.nan
        means = [round(fmean(column), 3) for column in zip(*every, strict=True)]
        figures[f"official{end}"] = round(means[1] / means[0] * 100, 1) if every else math.nan
        for column, place in (("official_reference", 0), ("official_answer", 1)):
            figures[column + end] = round(means[place] * 10, 1) if every else math.nan
    return figures


def vet(capability: list[str], *replies: str) -> tuple[str, Any]:
    """An answer with the replies of the judge to all its attempts, run after run."""
    target = {"question": "How many?", "answer": "3<AND>4", "capability": capability}
    return f"answer {'/'.join(replies)}", target


# replies of two runs in the order in which they are asked for
MM_VET: Samples = [
    vet(["rec"], "1.0", "0.8"),
    vet(["rec", "ocr"], "0.1 (low)", "0.3"),
    vet(["ocr", "spat", "math"], "good", "1.5", "0.7", "0.2"),
    vet(["know", "math"], "a", "b", "c", "d", "nan", "1"),
    vet(["rec", "gen", "know"], "0.9"),
    vet(["rec"], "0.4", "", " 0.5", "-1", "0.6"),
]
GRADES: dict[str, list[float | None] | None] = {
    "answer 1.0/0.8": [1.0, 0.8],
    "answer 0.1 (low)/0.3": [0.1, 0.3],
    "answer good/1.5/0.7/0.2": [0.7, 0.2],
    "answer a/b/c/d/nan/1": [None, 1.0],
    "answer 0.9": None,
    "answer 0.4// 0.5/-1/0.6": [0.4, 0.6],
}


def mm_vet() -> CountMetric:
    metric = MmVetMetric(judge_runs=2)
    judged(metric, MM_VET, lambda answer, target: answer.removeprefix("answer ").split("/"))
    return metric


def mm_vet_reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    """Means of means over the runs, as the official script takes them."""
    graded = [
        (set(target["capability"]), grades)
        for answer, target in zip(answers, targets, strict=True)
        if (grades := GRADES[answer]) is not None
    ]
    figures: dict[str, float] = {
        "n": len(answers),
        "unjudged": len(answers) - len(graded),
        "given_up": sum(grade is None for _, grades in graded for grade in grades),
    }

    def mean(some: list[list[float | None]]) -> float:
        return fmean(fmean(g[run] or 0.0 for g in some) for run in (0, 1)) if some else math.nan

    every = [grades for _, grades in graded]
    figures["total"] = mean(every)
    totals = [fmean(g[run] or 0.0 for g in every) for run in (0, 1)] if every else []
    figures["total_std"] = pstdev(totals) if totals else math.nan
    real = [grade for grades in every for grade in grades if grade is not None]
    figures["total_graded"] = fmean(real) if real else math.nan
    for name in ("rec", "ocr", "know", "gen", "spat", "math"):
        figures[name] = mean([grades for needed, grades in graded if name in needed])
    sets: dict[str, set[str]] = {
        "set_rec": {"rec"},
        "set_rec_ocr": {"rec", "ocr"},
        "set_ocr_spat_math": {"ocr", "spat", "math"},
        "set_rec_know_gen": {"rec", "know", "gen"},
        "set_other": {"know", "math"},
        "set_ocr": {"ocr"},
    }
    for name, exactly in sets.items():
        figures[name] = mean([grades for needed, grades in graded if needed == exactly])
    return figures


CASES: dict[str, tuple[Callable[[], CountMetric], Samples, Callable[..., Any]]] = {
    "llava-bench": (llava_bench, LLAVA, llava_reference),
    "mm-vet": (mm_vet, MM_VET, mm_vet_reference),
}
