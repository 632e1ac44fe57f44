"""POPE: yes-no questions on whether an object is in the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.pope.files import read_pope_questions
from lvlmsal.benchmarks.pope.layout import write_pope
from lvlmsal.errors import DataError, close_matches
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.hub import Layout
from lvlmsal.registry import BENCHMARKS, METRICS

SPLITS: Final = ("random", "popular", "adversarial")


@BENCHMARKS.register("pope")
@dataclass(eq=False, kw_only=True)
class Pope(Benchmark):
    """POPE question files (Li et al. 2023) with their images.

    Expected layout, for COCO (questions from the POPE repository, images of COCO val 2014)::

        root/pope/coco_pope_random.json        JSON lines: question_id, image, text, label
        root/pope/coco_pope_popular.json
        root/pope/coco_pope_adversarial.json
        root/pope/gqa_pope_seem_random.json    if there are other data sets, see `dataset`
        root/val2014/COCO_val2014_000000310196.jpg ...

    Scene worlds have the same layout with ``root/images``. Files may lie in `root` itself or in a
    folder of their data set (``root/pope/gqa``, ``root/gqa``) and may hold a JSON array instead of
    lines. One merged file with a ``category`` per line, such as the hub's export as JSON lines, has
    to be named with the option `questions`.

    Args:
        split: Which questions: random, popular or adversarial (or what the category is called); in
            a config also all, for the three of them.
        dataset: Whose images, by the beginning of the question file's name: ``coco``, ``aokvqa``
            or ``gqa``; by default the only one that is there, or else ``coco``.
        questions: Question file, absolute or relative to `root`; by default the one file of
            ``root/pope`` or `root` whose name begins with `dataset`, holds ``pope`` and ends in the
            split.
        parser: Rule that reads yes or no from an answer: ``strict`` counts what is neither,
            ``pope-official`` takes it for a yes; `lvlmsal.metrics.answer_parsers` has them all.
    """

    summary: ClassVar[str] = "Yes-no questions on objects that are, or are not, in the image."
    paper: ClassVar[str] = "Li et al., Evaluating Object Hallucination in LVLMs, EMNLP 2023"
    url: ClassVar[str] = "https://arxiv.org/abs/2305.10355"
    layout: ClassVar[Layout | None] = staticmethod(write_pope)
    expected: ClassVar[dict[str, dict[str, int]]] = {
        **{f"pope/{split}": {"samples": 3000, "images": 500} for split in SPLITS},
        **{
            f"pope/{dataset}/{split}": {"samples": 3000}
            for dataset in ("aokvqa", "gqa")
            for split in SPLITS
        },
    }
    stands_for: ClassVar[dict[str, dict[str, tuple[str, ...]]]] = {"split": {"all": SPLITS}}
    examples: ClassVar[tuple[tuple[str, Any], ...]] = (
        ("Is there a dog in the image?", "yes"),
        ("Is there a car in the image?", "no"),
    )

    split: str = "random"
    dataset: str | None = None
    questions: str | None = None
    parser: str = "strict"

    @property
    def label(self) -> str:
        """``pope/`` and the split; with the data set between them unless it is COCO."""
        dataset = "" if self.dataset in (None, "coco") else f"{self.dataset}/"
        return f"{self.name}/{dataset}{self.split}"

    def question_file(self) -> Path:
        """The question file that the options name.

        Raises:
            DataError: There is none, or more than one that fits.
        """
        root = Path(self.root)
        if self.questions is not None:
            return root / self.questions
        own = self.dataset or "coco"
        for folder in (root / "pope", root / "pope" / own, root, root / own):
            found = sorted(
                path
                for suffix in ("json", "jsonl")
                for path in folder.glob(f"{self.dataset or ''}*pope*{self.split}.{suffix}")
            )
            if self.dataset is None and len(found) > 1:
                found = [path for path in found if path.name.startswith("coco")] or found
            if len(found) == 1:
                return found[0]
            if found:
                names = ", ".join(path.name for path in found)
                raise DataError(
                    f"holds several question files for the split {self.split!r} ({names}): "
                    "say which with the option 'dataset' or 'questions'",
                    path=folder,
                )
        raise DataError(
            f"no question file for the split {self.split!r}."
            f"{close_matches(self.split, SPLITS)} Expected "
            f"pope/{self.dataset or '*'}_pope_{self.split}.json, or name it with the option "
            "'questions'",
            path=root,
        )

    def data_files(self) -> list[Path]:
        """The question file."""
        return [self.question_file()]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per question of the split."""
        path = self.question_file()
        questions = read_pope_questions(path)
        if any(question.category for question in questions):
            categories = sorted({question.category for question in questions})
            questions = [question for question in questions if question.category == self.split]
            if not questions:
                raise DataError(
                    f"no question of the category {self.split!r}; the file has {categories}",
                    path=path,
                )
        samples: list[Sample] = []
        for question in questions:
            source = f"{path}:{question.line}"
            samples += self.one_sample(
                problems,
                id=str(question.question_id),
                image=question.image,
                question=question.text,
                target=question.label,
                source=source,
            )
        return samples

    def metric(self) -> CountMetric:
        """POPE's figures under `parser`."""
        return METRICS.build("pope", parser=self.parser)
