"""Captions of images with reference captions, such as COCO's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.coco import read_coco_captions
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("captions")
@dataclass(eq=False, kw_only=True)
class Captions(Benchmark):
    """Images with reference captions in the layout of COCO (Chen et al. 2015).

    Expected layout, for COCO::

        root/annotations/captions_val2014.json
        root/val2014/COCO_val2014_000000000042.jpg ...

    Published figures are mostly of the 5000 images of Karpathy's test split: list their ids or
    file names in a file and name it with ``subset``. Needs the extra ``captions``.

    Args:
        annotations: File of the reference captions, absolute or relative to `root`.
        tokenizer: ``plain``, or ``ptb`` for that of COCO's evaluation, which needs Java.
    """

    summary: ClassVar[str] = "Captions against those of people: CIDEr-D, BLEU, ROUGE-L."
    paper: ClassVar[str] = "Chen et al., Microsoft COCO Captions, 2015"
    url: ClassVar[str] = "https://arxiv.org/abs/1504.00325"
    examples: ClassVar[tuple[tuple[str, Any], ...]] = (
        ("", ["a dog runs"]),
        ("", ["two birds fly", "birds in the sky"]),
    )

    prompt: str = "Provide a one-sentence caption for the provided image."
    max_new_tokens: int = 64
    annotations: str = "annotations/captions_val2014.json"
    tokenizer: Literal["plain", "ptb"] = "plain"

    def data_files(self) -> list[Path]:
        """The file of the reference captions."""
        return [Path(self.root) / self.annotations]

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per image with captions, in ascending order of its id."""
        (path,) = self.data_files()
        truth = read_coco_captions(path)
        samples: list[Sample] = []
        for image_id in sorted(truth.captions):
            if image_id not in truth.files:
                problems.append(f"{path}: the list 'images' does not name a file of {image_id}")
                continue
            samples += self.one_sample(
                problems,
                id=str(image_id),
                image=truth.files[image_id],
                target=truth.captions[image_id],
                group=str(image_id),
                source=str(path),
            )
        return samples

    def metric(self) -> CountMetric:
        """CIDEr-D and its company with `tokenizer`."""
        return METRICS.build("captions", tokenizer=self.tokenizer)
