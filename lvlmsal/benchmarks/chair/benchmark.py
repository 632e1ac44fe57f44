"""CHAIR: which objects a description mentions that the image does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.benchmarks.chair.counts import ground_truth_objects
from lvlmsal.benchmarks.chair.metric import load_vocabulary
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.coco import read_coco_objects
from lvlmsal.readers.rows import normal_id, read_text
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("chair")
@dataclass(eq=False, kw_only=True)
class Chair(Benchmark):
    """Descriptions of images with COCO-style annotations (Rohrbach et al. 2018).

    Expected layout, for COCO::

        root/annotations/instances_val2014.json     and captions_val2014.json; parts are merged
        root/val2014/COCO_val2014_000000000042.jpg ...

    Scene worlds have ``root/annotations/{instances,captions}.json`` and ``root/images``, that of
    shapes also ``root/vocabulary.txt``. The objects of an image are its annotated categories
    together with those that its reference captions mention, as in the original script.

    Args:
        annotations: Folder of the annotation files, absolute or relative to `root`.
        vocabulary: Synonym file (absolute or relative to `root`), or ``coco`` for the built-in
            list; ``auto`` is ``root/vocabulary.txt`` where there is one and ``coco`` otherwise.
        singularizer: How a vocabulary file is read: ``original`` as the original script does (needs
            the extra ``chair``), ``wordnet`` as OPERA, PAI and lmms-eval do (needs nltk's data
            too), ``none`` as a list of all forms; ``auto`` is ``none`` for
            ``root/vocabulary.txt`` found by ``vocabulary: auto`` and ``original`` for other files.
        ids: Text file with one image id or file name per line, to use a published subset in
            its order; by default every annotated image in ascending order of its id.
    """

    summary: ClassVar[str] = "Descriptions, searched for objects that are not in the image."
    paper: ClassVar[str] = "Rohrbach et al., Object Hallucination in Image Captioning, EMNLP 2018"
    url: ClassVar[str] = "https://arxiv.org/abs/1809.02156"
    examples: ClassVar[tuple[tuple[str, Any], ...]] = (("", ["dog"]), ("", ["car", "person"]))

    prompt: str = "Please describe this image in detail."
    max_new_tokens: int = 512
    annotations: str = "annotations"
    vocabulary: str = "auto"
    singularizer: Literal["auto", "original", "wordnet", "none"] = "auto"
    ids: str | None = None

    def vocabulary_file(self) -> Path | None:
        """The synonym file, or None for the built-in COCO list."""
        root = Path(self.root)
        if self.vocabulary == "coco":
            return None
        if self.vocabulary == "auto":
            path = root / "vocabulary.txt"
            return path if path.is_file() else None
        return root / self.vocabulary

    def data_files(self) -> list[Path]:
        """Annotation files, the synonym file and the list of ids, as far as they are used."""
        folder = Path(self.root) / self.annotations
        truth = read_coco_objects(folder)
        files = [folder / name for name in truth.sources]
        vocabulary = self.vocabulary_file()
        if vocabulary is not None:
            files.append(vocabulary)
        if self.ids is not None:
            files.append(Path(self.root) / self.ids)
        return files

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per annotated image."""
        folder = Path(self.root) / self.annotations
        truth = read_coco_objects(folder)
        path = self.vocabulary_file()
        vocabulary = load_vocabulary(str(path or "coco"), self._rule())
        samples: list[Sample] = []
        for image_id, source in self._chosen(truth.files, folder, problems):
            target = ground_truth_objects(
                truth.instances.get(image_id, ()), truth.captions.get(image_id, ()), vocabulary
            )
            samples += self.one_sample(
                problems,
                id=str(image_id),
                image=truth.files[image_id],
                target=sorted(target),
                group=str(image_id),
                source=source,
            )
        return samples

    def metric(self) -> CountMetric:
        """CHAIR's figures with the vocabulary of the options."""
        path = self.vocabulary_file()
        return METRICS.build("chair", vocabulary=str(path or "coco"), singularizer=self._rule())

    def _rule(self) -> Literal["auto", "original", "wordnet", "none"]:
        """How the vocabulary is read; the scene world's own file lists every form of its words."""
        if self.singularizer == "auto" and self.vocabulary == "auto" and self.vocabulary_file():
            return "none"
        return self.singularizer

    def _chosen(
        self, files: dict[int, str], folder: Path, problems: list[str]
    ) -> list[tuple[int, str]]:
        """Image ids to use, each with where it was asked for."""
        if self.ids is None:
            return [(image_id, str(folder)) for image_id in sorted(files)]
        path = Path(self.root) / self.ids
        by_name = {name: image_id for image_id, name in files.items()}
        chosen = []
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            entry = line.strip()
            if not entry:
                continue
            image_id = by_name.get(entry, normal_id(entry))
            if isinstance(image_id, int) and image_id in files:
                chosen.append((image_id, f"{path}:{number}"))
            else:
                problems.append(
                    f"{path}:{number}: {entry!r} is neither an image id nor a file name of the "
                    f"annotations in {folder}"
                )
        return chosen
