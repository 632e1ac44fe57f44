"""What an exported task asks this package when lmms-eval runs it: pictures, targets, figures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lvlmsal.metrics.base import CountMetric
from lvlmsal.registry import BENCHMARKS


def identifier(figure: str) -> str:
    """A figure's name as one of Python, ``score_existence`` for ``score/existence``."""
    return re.sub(r"\W+", "_", figure)


class ExportedTask:
    """A benchmark that was written as a task of lmms-eval.

    Its documents hold `id`, `question`, `images` (paths, relative ones from the task's folder) and
    `target` as JSON.

    Args:
        folder: Of the task.
        benchmark: Registered name.
        options: Of the benchmark; its metric depends on them.
    """

    def __init__(self, folder: str | Path, benchmark: str, options: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.metric: CountMetric = BENCHMARKS.build(benchmark, **options).metric()

    def pictures(self, doc: Mapping[str, Any]) -> list[Image.Image]:
        """The images of a document."""
        return [Image.open(self.folder / name).convert("RGB") for name in doc["images"]]

    def target(self, doc: Mapping[str, Any]) -> str:
        """The target as text, for logs."""
        found = json.loads(doc["target"])
        return found if isinstance(found, str) else str(doc["target"])

    def results(self, doc: Mapping[str, Any], answers: Sequence[str]) -> dict[str, Any]:
        """What `figure` needs of one answer, under the identifier of each figure."""
        kept = {"id": doc["id"], "answer": answers[0], "target": doc["target"]}
        return dict.fromkeys(map(identifier, self.metric.figure_info), kept)

    def figure(self, name: str, kept: Sequence[Mapping[str, Any]]) -> float:
        """A figure over all documents."""
        answers = [str(each["answer"]) for each in kept]
        targets = [json.loads(each["target"]) for each in kept]
        return float(self.metric.score(answers, targets)[name])
