"""CHAIR: caption files scored against annotations in the layout of COCO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.answers.answer_files import read_captions
from lvlmsal.benchmarks.chair.counts import ground_truth_objects
from lvlmsal.benchmarks.chair.metric import ChairMetric
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers
from lvlmsal.readers.coco import read_coco_objects
from lvlmsal.readers.rows import listed
from lvlmsal.registry import SCORERS


@SCORERS.register("chair")
@dataclass(kw_only=True)
class ChairScorer(Scorer):
    """Captions of images with annotations in the layout of COCO.

    Args:
        annotations: Folder of annotations, see `lvlmsal.readers.coco.read_coco_objects`.
        captions: Caption file: JSON lines, an array, or the original script's own object.
        vocabulary: Vocabulary file; by default this library's own list of the COCO objects.
        singularizer: How a vocabulary file is read: auto (as the original script), original,
            wordnet (as OPERA and PAI), none.
        image_id_key: Key of the image's id or of its file name.
        caption_key: Key of the caption.
        seed: Seed of the intervals.

    Raises:
        UnsupportedError: The extra ``chair`` is needed and missing.
    """

    summary: ClassVar[str] = "Captions of COCO images: CHAIR_S, CHAIR_I, recall."
    paper: ClassVar[str] = "Rohrbach et al., Object Hallucination in Image Captioning, EMNLP 2018"
    url: ClassVar[str] = "https://github.com/LisaAnne/Hallucination"

    annotations: Path
    captions: Path
    vocabulary: Path | None = None
    singularizer: Literal["auto", "original", "wordnet", "none"] = "auto"
    image_id_key: str = "image_id"
    caption_key: str = "caption"
    seed: int = 0

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; ``variant`` says which words were counted under which rule."""
        metric = ChairMetric(
            vocabulary="coco" if self.vocabulary is None else str(self.vocabulary),
            singularizer=self.singularizer,
        )
        truth = read_coco_objects(self.annotations)
        given = read_captions(
            self.captions,
            truth.instances.keys() | truth.captions.keys(),
            image_id_key=self.image_id_key,
            caption_key=self.caption_key,
        )
        # ids in annotations are numbers, and only known ids pass
        images = [image for image in given if isinstance(image, int)]
        objects = [
            ground_truth_objects(
                truth.instances.get(image, set()), truth.captions.get(image, []), metric.words
            )
            for image in images
        ]
        rows = metric.rows([given[image] for image in images], objects)
        warnings = []
        if bare := [image for image in images if image not in truth.captions]:
            warnings.append(
                f"{len(bare)} images have no reference captions, only annotated objects: "
                f"{listed(bare)}"
            )
        annotated = set().union(*(truth.instances.get(image, set()) for image in images))
        known = set(metric.words.names)
        if strange := sorted(n for n in annotated if metric.words.canonical(n) not in known):
            warnings.append(
                f"{len(strange)} annotated objects are not in the vocabulary, so no caption can "
                f"mention them: {listed(strange)}"
            )
        return {
            "metric": "chair",
            "variant": metric.variant,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, images, self.seed),
            "annotations": list(truth.sources),
            "warnings": warnings,
        }
