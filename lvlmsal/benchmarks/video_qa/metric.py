"""Answers to questions on videos, judged as in Video-ChatGPT's scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from lvlmsal.metrics.judge_prompts import OWN, load_prompt
from lvlmsal.metrics.judged import HEARD, JudgeRequest, ScoreMetric
from lvlmsal.registry import METRICS

OWN_PROMPT: Final = """\
[system]
You compare an answer to a question on a video with the reference answer. Other words for the same \
thing agree with it. You have not seen the video: the reference decides.
[user]
Question: {question}
Reference answer: {reference}
Given answer: {answer}

Does the given answer agree with the reference, and how closely, from 0 (not at all) to 5 (fully)? \
Reply with a Python dictionary and nothing else, for instance {'pred': 'no', 'score': 1}. pred is \
'yes' or 'no', score is a whole number."""
"""The prompt ``lvlmsal-1``."""

PLACES: Final = ("question", "reference", "answer")
"""What a judge prompt has a place for."""


@METRICS.register("video-qa")
@dataclass(eq=False)
class VideoQaMetric(ScoreMetric):
    """Share of answers that a judge accepts, and the mean of its scores from 0 to 5.

    Targets are mappings with ``question`` and ``answer``. ``accuracy`` is yes / (yes + no), as in
    the official script: a reply that is neither leaves it, and only it. A sample that failed counts
    as no, with score 0. An answer without a usable reply is in ``unjudged`` and nowhere else.

    Args:
        rule: How replies are read: ``official``, ``lmms-eval`` or ``strict``, see
            `lvlmsal.metrics.judge_replies`.
        attempts: How often the judge is asked about one answer.
        judge_prompt: ``lvlmsal-1``, or a text file with {question}, {reference} and {answer}.
            Figures under another prompt than the official one do not compare with published ones.

    Raises:
        UnknownName: No rule has that name.
        ConfigError: The prompt file is missing or lacks a place.

    Example:
        >>> metric = VideoQaMetric()
        >>> asked = {"question": "what is he doing", "answer": "running"}
        >>> (request,) = metric.requests("He runs.", asked)
        >>> metric.replies = {request.key: "{'pred': 'yes', 'score': 4.8}"}
        >>> found = metric.score(["He runs."], [asked])
        >>> {name: value.item() for name, value in found.items()}
        {'accuracy': 1.0, 'score': 4.0, 'neither': 0.0, 'unjudged': 0.0, 'n': 1.0}
    """

    summary: ClassVar[str] = "answers on videos, judged: accuracy, score from 0 to 5"
    paper: ClassVar[str] = (
        "Video-ChatGPT: Towards Detailed Video Understanding via Large Vision and Language Models"
    )
    url: ClassVar[str] = "https://github.com/mbzuai-oryx/Video-ChatGPT"
    judge_model: ClassVar[str] = "gpt-3.5-turbo"
    count_names: ClassVar[tuple[str, ...]] = ("n", "judged", "answered", "yes", "score", *HEARD)
    figure_info: ClassVar[dict[str, bool | None]] = {
        "accuracy": True,
        "score": True,
        "neither": False,
        "unjudged": False,
        "n": None,
    }
    rates: ClassVar[dict[str, tuple[str, str]]] = {"accuracy": ("yes", "answered")}

    judge_prompt: str = OWN

    def __post_init__(self) -> None:
        super().__post_init__()
        self.prompt = load_prompt(self.judge_prompt, OWN_PROMPT, PLACES)

    @property
    def variant(self) -> str:
        """The rule and the prompt."""
        return f"{self.rule}, prompt {self.prompt.name}"

    def requests(self, answer: str, target: Any) -> list[JudgeRequest]:
        """The next attempt, see `ScoreMetric.pending`."""
        return self.pending(self._messages(answer, target), True)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """Samples, judged ones, ones with yes or no, ones with yes, and scores."""
        rows = [self._row(answer, target) for answer, target in zip(answers, targets, strict=True)]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(self.count_names))

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """Failed samples count as no, with score 0."""
        row = torch.tensor([1, 1, 1, 0, 0, 0, 0], dtype=torch.float64)
        return row.repeat(len(targets), 1)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """Accuracy as a fraction and the mean score, as the official script prints them."""
        n, judged, answered, yes, score = counts[..., :-2].unbind(-1)
        figures = {
            "accuracy": yes / answered,
            "score": score / judged,
            "neither": judged - answered,
            "unjudged": n - judged,
            "n": n,
        }
        return self.unless_unheard(figures, counts)

    def _messages(self, answer: str, target: Any) -> tuple[tuple[str, str], ...]:
        return self.prompt.fill(
            question=target["question"], reference=target["answer"], answer=answer
        )

    def _row(self, answer: str, target: Any) -> list[float]:
        messages = self._messages(answer, target)
        found, heard = self.judgment(messages, True), self.heard(messages, True) is not None
        if found is None:
            return [1, 0, 0, 0, 0, 0, 1]
        return [1, 1, found.verdict is not None, found.verdict is True, found.score, heard, 1]
