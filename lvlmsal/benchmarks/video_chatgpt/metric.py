"""Video-ChatGPT's benchmark of generated text: five judged scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor

from lvlmsal.errors import ConfigError
from lvlmsal.metrics.base import SetMetric
from lvlmsal.metrics.judge_prompts import OWN, load_prompt
from lvlmsal.metrics.judged import HEARD, JudgeRequest, ScoreMetric
from lvlmsal.registry import METRICS

ASPECTS: Final = ("correctness", "detail", "context", "temporal", "consistency")
"""The five scores, in the order of the paper."""

_ASKED: Final = {
    "correctness": "Are its statements true, by the reference, and is nothing in it made up?",
    "detail": "Does it cover all main points of the reference, as specifically as the reference?",
    "context": "Does it grasp what the video is about as a whole, as the reference does?",
    "temporal": "Does it put events in the order of the reference, at the right times?",
}
_OWN_SINGLE: Final = """\
[system]
You compare an answer to a question on a video with the reference answer. You have not seen the \
video: the reference decides. {asked}
[user]
Question: {{question}}
Reference answer: {{reference}}
Given answer: {{answer}}

Give a whole number from 0 (not at all) to 5 (fully). Reply with a Python dictionary and nothing \
else, for instance {{'score': 1}}."""
_OWN_PAIR: Final = """\
[system]
One thing about a video was asked in two ways. You compare the two answers with each other and \
with the reference answer. You have not seen the video: the reference decides. Do the answers say \
the same, without contradiction, and does it agree with the reference?
[user]
First question: {question}
Second question: {question2}
Reference answer: {reference}
Answer to the first: {answer}
Answer to the second: {answer2}

Give a whole number from 0 (not at all) to 5 (fully). Reply with a Python dictionary and nothing \
else, for instance {'score': 1}."""

OWN_PROMPTS: Final = {
    **{aspect: _OWN_SINGLE.format(asked=asked) for aspect, asked in _ASKED.items()},
    "consistency": _OWN_PAIR,
}
"""The prompts ``lvlmsal-1``."""

_SINGLE: Final = ("question", "reference", "answer")
_PAIR: Final = ("question", "question2", "reference", "answer", "answer2")
_COUNTS: Final = ("n", "judged", "score", *HEARD)

Messages = tuple[tuple[str, str], ...]


def prompt_files(folder: str) -> list[Path]:
    """The prompt files of a folder, one for each score; none for this library's own prompts."""
    return [] if folder == OWN else [Path(folder) / f"{aspect}.txt" for aspect in ASPECTS]


