"""The files of official releases, made of the rows of the hub's data sets.

The columns are those of the copies that lmms-eval reads, whoever owns them. What a data set does
not say is not made up: problems and images without a name are called after their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from lvlmsal.errors import DataError
from lvlmsal.readers.hub import Folder, HubRow, Layout
from lvlmsal.readers.rows import normal_id

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_RELEASE = "MME_Benchmark_release_version"


def _with_suffix(name: str, suffix: str) -> str:
    return name if PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES else name + suffix


def pope(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """POPE: a question file for each category.

    Ids restart in each category and are texts on the hub; `image_source` has no suffix there.
    """
    questions: dict[str, list[dict[str, Any]]] = {}
    seen: set[tuple[str, object]] = set()
    for row in rows:
        name = _with_suffix(row.text("image_source"), ".jpg")
        place = "val2014" if name.startswith("COCO_val2014_") else "images"
        folder.image(row, f"{place}/{name}")
        category = row.optional("category").lower() or split
        number = normal_id(row.text("question_id", "id"))
        if (category, number) in seen:
            raise row.error(f"question_id {number} comes twice in the category {category!r}")
        seen.add((category, number))
        label = row.text("answer").strip().lower()
        if label not in ("yes", "no"):
            raise row.error(f"the answer must be yes or no, got {label!r}")
        questions.setdefault(category, []).append(
            {"question_id": number, "image": name, "text": row.text("question"), "label": label}
        )
        folder.samples += 1
    places = {PurePosixPath(name).parts[0] for name in folder.images}
    if len(places) > 1:
        raise DataError("some images are of COCO val2014 and some are not")
    prefix = "coco" if places == {"val2014"} else "hub"
    for category, lines in questions.items():
        folder.json_lines(f"pope/{prefix}_pope_{category}.json", lines)


def mme(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """MME: image and text file side by side in the folder of their task."""
    asked: dict[str, list[tuple[HubRow, str]]] = {}
    for row in rows:
        task, name = row.text("category"), PurePosixPath(row.text("question_id")).name
        image = row.image()
        if image is None:
            raise row.error("has no image")
        name = folder.image(row, f"{_RELEASE}/{task}/{_with_suffix(name, image.suffix())}", image)
        question, answer = row.text("question"), row.text("answer")
        if {"\t", "\n"} & set(question):
            raise row.error("the question holds a tab or a line break, which parts columns")
        asked.setdefault(str(PurePosixPath(name).with_suffix(".txt")), []).append(
            (row, f"{question}\t{answer}\n")
        )
        folder.samples += 1
    for name, lines in asked.items():
        if len(lines) != 2:
            row = lines[-1][0]
            raise row.error(f"each image has two questions; {name} would have {len(lines)}")
        folder.text(name, "".join(line for _, line in lines))


def vizwiz(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """VizWiz VQA: an annotation file.

    The hub has the texts of the answers alone, so ``answer_confidence`` is ``unknown``, and a
    question is answerable unless its category says otherwise.
    """
    entries = []
    for row in rows:
        name = _with_suffix(row.text("question_id"), ".jpg")
        if f"{split}/{name}" in folder.images:
            raise row.error(f"question_id {name!r} comes twice; it is the name of the image")
        folder.image(row, f"{split}/{name}")
        entry: dict[str, Any] = {"image": name, "question": row.text("question")}
        answers = row.data.get("answers") or []
        if answers:
            kind = row.text("category").lower()
            entry["answers"] = [
                {"answer": str(answer), "answer_confidence": "unknown"} for answer in answers
            ]
            entry |= {"answer_type": kind, "answerable": int(kind != "unanswerable")}
        entries.append(entry)
        folder.samples += 1
    folder.json(f"Annotations/{split}.json", entries)


def scienceqa(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
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


def mm_vet(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """MM-Vet: ``mm-vet.json``; the hub's capabilities are one text with commas."""
    entries: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = row.text("question_id")
        if key in entries:
            raise row.error(f"question_id {key!r} comes twice")
        image = row.image()
        if image is None:
            raise row.error("has no image")
        name = row.optional("imagename") or image.name or f"{key}{image.suffix()}"
        folder.image(row, f"images/{name}", image)
        given = row.value("capability")
        capability = given.split(",") if isinstance(given, str) else list(given)
        entries[key] = {
            "imagename": name,
            "question": row.text("question"),
            "answer": row.text("answer"),
            "imagesource": row.optional("image_source") or row.optional("imagesource"),
            "capability": [str(text).strip() for text in capability],
        }
        folder.samples += 1
    folder.json("mm-vet.json", entries)


def hallusionbench(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """HallusionBench: the question file, all of whose values are texts, and the images."""
    keys = ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id")
    entries = []
    for row in rows:
        entry: dict[str, Any] = {key: row.text(key) for key in keys}
        name = None
        image = row.image()
        if image is not None:
            folders = f"{entry['category']}/{entry['subcategory']}"
            fallback = f"{folders}/{entry['set_id']}_{entry['figure_id']}{image.suffix()}"
            name = row.optional("filename").removeprefix("./") or fallback
            folder.image(row, f"hallusion_bench/{name}", image)
        entry |= {
            "sample_note": row.optional("sample_note"),
            "question": row.text("question"),
            "gt_answer_details": row.text("gt_answer_details"),
            "gt_answer": row.text("gt_answer"),
            "filename": name,
        }
        entries.append(entry)
        folder.samples += 1
    folder.json("HallusionBench.json", entries)


def llava_bench(rows: Iterator[HubRow], folder: Folder, split: str) -> None:
    """LLaVA-Bench (in the wild): questions, contexts and reference answers by line."""
    questions, references = [], []
    contexts: dict[str, Any] = {}
    for row in rows:
        image = row.image()
        if image is None:
            raise row.error("has no image")
        given = row.optional("image_id") or image.name or f"row-{row.number}"
        name = _with_suffix(PurePosixPath(given).name, image.suffix())
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


LAYOUTS: dict[str, Layout] = {
    "pope": pope,
    "mme": mme,
    "vizwiz": vizwiz,
    "scienceqa": scienceqa,
    "mm-vet": mm_vet,
    "hallusionbench": hallusionbench,
    "llava-bench": llava_bench,
}
"""Benchmark -> what writes its files."""
