"""VizWiz VQA: what people who are blind asked about pictures that they took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.vizwiz.files import (
    VizwizQuestion,
    read_vizwiz_prompts,
    read_vizwiz_questions,
)
from lvlmsal.benchmarks.vizwiz.layout import write_vizwiz
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.hub import Layout
from lvlmsal.registry import BENCHMARKS, METRICS

PROMPT = (
    "{question}\nWhen the provided information is insufficient, respond with 'Unanswerable'.\n"
    "Answer the question using a single word or phrase."
)
"""LLaVA's instructions."""


@BENCHMARKS.register("vizwiz")
@dataclass(eq=False, kw_only=True)
class Vizwiz(Benchmark):
    """Questions of VizWiz VQA with their pictures (Gurari et al. 2018).

    Expected layout, as the archives of the data set unpack::

        root/Annotations/val.json              array: image, question, answers, answer_type, ...
        root/val/VizWiz_val_00000000.jpg ...   or root/images

    The name of the image is the id of its question. The test split has no answers: it can be
    answered, but its samples count as unscored.

    Args:
        split: Which questions: val, test or train.
        annotations: Folder of the annotation files, absolute or relative to `root`.
        questions: Question file of LLaVA (JSON lines with question_id, image, text), absolute or
            relative to `root`: its images are asked about, in its order, with its texts as whole
            prompts. Leave `prompt` alone then.
        rule: Rule that compares answers with those of people: ``vizwiz-api``, ``llava``,
            ``vqa-official`` or ``lmms-eval``, see `lvlmsal.benchmarks.vizwiz.metric`.
    """

    summary: ClassVar[str] = "Questions of blind people about their pictures, some unanswerable."
    paper: ClassVar[str] = "Gurari et al., VizWiz Grand Challenge, CVPR 2018"
    url: ClassVar[str] = "https://vizwiz.org/tasks-and-datasets/vqa/"
    layout: ClassVar[Layout | None] = staticmethod(write_vizwiz)
    # from a hub's description of the data set, unverified
    expected: ClassVar[dict[str, dict[str, int]]] = {
        "vizwiz/val": {"samples": 4319, "images": 4319},
        "vizwiz/test": {"samples": 8000, "images": 8000},
    }
    examples: ClassVar[tuple[tuple[str, Any], ...]] = tuple(
        (
            "What is this?",
            {
                "answers": [answer] * 10,
                "confidences": ["yes"] * 10,
                "answer_type": kind,
                "answerable": answerable,
            },
        )
        for answer, kind, answerable in (("dog", "other", 1), ("unanswerable", "unanswerable", 0))
    )

    prompt: str = PROMPT
    split: Literal["train", "val", "test"] = "val"
    annotations: str = "Annotations"
    questions: str | None = None
    rule: str = "vizwiz-api"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: The prompt cannot have a say.
        """
        super().__post_init__()
        if self.questions is not None and self.prompt != PROMPT:
            raise ValueError("prompt has no effect with questions, whose texts are whole prompts")

    @property
    def label(self) -> str:
        """``vizwiz/`` and the split."""
        return f"{self.name}/{self.split}"

    def data_files(self) -> list[Path]:
        """The annotation file, and the question file if there is one."""
        files = [Path(self.root) / self.annotations / f"{self.split}.json"]
        return files if self.questions is None else [*files, Path(self.root) / self.questions]

    def image_root(self) -> Path:
        """The folder of the split, if there is one and no other was asked for."""
        folder = Path(self.root) / self.split
        return folder if self.images is None and folder.is_dir() else super().image_root()

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per question."""
        annotated, *asked = self.data_files()
        questions = {q.image: q for q in read_vizwiz_questions(annotated)}
        wanted = [
            (q, self.prompt.replace("{question}", q.question), f"{annotated}:{q.line}")
            for q in questions.values()
        ]
        for path in asked:
            wanted = []
            for line in read_vizwiz_prompts(path):
                source = f"{path}:{line.line}"
                if line.image in questions:
                    wanted.append((questions[line.image], line.text, source))
                else:
                    problems.append(f"{source}: the image {line.image!r} is not in {annotated}")
        samples: list[Sample] = []
        for question, prompt, source in wanted:
            samples += self.one_sample(
                problems,
                id=question.image,
                image=question.image,
                prompt=prompt,
                target=vizwiz_target(question),
                source=source,
            )
        return samples

    def metric(self) -> CountMetric:
        """Accuracy and unanswerable F1 under `rule`."""
        return METRICS.build("vizwiz", rule=self.rule)


def vizwiz_target(question: VizwizQuestion) -> dict[str, object]:
    """What `lvlmsal.benchmarks.vizwiz.metric` needs to know of a question."""
    return {
        "answers": list(question.answers),
        "confidences": list(question.confidences),
        "answer_type": question.answer_type,
        "answerable": question.answerable,
    }
