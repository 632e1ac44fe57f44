"""Detectors on files of labeled answers: scored, and fitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from lvlmsal.analysis.detector_fits import fit_on_labels
from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.analysis.detectors import DetectorComparison, compared
from lvlmsal.analysis.label_files.answers import LabeledAnswer
from lvlmsal.analysis.output import made_folder
from lvlmsal.detection.asking import refuse_asking
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.scaling_files import Scalings
from lvlmsal.detection.vocabulary import JudgedWords
from lvlmsal.detection.words import token_intervals
from lvlmsal.errors import ConfigError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.progress import Progress
from lvlmsal.registry import DETECTORS

OWN, GIVEN = "own answers", "given answers"


def compare_on_labels(
    answers: Sequence[LabeledAnswer],
    lvlm: Lvlm,
    *,
    model: str,
    source: str,
    out: Path,
    detectors: Sequence[str] = (),
    scaling: Path | None = None,
    draws: int = 2000,
) -> DetectorComparison:
    """Score detectors on labeled answers, those of the model and those of others apart.

    Args:
        answers: See `lvlmsal.analysis.label_files.formats.read_labeled`.
        lvlm: The model that reads the answers.
        model: What it is called.
        source: What the file is called.
        out: Folder to write into.
        detectors: Names; by default all but those that ask the model more.
        scaling: A file of ``lvlmsal fit``; by default what is shipped for the model.
        draws: Number of resamples of the groups.

    Raises:
        ConfigError: The folder cannot be made.
        DataError: An image cannot be read.
        UnsupportedError: A detector asks the model more.
    """
    refuse_asking(map(DETECTORS.build, detectors), "a file of labels does not say of which objects")
    folder = made_folder(out)
    ready = ReadyDetectors.of(detectors, lvlm, scaling)
    mentions = labeled_mentions(answers, ready, model, source)
    return compared(mentions, [f"{model}: {note}" for note in ready.notes], folder, draws=draws)


def fit_labeled(
    answers: Sequence[LabeledAnswer],
    lvlm: Lvlm,
    *,
    model: str,
    source: str,
    detectors: Sequence[str] = (),
) -> Scalings:
    """Fit detectors that need labels on labeled answers, all of the model or all of others.

    Args:
        answers: See `lvlmsal.analysis.label_files.formats.read_labeled`.
        lvlm: The model that reads the answers.
        model: What it is called.
        source: What the file is called.
        detectors: Names; all that need labels by default.

    Raises:
        ConfigError: There are answers of both kinds, or a detector needs no labels.
        DataError: An image cannot be read.
        UnsupportedError: Too few images have wrong spans, or right ones.
    """
    kinds = {answer.own for answer in answers}
    if len(kinds) > 1:
        raise ConfigError(
            [
                f"{source} holds answers of the model and given ones ('own' is true in some lines "
                "only). A fit on both would learn which is which: make a file of each"
            ]
        )
    supervised = [name for name in DETECTORS if DETECTORS.get(name).supervised]
    if needless := [name for name in detectors if name not in supervised]:
        raise ConfigError(
            [
                f"--detector {name} needs no labels: leave it out, or give a config, on whose "
                f"answers it is scaled. Fitted on labels are {', '.join(supervised)}"
                for name in needless
            ]
        )
    chosen = [DETECTORS.build(name) for name in (detectors or supervised)]
    lens = Lens(lvlm.adapter, JudgedWords(lvlm.adapter.tokenizer, Vocabulary.coco()).tokens)
    ready = ReadyDetectors(lvlm, {}, chosen, lens)
    mentions = labeled_mentions(answers, ready, model, source)
    return Scalings(
        ModelMark.of(lvlm.adapter),
        model,
        f"{source}, {OWN if kinds == {True} else GIVEN}",
        None,
        tuple(fit_on_labels(detector, mentions) for detector in chosen),
    )


def labeled_mentions(
    answers: Sequence[LabeledAnswer], ready: ReadyDetectors, model: str, source: str
) -> list[DetectedMention]:
    """The labeled spans of answers with what detectors say of them.

    Args:
        answers: Of whomever.
        ready: The detectors of the model that reads them.
        model: What it is called.
        source: What the file is called.
    """
    mentions: list[DetectedMention] = []
    with Progress("judging answers", len(answers)) as progress:
        for answer in answers:
            mentions += _mentions(answer, ready, model, source)
            progress.advance()
    return mentions


def _mentions(
    answer: LabeledAnswer, ready: ReadyDetectors, model: str, source: str
) -> Iterator[DetectedMention]:
    """The labeled spans of one answer."""
    adapter = ready.lvlm.adapter
    ids = list(adapter.tokenizer(answer.answer, add_special_tokens=False)["input_ids"])
    if not ids or not answer.labels:
        return
    text, tokens = adapter.decode(ids), adapter.token_texts(ids)
    # A tokenizer may put a blank in front of the text, which moves every character.
    shift = text.find(answer.answer) if answer.answer in text else 0
    intervals = token_intervals(text, tokens)
    inputs = adapter.encode([list(answer.images)], [answer.prompt])
    scores, features = ready.of_tokens(inputs, ids)
    named: list[str] = []
    for label in sorted(answer.labels, key=lambda label: (label.start, label.end)):
        start, end = label.start + shift, label.end + shift
        inside = [i for i, (first, last) in enumerate(intervals) if first < end and last > start]
        if not inside:
            continue  # blanks, or characters that the tokenizer leaves out
        words = answer.answer[label.start : label.end].lower()
        read = inside[:1] if answer.aggregate == "first" else inside
        yield DetectedMention(
            model,
            OWN if answer.own else GIVEN,
            source,
            answer.id,
            answer.group,
            words,
            inside[0],
            named.count(words),
            label.wrong,
            {name: _mean([values[i] for i in read]) for name, values in scores.items()},
            {
                name: [_mean(list(column)) for column in zip(*(v[i] for i in read), strict=True)]
                for name, v in features.items()
            },
        )
        named.append(words)


def _mean(values: list[float]) -> float:
    """The mean of the numbers that are known; nan where none is."""
    return float(torch.tensor(values, dtype=torch.float64).nanmean())
