"""LLaVA-Bench (in the wild) as a metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, get_args

from torch import Tensor

from lvlmsal.benchmarks.llava_bench.counts import (
    CATEGORIES,
    LLAVA_BENCH_COUNTS,
    Reading,
    llava_bench_counts,
    llava_bench_figures,
)
from lvlmsal.errors import ConfigError
from lvlmsal.metrics.columns import Column
from lvlmsal.metrics.judge_prompts import OWN, JudgePrompt, prompt_file, read_messages
from lvlmsal.metrics.judged import HEARD, JudgedMetric, JudgeRequest
from lvlmsal.registry import METRICS

_OWN_TASKS: Final = {
    "conv": "whether the answers are right, to the point and helpful",
    "detail": "whether the answers are right, complete and precise about what can be seen",
    "complex": "whether the answers are right, well reasoned and helpful",
}
_OWN: Final = """\
[system]
You grade two answers to a question about an image. You cannot see the image: a description of it \
stands for it. Judge {task}. The order of the answers and their length must not matter.
[user]
Description of the image:
{{context}}

Question: {{question}}

Answer 1:
{{reference}}

Answer 2:
{{answer}}

Give each answer a grade from 1 (worst) to 10 (best). The first line of your reply must hold the \
two grades, answer 1 first, with one blank between them and nothing else. Reasons go below."""

_OFFICIAL_SYSTEM: Final = (
    "You are a helpful and precise assistant for checking the quality of the answer."
)


def llava_bench_prompts(given: str) -> dict[str, JudgePrompt]:
    """The prompt of each category.

    Args:
        given: ``lvlmsal-1``, or the path of the official ``rule.json``: for each of
            ``llava_bench_conv``, ``llava_bench_detail`` and ``llava_bench_complex`` a ``role``
            (what an answer is called) and a ``prompt``. The parts of the message around them are
            laid out as in the official script.

    Raises:
        ConfigError: There is no such file, or it is not a rule file.
        DataError: The file cannot be read.
    """
    if given == OWN:
        return {
            category: JudgePrompt(OWN, read_messages(_OWN.format(task=task)))
            for category, task in _OWN_TASKS.items()
        }
    name, text = prompt_file(given)
    try:
        rules = json.loads(text)
        found = [rules[f"llava_bench_{category}"] for category in CATEGORIES]
        words = [(str(rule["role"]), str(rule["prompt"])) for rule in found]
    except (RecursionError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            [
                f"judge prompt {given!r}: expected LLaVA's rule.json, with 'role' and 'prompt' "
                f"under llava_bench_conv, _detail and _complex ({type(error).__name__}: {error})"
            ]
        ) from None
    return {
        category: JudgePrompt(name, _official(role, prompt))
        for category, (role, prompt) in zip(CATEGORIES, words, strict=True)
    }


def _official(role: str, prompt: str) -> tuple[tuple[str, str], ...]:
    parts = [
        ("Context", "{context}"),
        ("Question", "{question}"),
        (f"{role} 1", f"{{reference}}\n\n[End of {role} 1]"),
        (f"{role} 2", f"{{answer}}\n\n[End of {role} 2]"),
        ("System", prompt),
    ]
    text = "".join(f"[{head}]\n{body}\n\n" for head, body in parts)
    return (("system", _OFFICIAL_SYSTEM), ("user", text))


@METRICS.register("llava-bench")
@dataclass(eq=False)
class LlavaBenchMetric(JudgedMetric):
    """Mean score that a judge gives the answers, relative to that of reference answers.

    Targets are mappings with ``question``, ``context`` (a description of the image), ``reference``
    (the reference answer) and ``category`` (conv, detail or complex). The figures are those of
    `lvlmsal.benchmarks.llava_bench.counts.llava_bench_figures`. A sample that failed has no scores
    and is left out.

    Args:
        reading: How the two scores are read from a reply: ``official`` or ``lmms-eval``, see
            `lvlmsal.benchmarks.llava_bench.counts.llava_bench_scores`.
        judge_prompt: ``lvlmsal-1``, or the official ``rule.json``. Figures under ``lvlmsal-1`` do
            not compare with published ones.

    Raises:
        ConfigError: The rule file is missing or no rule file.

    Example:
        >>> metric = LlavaBenchMetric()
        >>> target = {"question": "What is it?", "context": "A bus.", "reference": "A red bus.",
        ...           "category": "conv"}
        >>> (request,) = metric.requests("A bus.", target)
        >>> metric.replies = {request.key: "8 6"}
        >>> found = metric.score(["A bus."], [target])
        >>> found["ratio"].item(), found["official"].item()
        (0.75, 75.0)
    """

    summary: ClassVar[str] = "judged answers to questions in the wild, relative to a reference"
    paper: ClassVar[str] = "Visual Instruction Tuning"
    url: ClassVar[str] = "https://github.com/haotian-liu/LLaVA"
    judge_model: ClassVar[str] = "gpt-4-0314"
    count_names: ClassVar[tuple[str, ...]] = (*LLAVA_BENCH_COUNTS, *HEARD)
    figure_info: ClassVar[dict[str, bool | None]] = {
        "ratio": True,
        **{f"ratio_{category}": True for category in CATEGORIES},
        "reference": None,
        "answer": True,
        "official": True,
        **{f"official_{category}": True for category in CATEGORIES},
        "official_reference": None,
        **{f"official_reference_{category}": None for category in CATEGORIES},
        "official_answer": True,
        **{f"official_answer_{category}": True for category in CATEGORIES},
        "failed": None,
        "unjudged": None,
        "n": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("ratio", "ratio"),
        Column("ratio_conv", "conv"),
        Column("ratio_detail", "detail"),
        Column("ratio_complex", "complex"),
        Column("official", "official", percent=False),
        Column("failed", "failed", percent=False, bare=True),
        Column("unjudged", "unjudged", percent=False, bare=True),
    )

    reading: Reading = "official"
    judge_prompt: str = OWN

    def __post_init__(self) -> None:
        if self.reading not in get_args(Reading):
            raise ValueError(f"reading must be one of {get_args(Reading)}, got {self.reading!r}")
        self.prompts: Mapping[str, JudgePrompt] = llava_bench_prompts(self.judge_prompt)

    @property
    def variant(self) -> str:
        """The reading and the prompt."""
        return f"{self.reading}, prompt {self.prompts[CATEGORIES[0]].name}"

    def requests(self, answer: str, target: Any) -> list[JudgeRequest]:
        """The one question to the judge, if it has no reply yet: the official script asks once."""
        request = self._request(answer, target)
        return [] if request.key in self.replies else [request]

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `lvlmsal.benchmarks.llava_bench.counts.llava_bench_counts`."""
        reviews = [
            self.replies.get(self._request(answer, target).key)
            for answer, target in zip(answers, targets, strict=True)
        ]
        return self.rows_of_reviews(reviews, [target["category"] for target in targets])

    def rows_of_reviews(self, reviews: Sequence[str | None], categories: Sequence[str]) -> Tensor:
        """`rows` for reviews that are known, such as those of an official file."""
        rows = llava_bench_counts(reviews, categories, self.reading)
        names = [LLAVA_BENCH_COUNTS.index(f"{category}_pairs") for category in CATEGORIES]
        return self.with_heard(rows, rows[:, names].sum(-1).tolist(), [1.0] * len(reviews))

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `lvlmsal.benchmarks.llava_bench.counts.llava_bench_figures`."""
        return self.unless_unheard(llava_bench_figures(counts[..., :-2]), counts)

    def _request(self, answer: str, target: Any) -> JudgeRequest:
        if target["category"] not in self.prompts:
            raise ValueError(
                f"the category must be one of {CATEGORIES}, got {target['category']!r}"
            )
        messages = self.prompts[target["category"]].fill(
            context=target["context"],
            question=target["question"],
            reference=target["reference"],
            answer=answer,
        )
        return JudgeRequest(messages, temperature=0.2, max_tokens=1024)
