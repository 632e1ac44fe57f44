"""Mentions of objects with their labels and what every detector says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from lvlmsal.analysis.answer_labels import AnswerLabels, YesNoLabels
from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.analysis.expectations import Expectations
from lvlmsal.analysis.output import Cell, write_csv
from lvlmsal.detection.asking import Asking
from lvlmsal.evaluation.run.replay import RecordedAnswer


@dataclass(frozen=True)
class DetectedMention:
    """One mention of an object, judged at its first token.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        benchmark: Label of the benchmark.
        sample: Id of the sample.
        image: What samples about the same image share.
        object: Name of the object.
        index: Of the mention's first token in the answer.
        earlier: How often the answer had named the object before.
        wrong: Whether it is not in the image.
        scores: Of each detector, larger is worse.
        features: Of each detector that has to be fitted on labels first.
        expected: Whether habits suggest the object there; None where nothing is known of them.
    """

    model: str
    method: str
    benchmark: str
    sample: str
    image: str
    object: str
    index: int
    earlier: int
    wrong: bool
    scores: Mapping[str, float]
    features: Mapping[str, Sequence[float]] = field(default_factory=dict, repr=False)
    expected: bool | None = None

    @property
    def cell(self) -> Cell:
        """Model, method and benchmark."""
        return self.model, self.method, self.benchmark


@dataclass(frozen=True)
class _Spelled:
    """An answer as labels read it."""

    text: str
    tokens: Sequence[str]


def detected_mentions(
    answer: RecordedAnswer,
    labels: AnswerLabels,
    ready: ReadyDetectors,
    habits: Expectations | None = None,
) -> list[DetectedMention]:
    """The mentions of one answer, from one pass that serves all detectors that ask no more.

    Args:
        answer: A recorded one; it is judged under the interventions that made it.
        labels: Of the benchmark.
        ready: The detectors of its model.
        habits: Those of the world that the image is of.
    """
    adapter, ids = answer.lvlm.adapter, list(answer.record["token_ids"])
    spelled = _Spelled(adapter.decode(ids), adapter.token_texts(ids))
    mentions = labels.mentions(spelled, answer.sample.target)
    if not mentions:
        return []
    inputs = adapter.encode([list(answer.sample.images)], [answer.sample.prompt])
    asking = Asking(
        answer.lvlm.respondent(
            list(answer.sample.images),
            answer.sample.prompt,
            answer.interventions,
            answer.benchmark.max_new_tokens,
            f"{answer.cell[2]}/{answer.sample.id}",
        ),
        [mention.name for mention in mentions],
        [(mention.start, mention.stop) for mention in mentions],
        labels.words,
        are_objects=not isinstance(labels, YesNoLabels),
    )
    scores, features = ready.of_tokens(inputs, ids, answer.interventions, asking)
    found: list[DetectedMention] = []
    for mention in mentions:
        found.append(
            DetectedMention(
                *answer.cell,
                answer.sample.id,
                answer.sample.group,
                mention.name,
                mention.start,
                sum(one.object == mention.name for one in found),
                mention.hallucinated,
                {name: values[mention.start] for name, values in scores.items()},
                {name: values[mention.start] for name, values in features.items()},
                None if habits is None else habits.suggests(answer.sample, mention.name),
            )
        )
    return found


def write_detected(path: Path, mentions: Sequence[DetectedMention]) -> None:
    """Write mentions as CSV: labels as 1 (wrong) and 0, scores with nine digits."""
    names = list(dict.fromkeys(name for mention in mentions for name in mention.scores))
    skipped = ("scores", "features")
    held = [one.name for one in fields(DetectedMention) if one.name not in skipped]
    write_csv(
        path,
        [*held, *names],
        (
            [*(getattr(mention, name) for name in held), *map(mention.scores.get, names)]
            for mention in mentions
        ),
    )
