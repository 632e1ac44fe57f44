"""A benchmark in one file: which color has the image? With its metric and its scorer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.scorer import Scorer, numbers
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.readers.rows import read_json_rows
from lvlmsal.registry import METRICS


@dataclass(eq=False)
class TintMetric(CountMetric):
    """Share of the answers that name the color; tables do not show their length."""

    summary: ClassVar[str] = "share of the answers that name the color"
    count_names: ClassVar[tuple[str, ...]] = ("n", "named", "words")
    figure_info: ClassVar[dict[str, bool | None]] = {"named": True, "length": None}
    columns: ClassVar[tuple[Column, ...]] = (Column("named", "color named"),)
    rates: ClassVar[dict[str, tuple[str, str]]] = {"named": ("named", "n")}

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """One row (1, named or not, number of words) for each answer."""
        texts = [answer.lower().split() for answer in answers]
        rows = [[1, t in words, len(words)] for words, t in zip(texts, targets, strict=True)]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """The share, and words in an answer; nan where there is no answer."""
        n, named, words = counts.unbind(-1)
        return {"named": named / n, "length": words / n}


@dataclass(eq=False, kw_only=True)
class Tint(Benchmark):
    """Which color has the image?

    Expected layout::

        root/tints.jsonl        lines: image, color
        root/...                images
    """

    summary: ClassVar[str] = "Which color has the image?"
    examples: ClassVar[tuple[tuple[str, Any], ...]] = (("", "red"), ("", "blue"))
    prompt: str = "Which color is it?"

    def data_files(self) -> list[Path]:
        """The one file of questions."""
        return [Path(self.root) / "tints.jsonl"]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample a line."""
        samples = []
        for row in read_json_rows(self.data_files()[0]):
            name, source = row.text("image"), f"{row.path}:{row.line}"
            samples += self.one_sample(
                problems, id=name, image=name, target=row.text("color"), source=source
            )
        return samples

    def metric(self) -> CountMetric:
        """Its own."""
        return METRICS.build("tint")


@dataclass(kw_only=True)
class TintScorer(Scorer):
    """Answers of any tool: lines with image and answer.

    Args:
        root: Folder of the benchmark.
        answers: The answer file.
    """

    summary: ClassVar[str] = "Answers to tints.jsonl."

    root: Path
    answers: Path

    def score(self) -> dict[str, Any]:
        """Match by image, never by order."""
        given = {row.text("image"): row.text("answer") for row in read_json_rows(self.answers)}
        asked = Tint(root=str(self.root)).samples()
        metric = TintMetric()
        rows = metric.rows([given[s.id] for s in asked], [s.target for s in asked])
        return {"metric": "tint", **numbers(metric, rows)}
