"""What the records of a run say was asked: only that belongs to it, whatever else was planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from lvlmsal.evaluation.results.records import Record


@dataclass(frozen=True)
class Begun:
    """The part of a run that has records.

    A model, method, benchmark or seed that was added to a run and failed to load, say, has none: it
    may be corrected or left out again.

    Attributes:
        models: Names of the models.
        methods: Names of the methods.
        benchmarks: Labels of the benchmarks.
        cells: Digests of the cells.
        answered: Ids of the samples that were answered by any model with any method, by label of
            their benchmark. Nothing was said about the images of the others.
    """

    models: frozenset[str]
    methods: frozenset[str]
    benchmarks: frozenset[str]
    cells: frozenset[str]
    answered: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """What records belong to.

        Args:
            records: All records of the run.
        """
        found = list(records)
        answered: dict[str, set[str]] = {}
        for record in found:
            if record["status"] == "ok":
                answered.setdefault(record["benchmark"], set()).add(record["sample_id"])
        return cls(
            models=frozenset(record["model"] for record in found),
            methods=frozenset(record["method"] for record in found),
            benchmarks=frozenset(record["benchmark"] for record in found),
            cells=frozenset(record["key"].split("/", 1)[0] for record in found),
            answered={label: frozenset(ids) for label, ids in answered.items()},
        )
