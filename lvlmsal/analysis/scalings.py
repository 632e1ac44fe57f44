"""``lvlmsal fit``: detectors scaled on the answers of a run, and fitted on labels if asked to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from lvlmsal.analysis.answer_labels import ObjectLabels
from lvlmsal.analysis.described_run import describe
from lvlmsal.analysis.detector_fits import fit_on_labels
from lvlmsal.analysis.detector_mentions import detected_mentions
from lvlmsal.analysis.detector_sets import ReadyDetectors, chosen_detectors
from lvlmsal.analysis.labels import listed_words
from lvlmsal.detection.asking import refuse_asking
from lvlmsal.detection.fitting import UNSCALED, scale
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.vocabulary import JudgedWords
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.run.replay import RecordedAnswer, recorded_answers
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.registry import DETECTORS


def fit_scalings(
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    out: Path | None = None,
    detectors: Sequence[str] = (),
    labels: bool = False,
    lvlms: Mapping[str, Lvlm] | None = None,
) -> list[Path]:
    """Scale detectors on the answers of each model of a config.

    Args:
        config: An ordinary config with one method, no intervention, and the benchmark ``chair``,
            whose words are judged; its truth is looked at for `labels` alone. Images should be
            ordinary ones: what counts as a high risk is what is rare on them.
        overrides: Texts ``key=value``.
        out: Folder for the files, ``<model>.json``; by default ``analysis/scalings`` in the run
            folder.
        detectors: Names; all but those that ask the model more by default.
        labels: Whether detectors that need labels are fitted too, on CHAIR's.
        lvlms: Models that are already loaded, by name.

    Returns:
        The files.

    Raises:
        ConfigError: The config is wrong, asks for no descriptions or for several methods.
        DataError: The answers hold too few judged words.
        UnsupportedError: Too few images have wrong mentions to fit a detector on labels, or a
            detector asks the model more.
    """
    chosen = [DETECTORS.build(name) for name in chosen_detectors(detectors)]
    refuse_asking(chosen, UNSCALED)  # before answers are given
    run = describe(config, overrides, lvlms=lvlms)
    folder = run.output("scalings", out)
    plain = [detector for detector in chosen if not detector.supervised]
    learners = [detector for detector in chosen if detector.supervised] if labels else []
    controls = [detector.control for detector in learners]
    fitted = [*learners, *(control for control in controls if control is not None)]
    found = recorded_answers(run.folder, benchmarks=list(run.vocabularies), lvlms=lvlms)
    files = []
    for model, group in groupby(found, key=lambda answer: answer.model):
        answers = _plain(list(group))
        vocabulary = run.vocabularies[answers[0].record["benchmark"]]
        adapter = answers[0].lvlm.adapter
        scalings = scale(
            adapter,
            (
                (
                    adapter.encode([list(answer.sample.images)], [answer.sample.prompt]),
                    answer.record["token_ids"],
                )
                for answer in answers
            ),
            plain,
            listed_words(vocabulary),
            name=model,
            source=answers[0].benchmark.label,
        )
        if fitted:
            lens = Lens(adapter, JudgedWords(adapter.tokenizer, scalings.vocabulary()).tokens)
            made, labels_of = [], ObjectLabels(vocabulary)
            for detector in fitted:  # one by one, for a detector and its control share their name
                ready = ReadyDetectors(answers[0].lvlm, {}, [detector], lens)
                mentions = [
                    mention
                    for answer in answers
                    for mention in detected_mentions(answer, labels_of, ready)
                ]
                made.append(fit_on_labels(detector, mentions))
            scalings = replace(scalings, entries=(*scalings.entries, *made))
        files.append(folder / f"{model}.json")
        scalings.save(files[-1])
    return files


def _plain(answers: Sequence[RecordedAnswer]) -> Sequence[RecordedAnswer]:
    """The answers, which must all come from one method without interventions."""
    methods = dict.fromkeys(answer.method for answer in answers)
    edited = [answer.method for answer in answers if answer.interventions]
    if len(methods) > 1 or edited:
        raise ConfigError(
            [
                "methods: a scaling is made from the answers of one method without interventions, "
                f"got {', '.join(methods)}: write  methods=[greedy]"
            ]
        )
    return answers
