"""LLaVA-Bench's files, made of rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from lvlmsal.readers.hub import Folder, HubRow, with_suffix
from lvlmsal.readers.rows import normal_id


def write_llava_bench(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """LLaVA-Bench (in the wild): questions, contexts and reference answers by line."""
    questions, references = [], []
    contexts: dict[str, Any] = {}
    for row in rows:
        image = row.needed_image()
        given = row.optional("image_id") or image.name or f"row-{row.number}"
        name = with_suffix(PurePosixPath(given).name, image.suffix())
        folder.image(row, f"images/{name}", image)
        caption = row.value("caption")
        if contexts.setdefault(name, caption) != caption:
            raise row.error(f"the image {name!r} has another caption in an earlier row")
        key = normal_id(row.text("question_id"))
        category = row.text("category").removeprefix("llava_bench_")
        questions.append(
            {
                "question_id": key,
                "image": name,
                "category": category,
                "text": row.text("question"),
            }
        )
        references.append({"question_id": key, "text": row.text("gpt_answer")})
        folder.samples += 1
    folder.json_lines("questions.jsonl", questions)
    folder.json_lines("context.jsonl", ({"image": k, "caption": v} for k, v in contexts.items()))
    folder.json_lines("answers_gpt4.jsonl", references)
