"""MME's folders, made of rows of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from lvlmsal.benchmarks.mme.files import RELEASE
from lvlmsal.readers.hub import Folder, HubRow, with_suffix


def write_mme(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """MME: image and text file side by side in the folder of their task."""
    asked: dict[str, list[tuple[HubRow, str]]] = {}
    for row in rows:
        task, name = row.text("category"), PurePosixPath(row.text("question_id")).name
        image = row.needed_image()
        name = folder.image(row, f"{RELEASE}/{task}/{with_suffix(name, image.suffix())}", image)
        question, answer = row.text("question"), row.text("answer")
        if {"\t", "\n"} & set(question):
            raise row.error("the question holds a tab or a line break, which separates columns")
        asked.setdefault(str(PurePosixPath(name).with_suffix(".txt")), []).append(
            (row, f"{question}\t{answer}\n")
        )
        folder.samples += 1
    for name, lines in asked.items():
        if len(lines) != 2:
            row = lines[-1][0]
            raise row.error(f"each image has two questions; {name} would have {len(lines)}")
        folder.text(name, "".join(line for _, line in lines))
