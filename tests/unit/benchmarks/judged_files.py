"""Files of LLaVA-Bench and MM-Vet in their official layouts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LLAVA_QUESTIONS: list[dict[str, Any]] = [
    {"question_id": 0, "image": "001.jpg", "category": "conv", "text": "What is this?"},
    {"question_id": 1, "image": "002.jpg", "category": "detail", "text": "Describe it."},
    {"question_id": 2, "image": "002.jpg", "category": "complex", "text": "Why?"},
]
CONTEXT: list[dict[str, Any]] = [
    {"id": "001", "image": "001.jpg", "caption": ["A bus.", "It is red — très rouge."]},
    {"id": "002", "image": "002.jpg", "caption": "One text."},
]
MM_VET_QUESTIONS: dict[str, dict[str, Any]] = {
    "v1_0": {
        "imagename": "v1_0.png",
        "question": "What is x?",
        "answer": "-1<AND>-5",
        "imagesource": "here",
        "capability": ["ocr", "math"],
    },
    "v1_1": {
        "imagename": "v1_1.png",
        "question": "Where is it?",
        "answer": "left<OR>beside",
        "capability": "rec,spat",
    },
    "v1_2": {
        "imagename": "v1_1.png",
        "question": "What is it?",
        "answer": "a cup",
        "capability": ["rec"],
    },
}


def lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_llava_bench(root: Path) -> Path:
    """A root; the reference answers stand in another order than the questions."""
    (root / "images").mkdir(parents=True)
    (root / "questions.jsonl").write_text(lines(LLAVA_QUESTIONS))
    (root / "context.jsonl").write_text(lines(CONTEXT))
    answers = [{"question_id": n, "text": f"reference {n}"} for n in (2, 0, 1)]
    (root / "answers_gpt4.jsonl").write_text(lines(answers))
    for name in ("001.jpg", "002.jpg"):
        (root / "images" / name).write_bytes(b"")
    return root


def write_mm_vet(root: Path) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "mm-vet.json").write_text(json.dumps(MM_VET_QUESTIONS))
    for name in ("v1_0.png", "v1_1.png"):
        (root / "images" / name).write_bytes(b"")
    return root
