"""AMBER as two metrics: of descriptions and of answers to yes-or-no questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.benchmarks.amber.discriminative_counts import (
    AMBER_GROUPS,
    DISCRIMINATIVE_COUNTS,
    amber_discriminative_counts,
    amber_discriminative_figures,
    amber_parser,
)
from lvlmsal.benchmarks.amber.files import read_amber_relation, read_amber_safe_words
from lvlmsal.benchmarks.amber.generative_counts import (
    GENERATIVE_COUNTS,
    amber_generative_counts,
    amber_generative_figures,
)
from lvlmsal.benchmarks.amber.nouns import AmberVariant, ListedNouns, OfficialNouns
from lvlmsal.errors import ConfigError
from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.columns import Column
from lvlmsal.progress import track
from lvlmsal.registry import METRICS

_PAPER = "AMBER: An LLM-free Multi-dimensional Benchmark for MLLMs Hallucination Evaluation"
_URL = "https://github.com/junyangwang0410/AMBER"


@METRICS.register("amber-generative")
@dataclass(eq=False)
class AmberGenerativeMetric(CountMetric):
    """Words of descriptions that the image does not hold: CHAIR, Cover, Hal and Cog.

    Targets are mappings with ``truth`` and ``hallu``, lists of words. The figures are those of
    `amber_generative_figures`: fractions, and under ``official/`` what the official script prints.

    Args:
        relation: Path of ``relation.json``: AMBER's words and what stands for them.
        safe_words: Path of ``safe_words.txt``; without it no word is safe.
        variant: How nouns are found: ``official`` as the official script does, which needs NLTK and
            spaCy with their data; ``words`` looks for the words of `relation` and needs nothing.
            Figures of the two do not compare.

    Raises:
        DataError: A file is missing or broken.
        UnsupportedError: The official way needs what is not installed; it is never replaced.
    """

    summary: ClassVar[str] = "words in descriptions that the image does not hold: AMBER's CHAIR ..."
    paper: ClassVar[str] = _PAPER
    url: ClassVar[str] = _URL
    count_names: ClassVar[tuple[str, ...]] = GENERATIVE_COUNTS
    figure_info: ClassVar[dict[str, bool | None]] = {
        "chair": False,
        "cover": True,
        "hal": False,
        "cog": False,
        "official/chair": False,
        "official/cover": True,
        "official/hal": False,
        "official/cog": False,
        "n_responses": None,
        "n_mentions": None,
        "n_hallucinated": False,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("chair", "CHAIR"),
        Column("cover", "Cover"),
        Column("hal", "Hal"),
        Column("cog", "Cog"),
    )
    # the words of one description stand or fall together, so the others are resampled
    rates: ClassVar[dict[str, tuple[str, str]]] = {"hal": ("hallucinated_responses", "responses")}

    relation: str
    safe_words: str | None = None
    variant: AmberVariant = "official"

    def __post_init__(self) -> None:
        if self.variant not in ("official", "words"):
            raise ConfigError([f"variant must be 'official' or 'words', got {self.variant!r}"])
        self.words = read_amber_relation(self.relation)
        self.safe = read_amber_safe_words(self.safe_words) if self.safe_words else frozenset()
        self.reading: OfficialNouns | ListedNouns
        is_official = self.variant == "official"
        self.reading = OfficialNouns() if is_official else ListedNouns.of(self.words)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `lvlmsal.benchmarks.amber.generative_counts.amber_generative_counts`."""
        nouns = [self.reading.nouns(answer) for answer in track(answers, "descriptions")]
        return amber_generative_counts(nouns, targets, self.words, self.safe, self.reading.similar)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `lvlmsal.benchmarks.amber.generative_counts.amber_generative_figures`."""
        return amber_generative_figures(counts)


@METRICS.register("amber-discriminative")
@dataclass(eq=False)
class AmberDiscriminativeMetric(CountMetric):
    """Answers to AMBER's questions; No is the positive class.

    Targets are mappings with ``dimension`` (existence, state, number, action or relation) and
    ``label`` (yes or no). The figures are those of `amber_discriminative_figures`: fractions, and
    under ``official/`` what the official script prints. A question without an answer counts as
    wrong.

    Args:
        parser: Name of the rule that reads the answers: ``official`` takes exactly Yes or No,
            ``strict`` the first word in any case; see `AMBER_PARSERS`.

    Raises:
        UnknownName: No rule has that name.

    Example:
        >>> target = {"dimension": "state", "label": "no"}
        >>> targets = [target, target, {**target, "label": "yes"}]
        >>> figures = AmberDiscriminativeMetric().score(["No", "No.", "Yes"], targets)
        >>> [round(figures[name].item(), 3) for name in ("accuracy", "f1", "unparsed")]
        [0.667, 0.667, 1.0]
    """

    summary: ClassVar[str] = "AMBER's yes-or-no questions, with no as the positive class"
    paper: ClassVar[str] = _PAPER
    url: ClassVar[str] = _URL
    count_names: ClassVar[tuple[str, ...]] = DISCRIMINATIVE_COUNTS
    figure_info: ClassVar[dict[str, bool | None]] = {
        **dict.fromkeys(("accuracy", "precision", "recall", "f1"), True),
        **{f"official/{name}": True for name in ("accuracy", "precision", "recall", "f1")},
        **{
            f"{figure}/{group}": True
            for figure in ("accuracy", "f1", "official/f1")
            for group in AMBER_GROUPS
            if group
        },
        "unparsed": False,
        "n": None,
    }
    columns: ClassVar[tuple[Column, ...]] = (
        Column("accuracy", "accuracy"),
        Column("f1", "F1"),
        Column("f1/existence", "existence F1"),
        Column("f1/attribute", "attribute F1"),
        Column("f1/relation", "relation F1"),
        Column("unparsed", "unparsed", percent=False, bare=True),
    )
    rates: ClassVar[dict[str, tuple[str, str]]] = {
        "accuracy": ("correct", "n"),
        "precision": ("right_no", "said_no"),
        "recall": ("right_no", "gold_no"),
    }

    parser: str = "official"

    def __post_init__(self) -> None:
        amber_parser(self.parser)

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """See `lvlmsal.benchmarks.amber.discriminative_counts.amber_discriminative_counts`."""
        return amber_discriminative_counts(answers, targets, self.parser)

    def failed_rows(self, targets: Sequence[Any]) -> Tensor:
        """Wrong answers that say neither yes nor no."""
        rows = self.rows([""] * len(targets), targets)
        rows[:, DISCRIMINATIVE_COUNTS.index("unparsed")] = 0
        return rows

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        """See `lvlmsal.benchmarks.amber.discriminative_counts.amber_discriminative_figures`."""
        return amber_discriminative_figures(counts)
