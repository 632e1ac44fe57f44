"""MM-Vet as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from torch import Tensor

from lvlmsal.benchmarks.mm_vet.counts import (
    KINDS,
    MM_VET_COUNTS,
    MOST_RUNS,
    TRIES,
    mm_vet_counts,
    mm_vet_figures,
    mm_vet_grade,
)
from lvlmsal.errors import ConfigError
from lvlmsal.metrics.columns import Column
from lvlmsal.metrics.judge_prompts import OWN, JudgePrompt, prompt_file
from lvlmsal.metrics.judged import HEARD, JudgedMetric, JudgeRequest
from lvlmsal.registry import METRICS

OWN_PROMPT: Final = """\
Each row of the table holds a question about an image, the reference answer, the answer of a model \
and a grade. The grade says how much of the reference the answer gets right: 0.0 for nothing, 1.0 \
for everything, in steps of 0.1. Parts joined by <AND> must all be there; of parts joined by <OR> \
one is enough. Write the missing grade of the last row and nothing else.

Question | Reference | Answer | Grade
--- | --- | --- | ---
Which animals are there? | cat <AND> dog | a horse | 0.0
Which animals are there? | cat <AND> dog | There is a cat on a sofa. | 0.5
Which animals are there? | cat <AND> dog | A dog that chases a cat. | 1.0
What does the sign say? | stop <OR> halt | It says "stop". | 1.0
What is on the table? | A cup of tea, two books and a lamp. | I can see a lamp and some books. | 0.6
What is the sum? | 12 | 21 | 0.0
"""
"""The prompt ``lvlmsal-1``; a row is added at its end."""

RETRY_SUFFIX: Final = "\nPredict the correctness of the answer (digit): "
"""What the official script adds when it asks again."""


def mm_vet_prompt(given: str) -> JudgePrompt:
    """The prompt of a name or a file.

    Args:
        given: ``lvlmsal-1``, or the path of a text file that holds the official few-shot prompt,
            word for word. A line break and the row of the answer are appended.

    Raises:
        ConfigError: There is no such file, or it is empty.
        DataError: The file cannot be read.
    """
    name, text = OWN, OWN_PROMPT
    if given != OWN:
        name, text = prompt_file(given)
        if not text.strip():
            raise ConfigError([f"judge prompt {given!r}: the file is empty"])
    return JudgePrompt(name, (("user", text + "\n"),))


@METRICS.register("mm-vet")
@dataclass(eq=False)
class MmVetMetric(JudgedMetric):
    """Mean grade from 0 to 1 that a judge gives to answers, by capability.

    Targets are mappings with ``question``, ``answer`` (the reference, with ``<AND>`` and ``<OR>``)
    and ``capability`` (a list). The figures are those of
    `lvlmsal.benchmarks.mm_vet.counts.mm_vet_figures`. A sample that failed has grade 0.

    As in the official script, a reply without a grade is asked for again, with a suffix and a
    temperature of 0, 0.5, 1 and 1.5; then the grade is 0. (The official script sends one request
    more, whose reply it does not read.)

    Args:
        judge_prompt: ``lvlmsal-1``, or a text file with the official prompt. Figures under
            ``lvlmsal-1`` do not compare with published ones.
        judge_runs: How often every answer is judged, 1 to 10; 5 in the paper.

    Raises:
        ConfigError: The prompt file is missing or empty.

    Example:
        >>> metric = MmVetMetric()
        >>> target = {"question": "How many?", "answer": "3", "capability": ["rec", "math"]}
        >>> (request,) = metric.requests("Three.", target)
        >>> metric.replies = {request.key: "1.0"}
        >>> metric.score(["Three."], [target])["total"].item()
        1.0
    """

    summary: ClassVar[str] = "judged answers that need several capabilities at once"
    paper: ClassVar[str] = "MM-Vet: Evaluating Large Multimodal Models for Integrated Capabilities"
    url: ClassVar[str] = "https://github.com/yuweihao/MM-Vet"
    judge_model: ClassVar[str] = "gpt-4-0613"
    count_names: ClassVar[tuple[str, ...]] = (*MM_VET_COUNTS, *HEARD)
    figure_info: ClassVar[dict[str, bool | None]] = {
        "total": True,
        "total_std": None,
        "total_graded": True,
        **dict.fromkeys(KINDS, True),
        "given_up": None,
        "unjudged": None,
        "n": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("total", "total"),
        Column("rec", "rec"),
        Column("ocr", "ocr"),
        Column("know", "know"),
        Column("gen", "gen"),
        Column("spat", "spat"),
        Column("math", "math"),
        Column("given_up", "given up", percent=False, bare=True),
        Column("unjudged", "unjudged", percent=False, bare=True),
    )

    judge_prompt: str = OWN
    judge_runs: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.judge_runs <= MOST_RUNS:
            raise ValueError(f"judge_runs must be from 1 to {MOST_RUNS}, got {self.judge_runs}")
        self.prompt = mm_vet_prompt(self.judge_prompt)

    @property
    def variant(self) -> str:
        """The prompt and the number of runs."""
        return f"prompt {self.prompt.name}, runs of the judge: {self.judge_runs}"

    def requests(self, answer: str, target: Any) -> list[JudgeRequest]:
        """For each run the next attempt, unless its replies are read to the end."""
        found = []
        for run in range(self.judge_runs):
            for request in self._attempts(answer, target, run):
                if request.key not in self.replies:
                    found.append(request)
                    break
                if mm_vet_grade(self.replies[request.key]) is not None:
                    break
        return found

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `mm_vet_counts`; all runs of an answer count, or none."""
        grades = [
            None if self.requests(answer, target) else self._grades(answer, target)
            for answer, target in zip(answers, targets, strict=True)
        ]
        return self.rows_of_grades(grades, [target["capability"] for target in targets])

    def rows_of_grades(
        self,
        grades: Sequence[Sequence[float | None] | None],
        capabilities: Sequence[Sequence[str]],
    ) -> Tensor:
        """`rows` for grades that are known, such as those of an official file."""
        heard = [sum(grade is not None for grade in some or ()) for some in grades]
        rows = mm_vet_counts(grades, capabilities)
        return self.with_heard(rows, heard, [float(self.judge_runs)] * len(grades))

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """Grade 0 in every run; the judge did not give up on what it was never asked."""
        zeros = [[0.0] * self.judge_runs] * len(targets)
        rows = mm_vet_counts(zeros, [target["capability"] for target in targets])
        return self.with_heard(rows, [0.0] * len(targets), [0.0] * len(targets))

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `lvlmsal.benchmarks.mm_vet.counts.mm_vet_figures`."""
        return self.unless_unheard(mm_vet_figures(counts[..., :-2], self.judge_runs), counts)

    def _grades(self, answer: str, target: Any) -> list[float | None]:
        """The first grade of each run; None where the run gave up."""
        grades = []
        for run in range(self.judge_runs):
            texts = (self.replies.get(r.key) for r in self._attempts(answer, target, run))
            read = (mm_vet_grade(text) for text in texts if text is not None)
            grades.append(next((grade for grade in read if grade is not None), None))
        return grades

    def _attempts(self, answer: str, target: Any, run: int) -> list[JudgeRequest]:
        """What one run asks, one after the other."""
        reference = target["answer"].replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
        ((role, prompt),) = self.prompt.messages
        row = " | ".join([target["question"], reference, answer, ""])
        return [
            JudgeRequest(
                ((role, prompt + row + (RETRY_SUFFIX if attempt else "")),),
                temperature=0.5 * max(attempt - 1, 0),
                max_tokens=3,
                attempt=run * TRIES + attempt,
            )
            for attempt in range(TRIES)
        ]
