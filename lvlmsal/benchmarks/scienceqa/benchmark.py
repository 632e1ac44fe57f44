"""ScienceQA: multiple-choice problems of school science, half of them with an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.scienceqa.files import ScienceqaProblem, read_scienceqa
from lvlmsal.benchmarks.scienceqa.layout import write_scienceqa
from lvlmsal.errors import DataError
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.hub import Layout
from lvlmsal.registry import BENCHMARKS, METRICS

_EXAMPLE = {"answer": 0, "choices": 2, "hint": False, "image": True}


@BENCHMARKS.register("scienceqa")
@dataclass(eq=False, kw_only=True)
class Scienceqa(Benchmark):
    """Problems of ScienceQA (Lu et al. 2022).

    Expected layout::

        root/problems.json                 problems by id
        root/pid_splits.json               ids by split
        root/images/test/11/image.png ...  or root/test/11/image.png

    Problems without an image are asked as text alone. The question is LLaVA's: the hint after
    "Context:" where there is one, the question, and the choices by letter.

    Args:
        split: Which problems: train, val, test, minival, minitest or trainval.
        modality: ``all``, ``image`` for the problems with an image alone (ScienceQA-IMG), or
            ``text`` for those without.
        rule: Rule that reads the choice from an answer: ``llava``, ``lmms-eval`` or ``strict``, see
            `lvlmsal.benchmarks.scienceqa.choices`.
    """

    summary: ClassVar[str] = "Multiple choice in science, with and without images."
    paper: ClassVar[str] = "Lu et al., Learn to Explain, NeurIPS 2022"
    url: ClassVar[str] = "https://github.com/lupantech/ScienceQA"
    layout: ClassVar[Layout | None] = staticmethod(write_scienceqa)
    image_folders: ClassVar[tuple[str, ...]] = ("images",)
    # the number of images is from a hub's description of the data set, unverified
    expected: ClassVar[dict[str, dict[str, int]]] = {
        "scienceqa/test": {"samples": 4241, "images": 2017},
        "scienceqa/test-image": {"samples": 2017, "images": 2017},
        "scienceqa/test-text": {"samples": 2224, "images": 0},
    }
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (
            "Which is a mammal?\nOptions: (A) dog (B) ant",
            {**_EXAMPLE, "subject": subject, "grade": 3},
        )
        for subject in ("natural science", "language science")
    )

    prompt: str = "{question}\nAnswer with the option's letter from the given choices directly."
    split: str = "test"
    modality: Literal["all", "image", "text"] = "all"
    rule: str = "llava"

    @property
    def label(self) -> str:
        """``scienceqa/`` and the split, with the modality after it where it is not ``all``."""
        return f"{self.name}/{self.split}" + ("" if self.modality == "all" else f"-{self.modality}")

    def data_files(self) -> list[Path]:
        """The problems and the splits."""
        return [Path(self.root) / "problems.json", Path(self.root) / "pid_splits.json"]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per problem of the split and modality."""
        path, splits = self.data_files()
        samples = []
        for problem in read_scienceqa(path, splits, self.split):
            if self.modality != "all" and bool(problem.image) != (self.modality == "image"):
                continue
            source = f"{path}: problem {problem.id}"
            images: tuple[Path, ...] = ()
            if problem.image:
                try:
                    name = f"{problem.split}/{problem.id}/{problem.image}"
                    images = (self.image_path(name, source),)
                except DataError as error:
                    problems.append(str(error))
                    continue
            samples.append(
                Sample(
                    id=problem.id,
                    images=images,
                    prompt=self.prompt.replace("{question}", question_text(problem)),
                    target=scienceqa_target(problem),
                    group=problem.id,
                    source=source,
                )
            )
        return samples

    def metric(self) -> CountMetric:
        """Accuracy by subject, context and grade under `rule`."""
        return METRICS.build("scienceqa", rule=self.rule)


def question_text(problem: ScienceqaProblem) -> str:
    """A problem as LLaVA asks it, without the instruction after it."""
    context = [f"Context: {problem.hint}"] if problem.hint else []
    choices = [f"{'ABCDE'[n]}. {choice}" for n, choice in enumerate(problem.choices)]
    return "\n".join([*context, problem.question, *choices])


def scienceqa_target(problem: ScienceqaProblem) -> dict[str, object]:
    """What `lvlmsal.benchmarks.scienceqa.metric` needs to know of a problem."""
    return {
        "answer": problem.answer,
        "choices": len(problem.choices),
        "subject": problem.subject,
        "grade": problem.grade,
        "hint": bool(problem.hint),
        "image": bool(problem.image),
    }
