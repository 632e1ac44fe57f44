"""Whether the records of a folder are those of its run: no stray line is scored, none is missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

from lvlmsal.errors import DataError
from lvlmsal.evaluation.results.records import Line, Record
from lvlmsal.evaluation.results.schema import Unfinished, UnfinishedCell


@dataclass(frozen=True)
class Wanted:
    """What one cell of a run asks for.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        benchmark: Label of the benchmark.
        seed: Seed of the answers.
        count: How many samples there are.
        ids: Their ids; None where they are not known.
    """

    model: str
    method: str
    benchmark: str
    seed: int
    count: int
    ids: Set[str] | None


def check_belonging(lines: Mapping[str, Line], wanted: Mapping[str, Wanted], source: str) -> None:
    """Stop at records that the run has not asked for.

    Args:
        lines: The records by key.
        wanted: The cells of the run, by digest.
        source: What does not have the settings of the others, for the message.

    Raises:
        DataError: There are some; it names file and line of the first.
    """
    strange = [line for key, line in lines.items() if key.split("/", 1)[0] not in wanted]
    if strange:
        named = [line.record for line in strange]
        whose = Counter(f"{r['model']} with {r['method']} on {r['benchmark']}" for r in named)
        listed = "\n".join(f"  {count} of {name}" for name, count in whose.items())
        raise DataError(
            f"this is the first of {len(strange)} answers that were given under settings which "
            f"{source} does not have:\n{listed}\nEither another version of lvlmsal wrote them "
            "(environment.json says which), or the file was put together from several runs: choose "
            "another folder with output=..., or go on with that version",
            path=strange[0].path,
            line=strange[0].number,
        )
    for key, line in lines.items():
        digest, _, sample = key.partition("/")
        cell, record = wanted[digest], line.record
        if cell.ids is not None and sample not in cell.ids:
            problem = f"{cell.benchmark} has no sample {sample!r}"
        else:
            problem = _contradiction(record, sample, cell)
        if problem:
            raise DataError(
                f"is not a record of this run: {problem}. The file was edited, or put together "
                "from several runs: take the line out, or choose another folder with output=...",
                path=line.path,
                line=line.number,
            )


def _contradiction(record: Record, sample: str, cell: Wanted) -> str:
    """How a record contradicts its own key."""
    said = {
        "model": (record["model"], cell.model),
        "method": (record["method"], cell.method),
        "benchmark": (record["benchmark"], cell.benchmark),
        "sample_id": (record["sample_id"], sample),
    }
    for name, (found, value) in said.items():
        # a name that the config takes from the environment is written nowhere
        if found != value and "${" not in value:
            return f"its {name} is {found!r}, and its key belongs to {value!r}"
    return ""


def unfinished(lines: Mapping[str, object], wanted: Mapping[str, Wanted]) -> Unfinished | None:
    """How much of a run is still to be answered.

    Args:
        lines: What is there, by key; a sample that failed counts as answered.
        wanted: The cells of the run, by digest.

    Returns:
        ``answers``, ``expected``, and ``cells``, of which each says the same of one model with one
        method on one benchmark; None where everything is there.
    """
    there = Counter(key.split("/", 1)[0] for key in lines)
    cells: list[UnfinishedCell] = [
        {
            "model": cell.model,
            "method": cell.method,
            "benchmark": cell.benchmark,
            "seed": cell.seed,
            "answers": there[digest],
            "expected": cell.count,
        }
        for digest, cell in wanted.items()
        if there[digest] < cell.count
    ]
    if not cells:
        return None
    expected = sum(cell.count for cell in wanted.values())
    return {"answers": len(lines), "expected": expected, "cells": cells}
