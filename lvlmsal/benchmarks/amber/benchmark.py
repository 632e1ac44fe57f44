"""AMBER: descriptions of images, and yes-no questions on what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from lvlmsal.benchmarks.amber.files import (
    AmberItem,
    read_amber_annotations,
    read_amber_queries,
    read_amber_relation,
    unknown_amber_words,
)
from lvlmsal.benchmarks.amber.nouns import AmberVariant
from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.metrics.base import CountMetric
from lvlmsal.readers.rows import listed
from lvlmsal.registry import BENCHMARKS, METRICS

AmberPart = Literal[
    "generative",
    "discriminative",
    "discriminative-existence",
    "discriminative-attribute",
    "discriminative-relation",
]

_COUNTS: Final = {
    "generative": 1004,
    "discriminative": 14216,
    "discriminative-existence": 4924,
    "discriminative-attribute": 7628,
    "discriminative-relation": 1664,
}


@BENCHMARKS.register("amber")
@dataclass(eq=False, kw_only=True)
class Amber(Benchmark):
    """Descriptions and yes-no questions with their images (Wang et al. 2023).

    Expected layout, which is the folder ``data`` of the AMBER repository with the images::

        root/query/query_generative.json       and query_discriminative.json, ...-attribute.json ...
        root/annotations.json                  truth by id
        root/relation.json                     words, and what stands for them
        root/safe_words.txt
        root/image/AMBER_1.jpg ...             or root/images

    `root` may also be the folder that holds ``data``.

    Args:
        part: ``generative`` for descriptions; ``discriminative`` for all questions, or one kind of
            them: ``discriminative-existence``, ``-attribute``, ``-relation``.
        variant: How nouns are found in descriptions: ``official`` (needs NLTK and spaCy with their
            data) or ``words`` (needs nothing; figures do not compare with published ones).
        parser: Rule that reads yes or no from an answer: ``official`` (exactly Yes or No),
            ``lmms-eval``, ``vlmevalkit`` or ``strict``.
    """

    summary: ClassVar[str] = "Descriptions and yes-no questions: AMBER, by existence, attribute ..."
    paper: ClassVar[str] = "Wang et al., AMBER: An LLM-free Multi-dimensional Benchmark, 2023"
    url: ClassVar[str] = "https://github.com/junyangwang0410/AMBER"
    image_folders: ClassVar[tuple[str, ...]] = ("image", "images", "data/image", "data/images")
    expected: ClassVar[dict[str, dict[str, int]]] = {
        "amber/generative": {"samples": 1004, "images": 1004},
        **{
            f"amber/{part}": {"samples": count}
            for part, count in _COUNTS.items()
            if part != "generative"
        },
    }

    part: AmberPart = "generative"
    variant: AmberVariant = "official"
    parser: str = "official"
    max_new_tokens: int = 512

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: There is no such part.
        """
        super().__post_init__()
        if self.part not in _COUNTS:
            raise ValueError(f"part must be one of {', '.join(_COUNTS)}, got {self.part!r}")

    @property
    def label(self) -> str:
        """``amber/`` and the part."""
        return f"{self.name}/{self.part}"

    @property
    def folder(self) -> Path:
        """The folder of the files: `root`, or ``data`` in it."""
        root = Path(self.root)
        inside = root / "data"
        return inside if (inside / "annotations.json").is_file() else root

    def query_file(self) -> Path:
        """The query file of the part."""
        return self.folder / "query" / f"query_{self.part}.json"

    def data_files(self) -> list[Path]:
        """The queries, the annotations, and for descriptions the lists of words."""
        names = ["annotations.json"]
        if self.part == "generative":
            names += ["relation.json", "safe_words.txt"]
        return [self.query_file(), *(self.folder / name for name in names)]

    def problems(self) -> list[str]:
        """What is wrong with the files, and what the metric lacks.

        That has to be said before hours of answering, not after them; reading the files does not
        need it.
        """
        found = super().problems()
        if self.part == "generative" and not found:
            try:
                self.metric()
            except ConfigError as error:
                found.append(str(error))
        return found

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per query of the part."""
        path = self.query_file()
        truth = self.folder / "annotations.json"
        items = read_amber_annotations(truth)
        relation = {}
        if self.part == "generative":
            relation = read_amber_relation(self.folder / "relation.json")
        samples: list[Sample] = []
        for query in read_amber_queries(path):
            source = f"{path}:{query.line}"
            try:
                item = self._item(query.id, items, source)
            except DataError as error:
                problems.append(str(error))
                continue
            if self.part == "generative" and (words := unknown_amber_words(item, relation)):
                problems.append(f"{truth}:{item.line}: not in relation.json: {listed(words)}")
            samples += self.one_sample(
                problems,
                id=str(query.id),
                image=query.image,
                question=query.text,
                target=amber_target(item),
                source=source,
            )
        return samples

    def metric(self) -> CountMetric:
        """AMBER's figures of the part."""
        if self.part == "generative":
            return METRICS.build(
                "amber-generative",
                relation=str(self.folder / "relation.json"),
                safe_words=str(self.folder / "safe_words.txt"),
                variant=self.variant,
            )
        return METRICS.build("amber-discriminative", parser=self.parser)

    def _item(self, number: int, items: dict[int, AmberItem], source: str) -> AmberItem:
        item = items.get(number)
        if item is None:
            raise DataError(f"{source}: there is no annotation with the id {number}")
        if (item.dimension == "generative") != (self.part == "generative"):
            raise DataError(
                f"{source}: the annotation with the id {number} is of {item.dimension!r}, which "
                f"does not belong to the part {self.part!r}"
            )
        return item


def amber_target(item: AmberItem) -> dict[str, Any]:
    """What the metrics have to know of a query."""
    if item.dimension == "generative":
        return {"truth": list(item.truth), "hallu": list(item.hallu)}
    return {"dimension": item.dimension, "label": item.label}
