"""HallusionBench as a metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from torch import Tensor

from lvlmsal.benchmarks.hallusionbench.counts import (
    HALLUSION_COUNTS,
    RIGHT,
    UNCLEAR,
    WRONG,
    check_target,
    hallusionbench_counts,
    hallusionbench_failures,
    hallusionbench_figures,
)
from lvlmsal.metrics.answer_parsers import get_parser
from lvlmsal.metrics.base import SetMetric
from lvlmsal.metrics.judge_prompts import OWN, load_prompt
from lvlmsal.metrics.judged import HEARD, JudgedMetric, JudgeRequest
from lvlmsal.registry import METRICS

HallusionRule = Literal["judge", "strict", "lmms-eval", "vlmevalkit"]
"""How an answer becomes a verdict; `HallusionBenchMetric` says how they differ."""

OWN_PROMPT: Final = """\
You check answers to questions. Compare the answer with the reference and reply with one word.
correct: the answer agrees with the reference, whatever its wording.
incorrect: the answer contradicts the reference.
unclear: the answer takes no side, or says that it cannot tell.

Question: {question}
Reference: {reference}
Answer: {answer}

One word:"""
"""The prompt ``lvlmsal-1``."""

PLACES: Final = ("question", "reference", "answer")
"""What a judge prompt has a place for."""


def judge_verdict(reply: str) -> int:
    """Read a judge's reply as the official script does.

    Example:
        >>> [judge_verdict(text) for text in ("Correct.", "It is incorrect", "unclear", "")]
        [1, 0, 2, 2]
    """
    text = reply.lower()
    if "incorrect" in text:
        return WRONG
    return RIGHT if "correct" in text else UNCLEAR


def _says(answer: str, rule: str) -> str | None:
    if rule == "lmms-eval":
        return "yes" if "yes" in answer.lower() else "no"
    return get_parser(rule).parse(answer)


@METRICS.register("hallusionbench")
@dataclass(eq=False)
class HallusionBenchMetric(JudgedMetric, SetMetric):
    """Accuracy by question, by question pair and by figure, and the leaning towards yes.

    Targets are the rows of the benchmark, see `hallusionbench_counts`; the figures are those of
    `hallusionbench_figures`, as fractions (the official script prints percent). Questions must be
    distinguished by their keys: the readers refuse a file in which one occurs twice.

    A sample that failed is wrong, and so is every unit that it belongs to, if the targets say how
    large the units are (``whole``), as those of the benchmark do.

    Args:
        rule: ``judge`` is the official rule: a judge model compares the answer with the reference
            ("incorrect", "correct", else unclear), and unclear is right where a VS question has no
            image. The others need no judge and take yes or no off the answer: ``strict`` by its
            first word, ``lmms-eval`` by the letters "yes" anywhere (anything else is no),
            ``vlmevalkit`` by exactly one of the two words. What is neither is wrong; ``lmms-eval``
            and ``vlmevalkit`` also count the questions without an image as a figure.
        judge_prompt: ``lvlmsal-1``, or a text file with {question}, {reference} and {answer}.
            Figures under another prompt than the official one do not compare with published ones.

    Raises:
        ConfigError: The prompt file is missing or lacks a place.

    Example:
        >>> keys = {"category": "VD", "subcategory": "math", "set_id": "0", "figure_id": "1"}
        >>> asked = [{**keys, "question_id": str(n), "visual_input": 2, "gt_answer": n,
        ...           "question": "?", "gt_answer_details": ""} for n in (0, 1)]
        >>> metric = HallusionBenchMetric(rule="strict")
        >>> found = metric.score(["Yes, it is.", "Yes."], asked)
        >>> found["aacc"].item(), found["facc"].item(), found["fp_ratio"].item()
        (0.5, 0.0, 1.0)
    """

    summary: ClassVar[str] = "yes-or-no questions on images and edited images: aAcc, qAcc, fAcc"
    paper: ClassVar[str] = (
        "HallusionBench: An Advanced Diagnostic Suite for Entangled Language Hallucination and "
        "Visual Illusion in Large Vision-Language Models"
    )
    url: ClassVar[str] = "https://github.com/tianyi-lab/HallusionBench"
    judge_model: ClassVar[str] = "gpt-4"
    count_names: ClassVar[tuple[str, ...]] = (*HALLUSION_COUNTS, *HEARD)
    figure_info: ClassVar[dict[str, bool | None]] = {
        "aacc": True,
        "qacc": True,
        "facc": True,
        "easy_group_acc": True,
        "hard_group_acc": True,
        "figure_score": True,
        "inconsistent": False,
        "all_wrong": False,
        "yes_difference": None,
        "fp_ratio": None,
        "unclear": False,
        "unjudged": False,
        "n": None,
    }
    rates: ClassVar[dict[str, tuple[str, str]]] = {
        "aacc": ("correct", "n"),
        "qacc": ("pairs_right", "pairs"),
        "facc": ("figures_right", "figures"),
        "easy_group_acc": ("easy_right", "easy"),
        "hard_group_acc": ("hard_right", "hard"),
        "all_wrong": ("figures_wrong", "figures"),
        "fp_ratio": ("wrong_no", "wrong"),
    }

    rule: HallusionRule = "judge"
    judge_prompt: str = OWN

    def __post_init__(self) -> None:
        self.prompt = load_prompt(self.judge_prompt, OWN_PROMPT, PLACES)

    @property
    def variant(self) -> str:
        """The rule, and the prompt where a judge is asked."""
        return f"judge, prompt {self.prompt.name}" if self.rule == "judge" else self.rule

    @property
    def _figure_without_image(self) -> bool:
        return self.rule in ("lmms-eval", "vlmevalkit")

    def requests(self, answer: str, target: Any) -> list[JudgeRequest]:
        """The one question to the judge, if it has no reply yet; none under the other rules."""
        if self.rule != "judge":
            return []
        request = self._request(answer, target)
        return [] if request.key in self.replies else [request]

    def verdicts(self, answers: Sequence[str], targets: Sequence[Any]) -> list[int | None]:
        """0 wrong, 1 right, 2 unclear, None without a judge's reply; one for each answer.

        Raises:
            ValueError: A target is none.
        """
        for target in targets:
            check_target(target)
        verdict: Callable[[str, Any], int | None] = (
            self._judged if self.rule == "judge" else self._matched
        )
        return [verdict(*sample) for sample in zip(answers, targets, strict=True)]

    def rows_of_verdicts(self, verdicts: Sequence[int | None], targets: Sequence[Any]) -> Tensor:
        """`rows` for verdicts that are known, such as those of an official result file."""
        return self._rows(verdicts, targets, [verdict is not None for verdict in verdicts])

    def _rows(
        self, verdicts: Sequence[int | None], targets: Sequence[Any], heard: Sequence[bool]
    ) -> Tensor:
        rows = hallusionbench_counts(
            verdicts,
            targets,
            unclear_without_image=self.rule == "judge",
            figure_without_image=self._figure_without_image,
        )
        needed = float(self.rule == "judge")
        return self.with_heard(rows, [needed * one for one in heard], [needed] * len(targets))

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `hallusionbench_counts`."""
        verdicts = self.verdicts(answers, targets)
        return self._rows(
            verdicts,
            targets,
            [self._is_heard(*sample) for sample in zip(answers, targets, strict=True)],
        )

    def _is_heard(self, answer: str, target: Any) -> bool:
        """Whether the reply holds any of the words that it is to hold; others count as unclear."""
        reply = self.replies.get(self._request(answer, target).key, "")
        return any(word in reply.lower() for word in ("correct", "unclear"))

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """Failed samples are wrong; see `hallusionbench_failures`."""
        rows = hallusionbench_failures(targets, figure_without_image=self._figure_without_image)
        return self.with_heard(rows, [0.0] * len(targets), [0.0] * len(targets))

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `hallusionbench_figures`."""
        return self.unless_unheard(hallusionbench_figures(counts[..., :-2]), counts)

    def _request(self, answer: str, target: Any) -> JudgeRequest:
        messages = self.prompt.fill(
            question=target["question"], reference=target["gt_answer_details"], answer=answer
        )
        # the official script sets no temperature
        return JudgeRequest(messages, temperature=None)

    def _judged(self, answer: str, target: Any) -> int | None:
        reply = self.replies.get(self._request(answer, target).key)
        return None if reply is None else judge_verdict(reply)

    def _matched(self, answer: str, target: Any) -> int:
        said = _says(answer, self.rule)
        if said is None:
            return UNCLEAR
        return RIGHT if said == ("yes" if int(target["gt_answer"]) else "no") else WRONG
