"""Open questions on videos: predictions and a judge's replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.answers.judge_reply_files import give_replies
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers
from lvlmsal.benchmarks.video_qa.metric import VideoQaMetric
from lvlmsal.errors import DataError
from lvlmsal.metrics.judge_prompts import OWN
from lvlmsal.readers.rows import Row, listed, read_json_rows
from lvlmsal.readers.video import ID_KEYS, VideoQuestion, read_video_questions
from lvlmsal.registry import SCORERS


@SCORERS.register("video-qa")
@dataclass(kw_only=True)
class VideoQaScorer(Scorer):
    """Predictions for ActivityNet-QA, MSVD-QA, MSRVTT-QA and the like, with a judge's replies.

    Args:
        questions: Question file, such as test_q.json or test_qa.json.
        predictions: Prediction file: lines with id, question, answer, pred, as Video-ChatGPT's
            inference script writes them, or with video_name, Q, A, pred, as its scorer reads them.
        replies: File of the judge's replies, by id of the question or by key.
        judge: Which judge counts where the replies are those of several: its model.
        answers: Answer file, such as test_a.json, where the answers are in one.
        rule: How replies are read: official, lmms-eval, strict.
        judge_prompt: The prompt that replies by key were fetched with.
        attempts: Maximum number of replies read for one answer.
        seed: Seed of the intervals.
    """

    summary: ClassVar[str] = "Answers on videos with a judge's replies: accuracy, score."
    paper: ClassVar[str] = "Maaz et al., Video-ChatGPT, ACL 2024"
    url: ClassVar[str] = "https://github.com/mbzuai-oryx/Video-ChatGPT"

    questions: Path
    predictions: Path
    replies: Path
    answers: Path | None = None
    judge: str = ""
    rule: Literal["official", "lmms-eval", "strict"] = "official"
    judge_prompt: str = OWN
    attempts: int = 5
    seed: int = 0

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`."""
        metric = VideoQaMetric(
            rule=self.rule, attempts=self.attempts, judge_prompt=self.judge_prompt
        )
        asked = read_video_questions(self.questions, self.answers)
        predictions = read_predictions(self.predictions, asked)
        targets = [{"question": item.question, "answer": item.answer} for item in asked]
        asks = {
            item.id: partial(metric.requests, text, target)
            for item, text, target in zip(asked, predictions, targets, strict=True)
        }
        warnings = give_replies(metric, self.replies, asks, judge=self.judge)
        rows = metric.rows(predictions, targets)
        return {
            "metric": "video-qa",
            "variant": metric.variant,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, [item.video for item in asked], self.seed),
            "warnings": [*warnings, *metric.unread(rows)],
        }


def read_predictions(path: Path | str, asked: Sequence[VideoQuestion]) -> list[str]:
    """The prediction for each question.

    Lines with ``id`` or ``question_id`` are matched by it. Lines with ``video_name``, ``Q`` and
    ``A`` are matched by all three; what is asked twice is distinguished by its order.

    Returns:
        One text for each question, in the order of the questions.

    Raises:
        DataError: A prediction is missing, given twice, belongs to no question, or repeats another
            question or answer than that of its id.
    """
    rows = read_json_rows(path)
    key = next((key for key in ID_KEYS if key in rows[0].data), None)
    repeated: Counter[Hashable] = Counter()
    wanted: dict[Hashable, VideoQuestion] = {}
    for item in asked:
        words = (item.video, item.question, item.answer)
        wanted[item.id if key else (*words, repeated[words])] = item
        repeated[words] += 1
    repeated.clear()
    found: dict[Hashable, Row] = {}
    for row in rows:
        place: Hashable
        if key is not None:
            place = str(row.identifier(key))
        else:
            words = (str(row.identifier("video_name")), row.text("Q"), row.text("A"))
            place = (*words, repeated[words])
            repeated[words] += 1
        if place not in wanted:
            shown = f"{key} {place!r}" if key else f"question {row.text('Q')!r}, with this answer"
            raise row.error(f"the {shown} is not among the {len(asked)} questions")
        if place in found:
            raise row.error(f"{key} {place!r} was already answered in line {found[place].line}")
        _check(row, wanted[place])
        found[place] = row
    if missing := [item.id for place, item in wanted.items() if place not in found]:
        raise DataError(
            f"{len(missing)} of {len(asked)} questions have no prediction: {listed(missing)}",
            path=path,
        )
    return [found[place].text("pred") for place in wanted]


def _check(row: Row, item: VideoQuestion) -> None:
    """Compare question and answer that a line repeats with those of its id."""
    for names, expected in ((("question", "Q"), item.question), (("answer", "A"), item.answer)):
        for name in names:
            if name in row.data and row.text(name).strip() != expected.strip():
                raise row.error(
                    f"'{name}' is {row.text(name)!r}, and question {item.id!r} has {expected!r}: "
                    "do the files belong together? (Video-ChatGPT's inference script joins "
                    "questions and answers by position)"
                )
