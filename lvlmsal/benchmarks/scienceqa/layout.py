"""ScienceQA's problems and splits, made of rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lvlmsal.readers.hub import Folder, HubRow


def write_scienceqa(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """ScienceQA: problems and splits.

    The hub's rows have no ids of problems, which are then called ``row-12``; answer files with the
    official ids do not belong to them.
    """
    problems: dict[str, dict[str, Any]] = {}
    for row in rows:
        given = next((name for name in ("pid", "question_id", "id") if name in row.data), "")
        pid = row.text(given) if given else f"row-{row.number}"
        if pid in problems:
            raise row.error(f"the id {pid!r} comes twice")
        image = row.image()
        if image is not None:
            folder.image(row, f"images/{split}/{pid}/image.png", image)
        answer = row.value("answer")
        problems[pid] = {
            "question": row.text("question"),
            "choices": [str(choice) for choice in row.value("choices")],
            "answer": answer if isinstance(answer, int) else int(row.text("answer")),
            "image": None if image is None else "image.png",
            "split": split,
            **{
                key: row.optional(key)
                for key in (
                    *("hint", "task", "grade", "subject", "topic"),
                    *("category", "skill", "lecture", "solution"),
                )
            },
        }
        folder.samples += 1
    folder.json("problems.json", problems)
    folder.json("pid_splits.json", {split: list(problems)})
