"""Caption files scored against reference captions in the layout of COCO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.answers.answer_files import read_captions
from lvlmsal.benchmarks.captions.metric import CaptionsMetric
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers
from lvlmsal.readers.coco import read_coco_captions
from lvlmsal.registry import SCORERS


@SCORERS.register("captions")
@dataclass(kw_only=True)
class CaptionsScorer(Scorer):
    """Captions of images with reference captions.

    Args:
        annotations: File of reference captions, such as captions_val2014.json.
        captions: Caption file: JSON lines or an array.
        tokenizer: plain, or ptb for that of COCO's evaluation, which needs Java.
        image_id_key: Key of the image's id or of its file name.
        caption_key: Key of the caption.
        seed: Seed of the intervals.

    Raises:
        UnsupportedError: The extra ``captions``, or Java, is needed and missing.
    """

    summary: ClassVar[str] = "Captions of COCO images: CIDEr-D, BLEU, ROUGE-L."
    paper: ClassVar[str] = "Vedantam et al., CIDEr, CVPR 2015"
    url: ClassVar[str] = "https://github.com/salaniz/pycocoevalcap"

    annotations: Path
    captions: Path
    tokenizer: Literal["plain", "ptb"] = "plain"
    image_id_key: str = "image_id"
    caption_key: str = "caption"
    seed: int = 0

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; the evaluated set are the images with a caption in the file."""
        metric = CaptionsMetric(tokenizer=self.tokenizer)
        truth = read_coco_captions(self.annotations)
        given = read_captions(
            self.captions,
            truth.captions.keys(),
            image_id_key=self.image_id_key,
            caption_key=self.caption_key,
        )
        # ids in annotations are numbers, and only known ids pass; sorted, since the order of the
        # file must not change a sum
        images = sorted(image for image in given if isinstance(image, int))
        rows = metric.rows(
            [given[image] for image in images], [truth.captions[image] for image in images]
        )
        warnings = []
        if len(images) == 1:
            warnings.append(
                "CIDEr is undefined for one image: no n-gram distinguishes it from others; "
                "pycocoevalcap would say 0"
            )
        if rest := len(truth.captions) - len(images):
            warnings.append(
                f"{rest} images of the annotations have no caption and are left out; n-grams are "
                f"weighed over the {len(images)} others"
            )
        return {
            "metric": "captions",
            "variant": metric.variant,
            **numbers(metric, rows),
            "intervals": bounds(metric, rows, images, self.seed),
            "annotations": list(truth.sources),
            "warnings": warnings,
        }
