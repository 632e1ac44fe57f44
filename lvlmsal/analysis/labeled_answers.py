"""Answers with labels of one's own: which words are wrong, as a file says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.analysis.detectors import DetectorComparison, compared
from lvlmsal.detection.words import token_intervals
from lvlmsal.errors import ConfigError
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.progress import Progress
from lvlmsal.readers.rows import Row, read_json_rows


@dataclass(frozen=True)
class Label:
    """A labeled span of an answer.

    Attributes:
        start: Index of its first character.
        end: Index behind its last one.
        wrong: Whether it is wrong.
    """

    start: int
    end: int
    wrong: bool


@dataclass(frozen=True)
class LabeledAnswer:
    """An answer some of whose words are labeled; what is not labeled is not known.

    Attributes:
        id: Of the line.
        images: Files of the question's images.
        prompt: The question.
        answer: The answer.
        labels: Its labeled spans.
        group: What is resampled and split as a whole: the image by default.
        own: Whether the model under test gave this answer. Answers of others hold words that it
            would not have said; they are scored apart.
    """

    id: str
    images: tuple[Path, ...]
    prompt: str
    answer: str
    labels: tuple[Label, ...]
    group: str
    own: bool


def read_labeled(path: Path | str) -> list[LabeledAnswer]:
    """Read a file of JSON objects, one a line.

    Each has ``image`` (a path from the folder of the file, or a list of them), ``prompt``,
    ``answer`` and ``labels``, a list of ``{"start": 4, "end": 9, "wrong": true}`` in characters of
    the answer, half-open; ``group`` and ``own`` are optional. Other keys are left alone.

    Args:
        path: The file.

    Raises:
        DataError: A line lacks something, or a label is no span of its answer.
    """
    path = Path(path)
    return [_answer(row, number) for number, row in enumerate(read_json_rows(path))]


def _answer(row: Row, number: int) -> LabeledAnswer:
    answer = row.text("answer")
    image = row.data.get("image", [])
    names = [image] if isinstance(image, str) else image
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise row.error(f"'image' must be a path or a list of paths, got {image!r}")
    labels = row.data.get("labels")
    if not isinstance(labels, list):
        raise row.error(f"'labels' must be a list of spans, got {labels!r}")
    own = row.data.get("own", False)
    if not isinstance(own, bool):
        raise row.error(f"'own' must be true or false, got {own!r}")
    return LabeledAnswer(
        str(row.data.get("id", number)),
        tuple(row.path.parent / name for name in names),
        row.text("prompt"),
        answer,
        tuple(_label(row, label, answer) for label in labels),
        str(row.data.get("group", " ".join(names))),
        own,
    )


def _label(row: Row, label: Any, answer: str) -> Label:
    held: dict[str, Any] = label if isinstance(label, dict) else {}
    start, end, wrong = held.get("start"), held.get("end"), held.get("wrong")
    # exactly int: True is one, too
    is_span = type(start) is int and type(end) is int and 0 <= start < end <= len(answer)
    if not is_span or not isinstance(wrong, bool):
        raise row.error(
            f"a label must be {{'start': ..., 'end': ..., 'wrong': true or false}} with characters "
            f"of the answer, which has {len(answer)}: got {label!r}"
        )
    return Label(held["start"], held["end"], wrong)


def compare_on_labels(
    path: Path | str,
    lvlm: Lvlm,
    *,
    model: str,
    out: Path,
    detectors: Sequence[str] = (),
    scaling: Path | None = None,
    draws: int = 2000,
) -> DetectorComparison:
    """Score detectors on labeled answers, those of the model and those of others apart.

    Args:
        path: See `read_labeled`.
        lvlm: The model that reads the answers.
        model: What it is called.
        out: Folder to write into.
        detectors: Names; all by default.
        scaling: A file of ``lvlmsal fit``; by default what is shipped for the model.
        draws: Number of resamples of the groups.

    Raises:
        ConfigError: The folder cannot be made.
        DataError: A line of the file is not as it should be, or an image cannot be read.
    """
    answers = read_labeled(path)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"--out: {out} cannot be made: {error.strerror}"]) from error
    ready = ReadyDetectors.of(detectors, lvlm, scaling)
    mentions: list[DetectedMention] = []
    with Progress("judging answers", len(answers)) as progress:
        for answer in answers:
            mentions += _mentions(answer, ready, model, Path(path).name)
            progress.advance()
    return compared(mentions, [f"{model}: {note}" for note in ready.notes], out, draws=draws)


def _mentions(
    answer: LabeledAnswer, ready: ReadyDetectors, model: str, source: str
) -> Iterator[DetectedMention]:
    """The labeled spans of an answer, each judged at its first token."""
    adapter = ready.lvlm.adapter
    ids = list(adapter.tokenizer(answer.answer, add_special_tokens=False)["input_ids"])
    if not ids or not answer.labels:
        return
    text, tokens = adapter.decode(ids), adapter.token_texts(ids)
    # A tokenizer may put a blank in front of the text, which moves every character.
    shift = text.find(answer.answer) if answer.answer in text else 0
    intervals = token_intervals(text, tokens)
    inputs = adapter.encode([list(answer.images)], [answer.prompt])
    scores, features = ready.of_tokens(inputs, ids)
    named: list[str] = []
    for label in sorted(answer.labels, key=lambda label: (label.start, label.end)):
        start, end = label.start + shift, label.end + shift
        inside = [i for i, (first, last) in enumerate(intervals) if first < end and last > start]
        if not inside:
            continue  # blanks, or characters that the tokenizer leaves out
        words = answer.answer[label.start : label.end].lower()
        yield DetectedMention(
            model,
            "own answers" if answer.own else "given answers",
            source,
            answer.id,
            answer.group,
            words,
            inside[0],
            named.count(words),
            label.wrong,
            {name: values[inside[0]] for name, values in scores.items()},
            {name: values[inside[0]] for name, values in features.items()},
        )
        named.append(words)
