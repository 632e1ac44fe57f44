"""Samples and slow, plain references of MME and AMBER, for the conformance checks."""

from __future__ import annotations

import functools
import json
import math
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lvlmsal.benchmarks.amber.metric import AmberDiscriminativeMetric, AmberGenerativeMetric
from lvlmsal.benchmarks.mme.metric import MmeMetric
from lvlmsal.metrics.base import CountMetric

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

RELATION = {
    "man": ["person", "boy"],
    "person": ["people", "man", "woman"],
    "dog": ["puppy"],
    "cat": [],
    "tree": ["forest", "leave"],
    "TV": ["screen"],
    "can": [],
}


@functools.cache
def relation_file() -> str:
    path = Path(tempfile.mkdtemp()) / "relation.json"
    path.write_text(json.dumps(RELATION))
    (path.parent / "safe_words.txt").write_text("screen\nforest")
    return str(path)


def amber_words() -> CountMetric:
    path = relation_file()
    safe = str(Path(path).with_name("safe_words.txt"))
    return AmberGenerativeMetric(relation=path, safe_words=safe, variant="words")


def amber_generative_reference(answers: Sequence[str], targets: Sequence[Any]) -> dict[str, float]:
    singular = {"men": "man", "dogs": "dog", "cats": "cat", "tv": "TV", "puppies": "puppy"}
    kept = {*RELATION, *(word for words in RELATION.values() for word in words)} - {"can"}
    mentions = wrong = covered = truth = marked = hallu = hal = 0
    for answer, target in zip(answers, targets, strict=True):
        words = [singular.get(w, w) for w in re.findall(r"\w+", answer.lower())]
        words = [word for word in words if word in kept]
        # what a word stands for: the first entry of the list of lists below that holds it
        sides = []
        for key in ("truth", "hallu"):
            stands: dict[str, int] = {}
            for place, word in enumerate(target[key]):
                for other in RELATION[word]:
                    stands.setdefault(other, place)
            for place, word in enumerate(target[key]):
                stands.setdefault(word, place)
            sides.append(stands)
        hits: tuple[set[int], set[int]] = (set(), set())
        bad = 0
        for word in words:
            if word in ("screen", "forest"):
                continue
            for stands, hit in zip(sides, hits, strict=True):
                if word in stands:
                    hit.add(stands[word])
                    break
            bad += word not in sides[0]
        mentions, wrong, hal = mentions + len(words), wrong + bad, hal + (bad > 0)
        covered, truth = covered + len(hits[0]), truth + len(target["truth"])
        marked, hallu = marked + len(hits[1]), hallu + len(target["hallu"])
    n = len(answers)
    return {
        "chair": wrong / mentions if mentions else math.nan,
        "cover": covered / truth if truth else math.nan,
        "hal": hal / n,
        "cog": marked / hallu if hallu else math.nan,
        "official/chair": round(wrong / (mentions + 0.001) * 100, 1),
        "official/cover": round(covered / (truth + 0.001) * 100, 1),
        "official/hal": round(100 - (n - hal) / (n + 0.001) * 100, 1),
        "official/cog": round(marked / (hallu + 0.001) * 100, 1),
        "n_responses": n,
        "n_mentions": mentions,
        "n_hallucinated": wrong,
    }


AMBER_DESCRIPTIONS: list[tuple[str, Any]] = [
    ("A man walks two dogs.", {"truth": ["man", "person"], "hallu": ["dog"]}),
    ("", {"truth": ["cat"], "hallu": []}),
    ("Puppies, cats and a TV screen in the forest", {"truth": ["TV", "cat"], "hallu": ["dog"]}),
    ("A woman! A WOMAN and men; people.", {"truth": ["person", "person"], "hallu": ["cat", "man"]}),
    ("nothing that is listed", {"truth": [], "hallu": ["tree"]}),
    ("boy boy boy", {"truth": ["tree"], "hallu": ["man", "person"]}),
]


def amber_target(dimension: str, label: str) -> dict[str, str]:
    return {"dimension": dimension, "label": label}


AMBER_ANSWERS: list[tuple[str, Any]] = [
    ("No", amber_target("existence", "no")),
    ("Yes", amber_target("existence", "no")),
    ("No", amber_target("state", "yes")),
    ("Yes", amber_target("relation", "yes")),
    ("no", amber_target("state", "no")),
    ("No.", amber_target("number", "no")),
    ("Yes", amber_target("number", "yes")),
    ("No", amber_target("action", "no")),
    ("", amber_target("relation", "no")),
    ("No", amber_target("relation", "no")),
    (" Yes", amber_target("state", "yes")),
]


def amber_discriminative_reference(
    answers: Sequence[str], targets: Sequence[Any]
) -> dict[str, float]:
    pairs = [(a, t["dimension"], t["label"]) for a, t in zip(answers, targets, strict=True)]
    names = {
        "": ["existence", "state", "number", "action", "relation"],
        "attribute": ["state", "number", "action"],
        **{name: [name] for name in ("existence", "state", "number", "action", "relation")},
    }
    found: dict[str, float] = {
        "n": len(pairs),
        "unparsed": sum(a not in ("Yes", "No") for a in answers),
    }
    for name, dimensions in names.items():
        mine = [(a, label) for a, dimension, label in pairs if dimension in dimensions]
        right = sum(a.lower() == label and a in ("Yes", "No") for a, label in mine)
        both = mine.count(("No", "no"))
        said = sum(a == "No" for a, _ in mine)
        gold = sum(label == "no" for _, label in mine)
        ratios = {
            "accuracy": (right, len(mine)),
            "precision": (both, said),
            "recall": (both, gold),
            "f1": (2 * both, said + gold),
        }
        small = 0.003 if name == "attribute" else 0.001
        shown = {key: round(a / (b + small) * 100, 1) for key, (a, b) in ratios.items()}
        p, r = shown["precision"] / 100, shown["recall"] / 100
        end = 0.001 if name == "existence" else 0.0001
        shown["f1"] = round(2 * p * r / (p + r + end) * 100, 1)
        for key, (above, below) in ratios.items():
            figure = f"{key}/{name}" if name else key
            if not name or key in ("accuracy", "f1"):
                found[figure] = above / below if below else math.nan
            if not name or key == "f1":
                found[f"official/{figure}"] = shown[key] if mine else math.nan
    return found


Case = tuple[Callable[[], CountMetric], list[tuple[str, Any]], Callable[..., Any]]
CASES: dict[str, Case] = {
    "mme": (MmeMetric, MME_SAMPLES, mme_reference),
    "amber-generative": (amber_words, AMBER_DESCRIPTIONS, amber_generative_reference),
    "amber-discriminative": (
        AmberDiscriminativeMetric,
        AMBER_ANSWERS,
        amber_discriminative_reference,
    ),
}
