"""Answers of another tool's log, joined with the samples of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from lvlmsal.benchmarks.answers.answer_files import match_rows
from lvlmsal.benchmarks.answers.texts import words_of
from lvlmsal.benchmarks.base import Sample
from lvlmsal.errors import DataError
from lvlmsal.readers.logs import LoggedAnswer
from lvlmsal.readers.rows import Identifier, listed, normal_id


def join(
    answers: Sequence[LoggedAnswer], samples: Sequence[Sample], key: str | None = None
) -> list[tuple[Sample, LoggedAnswer]]:
    """Each answer with the sample that it answers, in the order of the samples.

    Args:
        answers: Of a log, at least one.
        samples: Of the benchmark.
        key: What in the log holds the sample's id; by default the place of the question in its data
            set is the sample's place in the benchmark. Where the log has the prompt, it must hold
            the sample's question, or be held by it.

    Returns:
        The pairs; samples that the log does not have are left out.

    Raises:
        DataError: An answer belongs to no sample, two belong to one, or a question differs.
    """
    if not key and any(answer.place is None for answer in answers):
        raise answers[0].row.error(
            "the data set was shuffled, so places say nothing: name with --key what in the log "
            "holds the sample's id, --key id for one that was made with these ids"
        )
    by_id: dict[Identifier, Sample] = {}
    for place, sample in enumerate(samples):
        by_id[normal_id(sample.id) if key else place] = sample
    places = {id(answer.row): answer.place or 0 for answer in answers}
    rows = match_rows(
        [answer.row for answer in answers],
        lambda row: row.identifier(key) if key else places[id(row)],
        by_id,
        key or "place",
    )
    of_row = {id(answer.row): answer for answer in answers}
    found = []
    for name, sample in by_id.items():
        if name in rows:
            answer = of_row[id(rows[name])]
            _check_question(sample, answer)
            found.append((sample, answer))
    return found


def check_complete(pairs: Sequence[tuple[Sample, LoggedAnswer]], samples: Sequence[Sample]) -> None:
    """Refuse a log that does not have every sample: its figures would be those of a part.

    Raises:
        DataError: Some are missing.
    """
    answered = {sample.id for sample, _ in pairs}
    missing = [sample.id for sample in samples if sample.id not in answered]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(samples)} samples have no answer: {listed(missing)}. Let the "
            "benchmark have those alone that were asked, for instance with limit=",
            path=pairs[0][1].row.path,
        )


def _check_question(sample: Sample, answer: LoggedAnswer) -> None:
    asked, wanted = words_of(answer.prompt), words_of(sample.prompt)
    if asked and wanted not in asked and asked not in wanted:
        raise answer.row.error(
            f"asks {answer.prompt!r}, and the sample {sample.id!r} that it would belong to asks "
            f"{sample.prompt!r}: is it the same benchmark in the same order? Say with --key what "
            "in the log holds the sample's id"
        )
