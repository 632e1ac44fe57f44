"""``lvlmsal fit``: detectors scaled on the answers of a run, of which no label is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from lvlmsal.analysis.described_run import describe
from lvlmsal.detection.fitting import scale
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.run.replay import RecordedAnswer, recorded_answers
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.registry import DETECTORS


def fit_scalings(
    config: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    out: Path | None = None,
    detectors: Sequence[str] = (),
    lvlms: Mapping[str, Lvlm] | None = None,
) -> list[Path]:
    """Scale detectors on the answers of each model of a config.

    Args:
        config: An ordinary config with one method, no intervention, and the benchmark ``chair``,
            whose words are judged; its truth is not looked at. Images should be ordinary ones: what
            counts as a high risk is what is rare on them.
        overrides: Texts ``key=value``.
        out: Folder for the files, ``<model>.json``; by default ``analysis/scalings`` in the run
            folder.
        detectors: Names; by default all that need no labels.
        lvlms: Models that are already loaded, by name.

    Returns:
        The files.

    Raises:
        ConfigError: The config is wrong, asks for no descriptions or for several methods.
        DataError: The answers hold too few judged words.
    """
    run = describe(config, overrides, lvlms=lvlms)
    folder = run.output("scalings", out)
    chosen = [
        DETECTORS.build(name)
        for name in (detectors or DETECTORS)
        if not DETECTORS.get(name).supervised
    ]
    found = recorded_answers(run.folder, benchmarks=list(run.vocabularies), lvlms=lvlms)
    files = []
    for model, answers in groupby(found, key=lambda answer: answer.model):
        first = next(answers)
        adapter = first.lvlm.adapter
        scalings = scale(
            adapter,
            (
                (
                    adapter.encode([list(answer.sample.images)], [answer.sample.prompt]),
                    answer.record["token_ids"],
                )
                for answer in _plain([first, *answers])
            ),
            chosen,
            _listed(run.vocabularies[first.record["benchmark"]]),
            name=model,
            source=first.benchmark.label,
        )
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


def _listed(vocabulary: Vocabulary) -> Vocabulary | None:
    """Judged words of which every form is known: those of a listed vocabulary, else COCO's."""
    own = Vocabulary.coco()
    return vocabulary if vocabulary.singulariser == "none" and vocabulary != own else None