@METRICS.register("video-chatgpt")
@dataclass(eq=False)
class VideoChatGptMetric(ScoreMetric, SetMetric):
    """Means of five scores from 0 to 5 that a judge gives to texts about videos.

    Targets are mappings with ``aspects`` (which scores the answer enters), ``question`` and
    ``answer``. For consistency one thing is asked in two ways: two samples with the same ``pair``,
    ``part`` 1 and 2, and the other question as ``question2`` in the first. A pair is judged by one
    request, see `set_requests`, and counted in the row of its first part; of a pair of which one
    answer is missing because it failed the score is 0. Other samples that failed have score 0 too.

    Args:
        rule: How replies are read: ``official`` (scores lose their fraction), ``lmms-eval`` or
            ``strict``, see `lvlmsal.metrics.judge_replies`.
        attempts: How often the judge is asked about one answer.
        judge_prompts: ``lvlmsal-1``, or a folder with ``correctness.txt``, ``detail.txt``,
            ``context.txt``, ``temporal.txt`` and ``consistency.txt``. Figures under other prompts
            than the official ones do not compare with published ones.
        second_question: Which question the judge is shown as the second of a pair: ``shown`` is the
            one that was asked, ``official`` the first one again, as in the official script.

    Raises:
        UnknownName: No rule has that name.
        ConfigError: A prompt file is missing or lacks a place.
    """

    summary: ClassVar[str] = "texts about videos, judged: five scores from 0 to 5"
    paper: ClassVar[str] = (
        "Video-ChatGPT: Towards Detailed Video Understanding via Large Vision and Language Models"
    )
    url: ClassVar[str] = "https://github.com/mbzuai-oryx/Video-ChatGPT"
    judge_model: ClassVar[str] = "gpt-3.5-turbo"
    count_names: ClassVar[tuple[str, ...]] = (
        *(f"{aspect}_{count}" for aspect in ASPECTS for count in _COUNTS),
        *HEARD,
    )
    figure_info: ClassVar[dict[str, bool | None]] = {
        **dict.fromkeys(ASPECTS, True),
        "mean": True,
        "unjudged": False,
        "n": None,
    }

    judge_prompts: str = OWN
    second_question: Literal["shown", "official"] = "shown"

    def __post_init__(self) -> None:
        super().__post_init__()
        files = prompt_files(self.judge_prompts)
        if missing := [str(file) for file in files if not file.is_file()]:
            raise ConfigError(
                [
                    f"judge_prompts must be {OWN!r} or a folder of prompt files; there is no "
                    f"{', no '.join(missing)}"
                ]
            )
        given = [str(file) for file in files] or [OWN] * len(ASPECTS)
        self.prompts = {
            aspect: load_prompt(
                name, OWN_PROMPTS[aspect], _PAIR if aspect == "consistency" else _SINGLE
            )
            for aspect, name in zip(ASPECTS, given, strict=True)
        }

    @property
    def variant(self) -> str:
        """The rule, the prompts, and the second question where it is the official one."""
        names = dict.fromkeys(prompt.name for prompt in self.prompts.values())
        second = ", first question shown twice" if self.second_question == "official" else ""
        return f"{self.rule}, prompts {', '.join(names)}{second}"

    def requests(self, answer: str, target: Any) -> list[JudgeRequest]:
        """The next attempt for each score that one answer decides: all but consistency."""
        return [
            request
            for aspect in target["aspects"]
            if aspect != "consistency"
            for request in self.pending(self._single(aspect, answer, target), False)
        ]

    def set_requests(self, answers: Sequence[str], targets: Sequence[Any]) -> list[JudgeRequest]:
        """The next attempts over all samples, pairs among them; see `JudgedMetric.requests`."""
        samples = list(zip(answers, targets, strict=True))
        found = [request for sample in samples for request in self.requests(*sample)]
        for pair in _pairs(answers, targets).values():
            if len(pair) == 2:
                found += self.pending(self._pair(pair), False)
        return found

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """For each score whether it applies, whether it was given, and what it is."""
        rows = _zeros(len(targets))
        for row, answer, target in zip(rows, answers, targets, strict=True):
            for aspect in target["aspects"]:
                if aspect != "consistency":
                    self._count(row, aspect, self._single(aspect, answer, target))
        for pair in _pairs(answers, targets).values():
            if len(pair) == 2:
                self._count(rows[pair[1][0]], "consistency", self._pair(pair))
            elif 1 in pair:
                _put(rows[pair[1][0]], "consistency", 0.0)
        return _summed(rows)

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """Failed samples have score 0; a failed second part is counted with the first."""
        rows = _zeros(len(targets))
        for row, target in zip(rows, targets, strict=True):
            for aspect in target["aspects"]:
                if aspect != "consistency" or target["part"] == 1:
                    _put(row, aspect, 0.0)
        return _summed(rows)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """The mean of each score, and the mean of the five."""
        shape = (*counts.shape[:-1], len(ASPECTS), len(_COUNTS))
        n, judged, score, heard, asked = counts[..., :-2].reshape(shape).unbind(-1)
        # each score by itself: the judge may have been read for some of them only
        means = torch.where((heard == 0) & (asked > 0), math.nan, score / judged)
        return {
            **dict(zip(ASPECTS, means.unbind(-1), strict=True)),
            "mean": means.mean(-1),
            "unjudged": (n - judged).sum(-1),
            "n": n.sum(-1),
        }

    def _single(self, aspect: str, answer: str, target: Mapping[str, Any]) -> Messages:
        return self.prompts[aspect].fill(
            question=target["question"], reference=target["answer"], answer=answer
        )

    def _pair(self, pair: Mapping[int, tuple[int, str, Mapping[str, Any]]]) -> Messages:
        (_, answer, target), (_, answer2, _) = pair[1], pair[2]
        official = self.second_question == "official"
        return self.prompts["consistency"].fill(
            question=target["question"],
            question2=target["question" if official else "question2"],
            reference=target["answer"],
            answer=answer,
            answer2=answer2,
        )

    def _count(self, row: Tensor, aspect: str, messages: Messages) -> None:
        found = self.judgment(messages, False)
        heard = self.heard(messages, False) is not None
        _put(row, aspect, None if found is None else found.score, (float(heard), 1.0))


def _pairs(
    answers: Sequence[str], targets: Sequence[Any]
) -> dict[str, dict[int, tuple[int, str, Mapping[str, Any]]]]:
    """The parts of each pair that are there: position, answer and target by part."""
    pairs: dict[str, dict[int, tuple[int, str, Mapping[str, Any]]]] = {}
    for place, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        if "consistency" in target["aspects"]:
            # of an answer that is there twice the first counts: readers refuse such files
            parts = pairs.setdefault(target["pair"], {})
            parts.setdefault(target["part"], (place, answer, target))
    return pairs


def _zeros(samples: int) -> Tensor:
    return torch.zeros(samples, len(ASPECTS) * len(_COUNTS) + len(HEARD), dtype=torch.float64)


def _put(
    row: Tensor, aspect: str, score: float | None, heard: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Count one score; None: the judge has given none. `heard` are its counts of `HEARD`."""
    start = ASPECTS.index(aspect) * len(_COUNTS)
    values = (1.0, 0.0, 0.0) if score is None else (1.0, 1.0, score)
    row[start : start + len(_COUNTS)] = torch.tensor((*values, *heard), dtype=torch.float64)


def _summed(rows: Tensor) -> Tensor:
    """Rows with the counts of `HEARD` of all scores together."""
    each = rows[:, : -len(HEARD)].reshape(len(rows), len(ASPECTS), len(_COUNTS))
    rows[:, -len(HEARD) :] = each[..., -len(HEARD) :].sum(-2)
    return rows
