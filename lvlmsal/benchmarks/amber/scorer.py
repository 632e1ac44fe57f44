"""AMBER: a file of responses, scored as far as it goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from lvlmsal.benchmarks.amber.benchmark import amber_target
from lvlmsal.benchmarks.amber.discriminative_counts import (
    AMBER_GROUPS,
    AMBER_PARSERS,
    amber_group_figures,
    amber_parser,
)
from lvlmsal.benchmarks.amber.files import (
    AmberItem,
    read_amber_annotations,
    read_amber_queries,
    read_amber_relation,
    read_amber_responses,
    unknown_amber_words,
)
from lvlmsal.benchmarks.amber.metric import AmberDiscriminativeMetric, AmberGenerativeMetric
from lvlmsal.benchmarks.amber.nouns import AmberVariant
from lvlmsal.benchmarks.scorer import Scorer, bounds, numbers, or_none, rules_named
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import listed
from lvlmsal.registry import SCORERS

_KINDS: Final = ("generative", "existence", "attribute", "relation")
"""The files that AMBER has queries in: what one of them begins, it must finish."""
_SHOWN: Final = ("accuracy", "precision", "recall", "f1", "unparsed", "n")
"""What the table of rules has of the answers."""


@SCORERS.register("amber")
@dataclass(kw_only=True)
class AmberScorer(Scorer):
    """Responses to AMBER's queries: descriptions, answers, or both in one file.

    Args:
        responses: Response file: objects with id and response, in an array or in lines.
        annotations: annotations.json of AMBER.
        relation: relation.json; by default the one next to the annotations.
        safe_words: safe_words.txt; by default the one next to the annotations.
        queries: A query file that has the ids, such as query_all.json: it says which image a
            question is about, without which answers have no intervals. By default
            query/query_all.json next to the annotations, if it is there.
        variant: How nouns are found in descriptions: official (needs NLTK and spaCy with their
            data) or words (needs nothing; does not compare with published figures).
        parser: Rule that reads yes or no from an answer: official, lmms-eval, vlmevalkit, strict.
        parsers: More rules to show the answers' figures under, comma-separated; ``all`` for
            every one.
        partial: Score a file that lacks some of the queries of a kind it has.
        seed: Seed of the intervals.

    Raises:
        UnknownName: No rule has that name.
    """

    summary: ClassVar[str] = "Responses to AMBER: CHAIR, Cover, Hal, Cog, F1, and AMBER's score."
    paper: ClassVar[str] = "Wang et al., AMBER: An LLM-free Multi-dimensional Benchmark, 2023"
    url: ClassVar[str] = "https://github.com/junyangwang0410/AMBER"

    responses: Path
    annotations: Path
    relation: Path | None = None
    safe_words: Path | None = None
    queries: Path | None = None
    variant: AmberVariant = "official"
    parser: str = "official"
    parsers: str = ""
    partial: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the names of the rules."""
        amber_parser(self.parser)
        self._parsers()

    def score(self) -> dict[str, Any]:
        """See `Scorer.score`; ``categories`` holds the figures by group of questions.

        ``amber_score`` is (1 - CHAIR + F1) / 2, of complete files with both parts only;
        ``official/amber_score`` is made of the printed figures.
        """
        items = read_amber_annotations(self.annotations)
        given = read_amber_responses(self.responses, items)
        warnings = self._completeness(items, given)
        is_whole = not warnings
        result: dict[str, Any] = {"metric": "amber"}
        intervals: dict[str, Any] = {}
        described = [items[number] for number in given if items[number].dimension == "generative"]
        answered = [items[number] for number in given if items[number].dimension != "generative"]
        if described:
            result |= self._generative(described, given, intervals)
        if answered:
            result |= self._discriminative(answered, given, intervals, warnings)
        if is_whole:
            result["amber_score"] = _mean(1, result["chair"], result["f1"])
            official = (result["official/chair"], result["official/f1"])
            result["official/amber_score"] = _mean(100, *official)
        tables: dict[str, Any] = {
            name: result.pop(name) for name in ("categories", "parsers") if name in result
        }
        return {**result, "intervals": intervals, "warnings": warnings, **tables}

    def _generative(
        self, items: list[AmberItem], given: dict[int, str], intervals: dict[str, Any]
    ) -> dict[str, Any]:
        folder = self.annotations.parent
        relation = self.relation or folder / "relation.json"
        words = read_amber_relation(relation)
        for item in items:
            if unknown := unknown_amber_words(item, words):
                raise DataError(
                    f"not in {relation}: {listed(unknown)}; every word of an annotation must be",
                    path=self.annotations,
                    line=item.line,
                )
        metric = AmberGenerativeMetric(
            relation=str(relation),
            safe_words=str(self.safe_words or folder / "safe_words.txt"),
            variant=self.variant,
        )
        rows = metric.rows([given[i.id] for i in items], [amber_target(item) for item in items])
        intervals |= bounds(metric, rows, [item.id for item in items], self.seed)
        return {
            "variant": self.variant,
            "nouns": metric.reading.note,
            **numbers(metric, rows),
        }

    def _discriminative(
        self,
        items: list[AmberItem],
        given: dict[int, str],
        intervals: dict[str, Any],
        warnings: list[str],
    ) -> dict[str, Any]:
        metric = AmberDiscriminativeMetric(parser=self.parser)
        said, targets = [given[i.id] for i in items], [amber_target(item) for item in items]
        rows = metric.rows(said, targets)
        images = self._images()
        if unknown := [item.id for item in items if item.id not in images]:
            warnings.append(
                f"the answers have no intervals, because nothing says which images "
                f"{len(unknown)} of the questions are about: give a query file (--queries)"
            )
        else:
            intervals |= bounds(metric, rows, [images[item.id] for item in items], self.seed)
        counts = rows.sum(0)
        groups = {name: amber_group_figures(counts, name) for name in AMBER_GROUPS if name}
        others = {}
        for name in self._parsers():
            rule = AmberDiscriminativeMetric(parser=name)
            figures = numbers(rule, rule.rows(said, targets))
            others[name] = {figure: figures[figure] for figure in _SHOWN}
        return {
            **({"parsers": others} if others else {}),
            "parser": self.parser,
            **numbers(metric, rows),
            "categories": {
                name: {
                    figure: int(value.item()) if figure == "n" else or_none(value.item())
                    for figure, value in figures.items()
                }
                for name, figures in groups.items()
                if figures["n"]
            },
        }

    def _parsers(self) -> list[str]:
        return rules_named("parser of AMBER", self.parsers, AMBER_PARSERS)

    def _images(self) -> dict[int, str]:
        """Images by id, as far as a query file says."""
        path = self.queries
        if path is None:
            path = self.annotations.parent / "query" / "query_all.json"
            if not path.is_file():
                return {}
        return {query.id: query.image for query in read_amber_queries(path)}

    def _completeness(self, items: dict[int, AmberItem], given: dict[int, str]) -> list[str]:
        """What the figures leave out; a kind that is there in part is an error unless allowed."""
        all_of = Counter(map(_kind, items.values()))
        there = Counter(_kind(items[number]) for number in given)
        warnings = []
        for kind in _KINDS:
            if not there[kind]:
                warnings.append(f"there are no responses to the {kind} queries")
            elif there[kind] < all_of[kind]:
                missing = [n for n, item in items.items() if _kind(item) == kind and n not in given]
                text = (
                    f"{len(missing)} of {all_of[kind]} {kind} queries have no response: id "
                    f"{listed(missing)}"
                )
                if not self.partial:
                    raise DataError(f"{text}. To score the rest: --partial", path=self.responses)
                warnings.append(text)
        return warnings


def _kind(item: AmberItem) -> str:
    return "attribute" if item.dimension in AMBER_GROUPS["attribute"] else item.dimension


def _mean(full: float, chair: float | None, f1: float | None) -> float | None:
    return None if chair is None or f1 is None else (full - chair + f1) / 2
