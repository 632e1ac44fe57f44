"""MME: folders of questions, and the folder of results that the official script reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lvlmsal.errors import DataError
from lvlmsal.readers.rows import read_text, short

MME_PERCEPTION: Final = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
)
"""The ten tasks of perception; together they are worth 2000 points."""
MME_COGNITION: Final = (
    *("commonsense_reasoning", "numerical_calculation"),
    *("text_translation", "code_reasoning"),
)
"""The four tasks of cognition; together they are worth 800 points."""
MME_TASKS: Final = (*MME_PERCEPTION, *MME_COGNITION)
"""All tasks, in the order of the official script."""

RELEASE = "MME_Benchmark_release_version"
_IMAGES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class MmeQuestion:
    """One of the two questions on an image, or a line of a result file.

    Attributes:
        task: One of `MME_TASKS`.
        image: Name of the image; of a question its path inside the folder of the benchmark, of a
            result whatever stands in the first column.
        number: 1 or 2: which of the image's two questions.
        text: The question.
        label: ``"yes"`` or ``"no"``.
        path: The file.
        line: Line of that file, counted from 1.
        unit: Task and image, by which the two questions on an image are paired.
        answer: What the model said; empty for a question.
    """

    task: str
    image: str
    number: int
    text: str
    label: str
    path: Path
    line: int
    unit: str
    answer: str = ""


def mme_folder(root: Path | str) -> Path:
    """The folder that holds the tasks: `root`, or the folder of the release inside it."""
    root = Path(root)
    inside = root / RELEASE
    return inside if inside.is_dir() else root


def mme_tasks(root: Path | str) -> list[str]:
    """The tasks that have a folder, in the order of `MME_TASKS`.

    Args:
        root: The folder of the release, or one that holds it.
    """
    folder = mme_folder(root)
    return [task for task in MME_TASKS if (folder / task).is_dir()]


def read_mme_questions(root: Path | str, tasks: Sequence[str] = ()) -> list[MmeQuestion]:
    """Read the questions of MME.

    A task's folder holds a text file for each image, with two lines: the question, a tab, Yes or
    No. The images lie next to the text files; or there are two folders, ``images`` and
    ``questions_answers_YN``. Both layouts are in the release.

    Args:
        root: The folder of the release, or one that holds it.
        tasks: Tasks to read; all that are there if none is named.

    Returns:
        The questions, task by task in the order of `MME_TASKS` and image by image. An image that
        is missing is named as the .jpg that it would be.

    Raises:
        DataError: A task is missing or unknown, or a text file does not hold two such lines.
    """
    folder = mme_folder(root)
    there = mme_tasks(root)
    for task in tasks:
        if task not in MME_TASKS:
            raise DataError(f"MME has no task {task!r}; its tasks: {', '.join(MME_TASKS)}")
        if task not in there:
            raise DataError(f"there is no folder of the task {task!r}", path=folder)
    if not there:
        raise DataError(f"holds no folder of a task, such as {MME_TASKS[0]!r}", path=folder)
    return [
        question
        for task in there
        if not tasks or task in tasks
        for question in _task_questions(folder, task)
    ]


def _task_questions(folder: Path, task: str) -> Iterator[MmeQuestion]:
    images = texts = folder / task
    if (images / "images").is_dir():
        images, texts = images / "images", images / "questions_answers_YN"
    paths = sorted(texts.glob("*.txt"))
    if not paths:
        raise DataError("holds no text files with questions", path=texts)
    names: dict[str, list[str]] = {}
    for path in sorted(images.iterdir()):
        if path.suffix.lower() in _IMAGES:
            names.setdefault(path.stem, []).append(path.name)
    for path in paths:
        found = names.get(path.stem, [f"{path.stem}.jpg"])
        if len(found) > 1:
            raise DataError(f"belongs to several images: {', '.join(found)}", path=path)
        image = str((images / found[0]).relative_to(folder).as_posix())
        lines = _lines(path)
        if len(lines) != 2:
            raise DataError(
                f"expected two lines, each a question, a tab and Yes or No; got {len(lines)}",
                path=path,
            )
        for number, (line, text) in enumerate(lines, start=1):
            parts = text.split("\t")
            if len(parts) != 2:
                raise DataError(
                    f"expected a question, one tab and Yes or No, got {short(text)!r}",
                    path=path,
                    line=line,
                )
            label = _label(parts[1], path, line)
            unit = f"{task}/{found[0]}"
            yield MmeQuestion(task, image, number, parts[0].strip(), label, path, line, unit)


def read_mme_results(folder: Path | str) -> tuple[list[MmeQuestion], list[str]]:
    """Read a folder of results as the official script expects it.

    There is one ``<task>.txt`` for each task, with lines of image, question, right answer and
    prediction, separated by tabs. Two lines on one image make a pair, wherever they stand; the
    official script pairs lines by position and never looks at the names of the images.

    Args:
        folder: The folder.

    Returns:
        The results, task by task, and the names of other text files in the folder.

    Raises:
        DataError: There is no file of a task, or two of the same; a line has fewer than four
            columns or a right answer other than yes and no; or an image does not have exactly two
            lines.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("there is no such folder", path=folder)
    tasks = {task.lower(): task for task in MME_TASKS}
    paths: dict[str, Path] = {}
    others = []
    for path in sorted(folder.glob("*.txt")):
        task = tasks.get(path.stem.lower())
        if task is None:
            others.append(path.name)
        elif task in paths:
            raise DataError(
                f"holds two files of the task {task!r}, {paths[task].name} and {path.name}: leave "
                "one of them",
                path=folder,
            )
        else:
            paths[task] = path
    if not paths:
        raise DataError(f"holds no result file such as {MME_TASKS[0]}.txt", path=folder)
    results = [
        result for task in MME_TASKS if task in paths for result in _results(paths[task], task)
    ]
    return results, others


