"""Samples and slow, plain references of MME and AMBER, for the conformance checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lvlmsal.metrics import CountMetric, Mme

TASKS = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
    *("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"),
)


def mme_target(task: str, image: str, question: int, label: str) -> dict[str, Any]:
    return {"task": task, "image": image, "question": question, "label": label}


def mme_reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    def said(text: str) -> str:
        start = text.lower()[:4]
        return "yes" if "yes" in start else "no" if "no" in start else "other"

    verdicts = [said(answer) for answer in answers]
    figures: dict[str, float] = {}
    for task in TASKS:
        images: dict[str, list[bool]] = {}
        for verdict, target in zip(verdicts, targets, strict=True):
            if target["task"] == task:
                images.setdefault(target["image"], []).append(verdict == target["label"])
        answered = [right for pair in images.values() for right in pair]
        pairs = sum(len(pair) == 2 and all(pair) for pair in images.values())
        figures[f"score/{task}"] = (
            100 * sum(answered) / len(answered) + 100 * pairs / (len(answered) / 2)
            if answered
            else math.nan
        )
    there = [score for score in figures.values() if not math.isnan(score)]
    right = [v == t["label"] for v, t in zip(verdicts, targets, strict=True)]
    return {
        **figures,
        "perception": sum(figures[f"score/{task}"] for task in TASKS[:10]),
        "cognition": sum(figures[f"score/{task}"] for task in TASKS[10:]),
        "task_mean": sum(there) / len(there),
        "accuracy": sum(right) / len(right),
        "unparsed": verdicts.count("other"),
        "n": len(verdicts),
    }


MME_SAMPLES: list[tuple[str, Any]] = [
    ("Yes", mme_target("OCR", "1.png", 1, "yes")),
    ("I don't know", mme_target("count", "1.png", 1, "no")),
    ("**No**", mme_target("OCR", "1.png", 2, "no")),
    ("No, it is not.", mme_target("count", "1.png", 2, "no")),
    ("nothing", mme_target("count", "2.png", 2, "yes")),
    ("  yes", mme_target("count", "2.png", 1, "yes")),
    ("yes no", mme_target("code_reasoning", "a.png", 1, "yes")),
    ("no yes", mme_target("code_reasoning", "a.png", 2, "no")),
    *[
        (answer, mme_target(task, f"{image}.jpg", question, ("yes", "no")[question - 1]))
        for task in TASKS
        for image, answers in enumerate([("yes", "no"), ("yes", "yes"), ("", "now")], start=7)
        for question, answer in enumerate(answers, start=1)
    ],
]

Case = tuple[Callable[[], CountMetric], list[tuple[str, Any]], Callable[..., Any]]
CASES: dict[str, Case] = {"mme": (Mme, MME_SAMPLES, mme_reference)}
