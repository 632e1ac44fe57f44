"""Video-ChatGPT's benchmark of generated text: predictions and a judge's replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.answers.judge_reply_files import give_replies
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers
from lvlmsal.benchmarks.video_chatgpt.benchmark import PARTS, benchmark_target
from lvlmsal.benchmarks.video_chatgpt.metric import VideoChatGptMetric
from lvlmsal.metrics.judge_prompts import OWN
from lvlmsal.metrics.judged import JudgeRequest
from lvlmsal.readers.video import VideoQuestion, read_benchmark_questions
from lvlmsal.registry import SCORERS


@SCORERS.register("video-chatgpt")
@dataclass(kw_only=True)
class VideoChatGptScorer(Scorer):
    """Prediction files of Video-ChatGPT's inference scripts, with a judge's replies.

    Ids of replies are the score and the number of the answer on its video, such as
    detail/v_abc_0, as the official scorer numbers them.

    Args:
        replies: File of the judge's replies, by id or key.
        judge: Which judge counts where the replies are those of several: its model.
        generic: Predictions for correctness, detail and context: video_name, Q, A, pred.
        temporal: Predictions for temporal understanding: video_name, Q, A, pred.
        consistency: Predictions for consistency: video_name, Q1, Q2, A, pred1, pred2.
        rule: How replies are read: official, lmms-eval, strict.
        judge_prompts: The prompts that replies by key were fetched with.
        second_question: What replies by key were shown as the second question: shown (the one that
            was asked), or official (the first question again).
        attempts: Maximum number of replies read for one answer.
        seed: Seed of the intervals.
    """

    summary: ClassVar[str] = "Texts about videos with a judge's replies: five scores."
    paper: ClassVar[str] = "Maaz et al., Video-ChatGPT, ACL 2024"
    url: ClassVar[str] = "https://github.com/mbzuai-oryx/Video-ChatGPT"

    replies: Path
    judge: str = ""
    generic: Path | None = None
    temporal: Path | None = None
    consistency: Path | None = None
    rule: Literal["official", "lmms-eval", "strict"] = "official"
    judge_prompts: str = OWN
    second_question: Literal["shown", "official"] = "shown"
    attempts: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: No predictions are given.
        """
        if not self._files():
            raise ValueError("give at least one of --generic, --temporal and --consistency")

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`."""
        metric = VideoChatGptMetric(
            rule=self.rule,
            attempts=self.attempts,
            judge_prompts=self.judge_prompts,
            second_question=self.second_question,
        )
        answers: list[str] = []
        targets: list[dict[str, object]] = []
        groups: list[str] = []
        asks: dict[str, Callable[[], list[JudgeRequest]]] = {}
        for part, path in self._files().items():
            for item in read_benchmark_questions(path):
                given = _predictions(part, item)
                mine = [benchmark_target(part, item, n) for n in range(1, len(given) + 1)]
                for aspect in PARTS[part]:
                    asked = [{**target, "aspects": [aspect]} for target in mine]
                    asks[f"{aspect}/{item.id}"] = partial(metric.set_requests, given, asked)
                answers += given
                targets += mine
                groups += [item.video] * len(given)
        warnings = give_replies(metric, self.replies, asks, judge=self.judge)
        rows = metric.rows(answers, targets)
        return {
            "metric": "video-chatgpt",
            "variant": metric.variant,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, groups, self.seed),
            "warnings": [*warnings, *metric.unread(rows)],
        }

    def _files(self) -> dict[str, Path]:
        given = {name: getattr(self, name) for name in PARTS}
        return {name: path for name, path in given.items() if path is not None}


def _predictions(part: str, item: VideoQuestion) -> list[str]:
    """The answers of a line: two of the consistency file, one of the others."""
    if bool(item.second) != (part == "consistency"):
        expected = "'Q1' and 'Q2'" if part == "consistency" else "'Q'"
        raise item.row.error(f"lines of the {part} file must have their questions in {expected}")
    return [item.row.text(key) for key in (("pred1", "pred2") if item.second else ("pred",))]
