"""The table that the analyses start from: one row for each object that an answer mentions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.analysis.labels import object_mentions
from lvlmsal.analysis.output import Cell, write_csv
from lvlmsal.analysis.scores import Values, token_scores
from lvlmsal.evaluation.run.replay import Replayed
from lvlmsal.metrics.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class MentionRow:
    """One mention of an object, with the scores of its first token.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        benchmark: Label of the benchmark.
        sample: Id of the sample.
        image: What samples about the same image share; intervals resample it.
        index: Of the mention's first token in the answer.
        sequence_position: Of that token in the sequence of prompt and answer.
        token: Its text.
        tokens: How many tokens the mention has.
        object: Name of the object.
        hallucinated: Whether it is not in the image.
        scores: See `token_scores`.
    """

    model: str
    method: str
    benchmark: str
    sample: str
    image: str
    index: int
    sequence_position: int
    token: str
    tokens: int
    object: str
    hallucinated: bool
    scores: dict[str, float | None]

    @property
    def cell(self) -> Cell:
        """Model, method and benchmark."""
        return self.model, self.method, self.benchmark


def mention_rows(answer: Replayed, vocabulary: Vocabulary) -> list[MentionRow]:
    """The mentions of one answer.

    The first token of a mention stands for it: there the model decides which object to name; what
    follows spells the name out.

    Args:
        answer: With its report.
        vocabulary: That of the benchmark.
    """
    report = answer.report
    scores: dict[str, Values] = token_scores(report)
    return [
        MentionRow(
            model=answer.model,
            method=answer.method,
            benchmark=str(answer.record["benchmark"]),
            sample=answer.sample.id,
            image=answer.sample.group,
            index=mention.start,
            sequence_position=report.spans.output_start + mention.start,
            token=report.tokens[mention.start],
            tokens=mention.stop - mention.start,
            object=mention.name,
            hallucinated=mention.hallucinated,
            scores={name: values[mention.start] for name, values in scores.items()},
        )
        for mention in object_mentions(report, answer.sample.target, vocabulary)
    ]


def by_cell(rows: Iterable[MentionRow]) -> dict[Cell, list[MentionRow]]:
    """Rows of each model, method and benchmark, in the order in which these first occur."""
    cells: dict[Cell, list[MentionRow]] = {}
    for row in rows:
        cells.setdefault(row.cell, []).append(row)
    return cells


def write_mentions(path: Path, rows: Sequence[MentionRow]) -> None:
    """Write rows as CSV: labels as 1 (hallucinated) and 0, scores with nine digits."""
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    fields = [name for name in MentionRow.__dataclass_fields__ if name != "scores"]
    write_csv(
        path,
        [*fields, *names],
        (
            [
                *(getattr(row, field) for field in fields),
                *(row.scores.get(name) for name in names),
            ]
            for row in rows
        ),
    )
