"""CHAIR as a metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from lvlmsal.benchmarks.chair.counts import COUNT_NAMES, chair_counts, chair_figures
from lvlmsal.errors import ConfigError
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.registry import METRICS


def load_vocabulary(
    vocabulary: str = "coco", singularizer: Literal["auto", "original", "wordnet", "none"] = "auto"
) -> Vocabulary:
    """The vocabulary that two options name.

    Args:
        vocabulary: ``"coco"`` for this library's own list, or the path of a file.
        singularizer: How a file is read, see `lvlmsal.metrics.text.vocabulary.Vocabulary.read`;
            ``"auto"`` is ``"original"`` for a file. The own list lists its plurals: ``"none"``.

    Returns:
        The vocabulary.

    Raises:
        ConfigError: The own list was asked for with ``"original"`` or ``"wordnet"``.
        DataError: The file is missing or not a vocabulary.
        UnsupportedError: The extra ``chair``, or nltk's data, is needed and missing.

    Example:
        >>> load_vocabulary().variant
        "COCO objects, lvlmsal's own list 1, words as listed"
    """
    if vocabulary != "coco":
        return Vocabulary.read(vocabulary, "original" if singularizer == "auto" else singularizer)
    if singularizer in ("original", "wordnet"):
        raise ConfigError(
            [
                "vocabulary 'coco' lists the plurals of its words and takes no singularizer; for "
                "the scripts' rules give the path of a synonyms.txt as vocabulary"
            ]
        )
    return Vocabulary.coco()


@METRICS.register("chair")
@dataclass(eq=False)
class ChairMetric(CountMetric):
    """Objects that captions mention although they are not in the image.

    An image that failed, and so has no caption, adds nothing to any figure: there is no text in
    which to look for objects. The results say how many these are.

    Targets are collections of the names of the objects that are there; `ground_truth_objects` of
    `lvlmsal.benchmarks.chair.counts` makes them from annotations and reference captions. The
    figures are those of `chair_figures` there, as fractions.

    Args:
        vocabulary: ``"coco"`` for this library's own list of words, or the path of a vocabulary
            file, such as the original script's ``synonyms.txt``.
        singularizer: How a vocabulary file is read: ``"original"`` as that script does,
            ``"wordnet"`` as OPERA, PAI and lmms-eval do, ``"none"`` as a list of all forms;
            ``"auto"`` is ``"original"`` for a file.

    Raises:
        ConfigError: The options contradict each other.
        DataError: The vocabulary file is missing or not a vocabulary.
        UnsupportedError: The extra ``chair``, or nltk's data, is needed and missing.

    Example:
        >>> metric = ChairMetric()
        >>> figures = metric.score(["A dog and a cat.", "A red bus."], [{"dog"}, {"bus"}])
        >>> {name: round(figures[name].item(), 3) for name in ("chair_s", "chair_i", "recall")}
        {'chair_s': 0.5, 'chair_i': 0.333, 'recall': 1.0}
    """

    summary: ClassVar[str] = "objects in captions that are not in the image: CHAIR_S, CHAIR_I"
    paper: ClassVar[str] = "Object Hallucination in Image Captioning"
    url: ClassVar[str] = "https://github.com/LisaAnne/Hallucination"
    count_names: ClassVar[tuple[str, ...]] = COUNT_NAMES
    figure_info: ClassVar[dict[str, bool | None]] = {
        "chair_s": False,
        "chair_i": False,
        "recall": True,
        "precision": True,
        "f1": True,
        "length": None,
        "n_captions": None,
        "n_mentions": None,
        "n_hallucinated": False,
        "covered": True,
        "gt_objects": None,
        "captions_without_objects": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("chair_s", "CHAIR_S"),
        Column("chair_i", "CHAIR_I"),
        Column("recall", "recall"),
        Column("length", "length", percent=False),
    )
    # chair_i and recall are not proportions of independent trials: the mentions of one caption
    # stand or fall together, so their intervals come from resampling captions
    rates: ClassVar[dict[str, tuple[str, str]]] = {
        "chair_s": ("hallucinated_captions", "captions"),
    }

    vocabulary: str = "coco"
    singularizer: Literal["auto", "original", "wordnet", "none"] = "auto"

    def __post_init__(self) -> None:
        self.words = load_vocabulary(self.vocabulary, self.singularizer)

    @property
    def variant(self) -> str:
        """Which list of words and which rule; figures of different variants do not compare."""
        return self.words.variant

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `lvlmsal.benchmarks.chair.counts.chair_counts`; targets are collections of names."""
        return chair_counts(answers, targets, self.words)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `lvlmsal.benchmarks.chair.counts.chair_figures`."""
        return chair_figures(counts)
