"""MME: pairs of yes-no questions on images, in fourteen tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.mme.files import MME_TASKS, MmeQuestion, mme_folder, read_mme_questions
from lvlmsal.benchmarks.mme.layout import write_mme
from lvlmsal.errors import close_matches
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.hub import Layout
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("mme")
@dataclass(eq=False, kw_only=True)
class Mme(Benchmark):
    """Pairs of yes-no questions on images (Fu et al. 2023).

    Expected layout, with one text file of two lines for each image; both kinds of folder are in
    the release::

        root/existence/000000006040.jpg        and next to it 000000006040.txt
        root/artwork/images/10002.jpg
        root/artwork/questions_answers_YN/10002.txt

    `root` may also be the folder that holds ``MME_Benchmark_release_version``. A line of a text
    file is the question, a tab, and Yes or No. Ids of samples are LLaVA's question ids with the
    number of the question after them: ``existence/000000006040.jpg#2``.

    Args:
        tasks: Which tasks, by name; by default all that have a folder. The totals of perception
            and cognition are undefined unless all of their tasks are there.
        parser: Rule that reads yes or no from an answer: ``official``, ``lmms-eval``,
            ``vlmevalkit`` or ``strict``.
    """

    summary: ClassVar[str] = "Pairs of yes-no questions in 14 tasks of perception and cognition."
    paper: ClassVar[str] = "Fu et al., MME: A Comprehensive Evaluation Benchmark for MLLMs, 2023"
    url: ClassVar[str] = "https://arxiv.org/abs/2306.13394"
    layout: ClassVar[Layout | None] = staticmethod(write_mme)
    # from memory of the hub's export, as docs/benchmarks/mme.md says
    expected: ClassVar[dict[str, dict[str, int]]] = {"mme": {"samples": 2374, "images": 1187}}
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (text, {"task": "existence", "image": "example", "question": number, "label": label})
        for number, text, label in (
            (1, "Is there a dog in this image?", "yes"),
            (2, "Is there a car in this image?", "no"),
        )
    )

    tasks: tuple[str, ...] = ()
    parser: str = "official"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: There is no such task.
        """
        super().__post_init__()
        for task in self.tasks:
            if task not in MME_TASKS:
                raise ValueError(
                    f"MME has no task {task!r}.{close_matches(task, MME_TASKS)} "
                    f"Its tasks: {', '.join(MME_TASKS)}"
                )

    @property
    def label(self) -> str:
        """``mme``, and the tasks if only some are asked for."""
        return f"{self.name}/{'+'.join(self.tasks)}" if self.tasks else str(self.name)

    def image_root(self) -> Path:
        """The folder of the tasks, or what the option `images` says."""
        return mme_folder(self.root) if self.images is None else super().image_root()

    def data_files(self) -> list[Path]:
        """The text files with the questions."""
        return list(dict.fromkeys(question.path for question in self._questions()))

    def read(self, problems: list[str]) -> list[Sample]:
        """Two samples per image."""
        samples: list[Sample] = []
        for question in self._questions():
            source = f"{question.path}:{question.line}"
            samples += self.one_sample(
                problems,
                id=f"{question.unit}#{question.number}",
                image=question.image,
                question=question.text,
                target=mme_target(question),
                group=question.unit,
                source=source,
            )
        return samples

    def metric(self) -> CountMetric:
        """MME's figures under `parser`."""
        return METRICS.build("mme", parser=self.parser)

    def _questions(self) -> list[MmeQuestion]:
        return read_mme_questions(self.root, self.tasks)


def mme_target(question: MmeQuestion) -> dict[str, Any]:
    """What the metric has to know of a question."""
    return {
        "task": question.task,
        "image": question.unit,
        "question": question.number,
        "label": question.label,
    }