def _results(path: Path, task: str) -> list[MmeQuestion]:
    results: list[MmeQuestion] = []
    seen: dict[str, list[MmeQuestion]] = {}
    for line, text in _lines(path):
        # a tab in the answer stays in the answer
        columns = text.split("\t", maxsplit=3)
        if len(columns) < 4:
            raise DataError(
                f"expected four tab-separated columns (image, question, right answer, "
                f"prediction), got {len(columns)}: {short(text)!r}; does the answer above hold "
                "a line break?",
                path=path,
                line=line,
            )
        image, question, truth, answer = columns
        image = image.strip()
        before = seen.setdefault(image, [])
        if len(before) == 2 or any(other.text == question for other in before):
            lines = " and ".join(str(other.line) for other in before)
            problem = "the same question" if len(before) == 1 else "a third line"
            raise DataError(
                f"{problem} on the image {image!r}; its other is in line {lines}. Each image "
                "has two questions",
                path=path,
                line=line,
            )
        label = _label(truth, path, line)
        number = len(before) + 1
        unit = f"{task}/{image}"  # as it stands: a/1.jpg and b/1.jpg are two images
        result = MmeQuestion(task, image, number, question, label, path, line, unit, answer)
        before.append(result)
        results.append(result)
    for image, pair in seen.items():
        if len(pair) == 1:
            raise DataError(
                f"the image {image!r} has one line only; each image has two questions",
                path=path,
                line=pair[0].line,
            )
    if not results:
        raise DataError("the file is empty", path=path)
    return results


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of the lines that are not blank; nothing but the line feed parts lines."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, text) for number, text in lines if text.strip()]


def _label(text: str, path: Path, line: int) -> str:
    label = text.strip().lower()
    if label not in ("yes", "no"):
        raise DataError(f"the right answer must be Yes or No, got {text!r}", path=path, line=line)
    return label
