"""What a page is made from: answers of run folders, and reports that were saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlmsal.analysis.labels import chair_vocabulary, object_labels
from lvlmsal.errors import ConfigError, DataError, UnsupportedError
from lvlmsal.evaluation.results.names import RECORDS
from lvlmsal.evaluation.results.records import read_records
from lvlmsal.evaluation.run.replay import Replayed, replay
from lvlmsal.explorer.shown_answer import ShownAnswer, content_key
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport


@dataclass(frozen=True)
class Choice:
    """Which answers of run folders are shown; empty: see :func:`choose`.

    Attributes:
        models: names of models.
        methods: names of methods, in the order in which their answers stand side by side.
        benchmarks: labels of benchmarks.
    """

    models: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()


def choose(run: Path, wanted: Choice) -> tuple[Choice, list[str]]:
    """Fill in what was not asked for: one model, one method, and where there is most to see.

    Args:
        run: a run folder.
        wanted: what was asked for.

    Returns:
        The first model and the first method of the run, and the benchmark with the longest answers,
        unless others were asked for; and what else the run has, in words.
    """
    records = read_records(run / RECORDS)
    found = {
        name: list(dict.fromkeys(record[name] for record in records))
        for name in ("model", "method", "benchmark")
    }
    lengths: dict[str, list[int]] = {name: [] for name in found["benchmark"]}
    for record in records:
        lengths[record["benchmark"]].append(record["new_tokens"] or 0)
    longest = sorted(lengths, key=lambda name: -sum(lengths[name]) / len(lengths[name]))
    chosen = Choice(
        models=wanted.models or tuple(found["model"][:1]),
        methods=wanted.methods or tuple(found["method"][:1]),
        benchmarks=wanted.benchmarks or tuple(longest[:1]),
    )
    notes = []
    for name, asked, taken in (
        ("model", wanted.models, chosen.models),
        ("method", wanted.methods, chosen.methods),
        ("benchmark", wanted.benchmarks, chosen.benchmarks),
    ):
        others = [other for other in found[name] if other not in taken]
        if others and not asked:
            options = " ".join(f"--{name} {_quoted(other)}" for other in others)
            notes.append(f"{run} has more: {options}")
    return chosen, notes


def run_answers(
    runs: Sequence[tuple[Path, Choice]],
    *,
    limit: int | None = None,
    options: SaliencyOptions | None = None,
    detector: str | None = None,
    lvlms: Mapping[str, Lvlm] | None = None,
) -> Iterator[ShownAnswer]:
    """Diagnose the recorded answers of run folders, all by one definition of S.

    What a decoder computed itself, maybe by another definition, stays in the records of its tokens.

    Args:
        runs: run folders, each with what is taken from it.
        limit: at most this many samples of a benchmark: the first ones.
        options: which saliency.
        detector: whose risks the words get as well, as in ``lvlm.detect``.
        lvlms: models that are already loaded, by name.

    Raises:
        DataError: a folder holds no run.
        ConfigError: a run has no such model, method or benchmark.
    """
    varying = [
        len({value for _, choice in runs for value in getattr(choice, name)}) > 1
        for name in ("models", "methods")
    ]
    several = len({label for _, choice in runs for label in choice.benchmarks}) > 1
    vocabularies: dict[str, Vocabulary | None] = {}
    for run, choice in runs:
        answers = list(
            replay(
                run,
                models=choice.models,
                methods=choice.methods,
                benchmarks=choice.benchmarks,
                limit=limit,
                options=options or SaliencyOptions(),
                lvlms=lvlms,
            )
        )
        # the order in which methods were asked for, not that of the run
        answers.sort(key=lambda found: choice.methods.index(found.method))
        for found in answers:
            names = [
                name
                for name, shown in (
                    (str(run), len(runs) > 1),
                    (found.model, varying[0]),
                    (found.method, varying[1] or len(runs) == 1),
                )
                if shown
            ]
            label = found.benchmark.label
            if (key := f"{run} {label}") not in vocabularies:
                vocabularies[key] = _vocabulary(found)
            pictures = ", ".join(path.stem for path in found.sample.images) or found.sample.id
            yield ShownAnswer(
                report=found.report,
                label=" · ".join(names),
                sample=f"{label}/{found.sample.id}/{content_key(found.report)}",
                title=f"{label}: {pictures}" if several else pictures,
                hallucinated=_labels(found, vocabularies[key]),
                records=found.record["tokens"] or None,
                own=found.own,
                detection=None if detector is None else _detected(found, detector),
            )


def _detected(found: Replayed, detector: str) -> dict[str, Any]:
    """The risks of its words, under the interventions that it was given under."""
    return found.lvlm.detect(
        list(found.sample.images),
        found.sample.prompt,
        found.record["token_ids"],
        detector=detector,
        interventions=found.interventions,
    ).to_dict()


def report_answers(
    paths: Sequence[Path], *, beside: SaliencyOptions | None = None
) -> Iterator[ShownAnswer]:
    """Read saved reports.

    Args:
        paths: files that ``SaliencyReport.save`` wrote. Those of the same question about the same
            images stand side by side.
        beside: how answers of runs will be judged that stand on the same page, if any will.

    Raises:
        ConfigError: a report reads another row than those answers.
        DataError: a file is not a report.
    """
    stems = [path.stem for path in paths]
    for path, stem in zip(paths, stems, strict=True):
        label = stem if stems.count(stem) == 1 else str(path)
        report = SaliencyReport.load(path)
        if beside is not None and report.options.row != beside.row:
            raise ConfigError(
                [
                    f"{path} was judged by its {report.options.row} row, the runs of this page are "
                    f"by the {beside.row} row: type --row {report.options.row}, or leave it out"
                ]
            )
        yield ShownAnswer(report, label=label)


def split_sources(
    sources: Sequence[Path], wanted: Choice, row: str | None = None
) -> tuple[list[Path], list[Path]]:
    """Tell run folders from reports.

    Args:
        sources: paths as they were given.
        wanted: what is to be taken from run folders.
        row: by which row their answers are to be judged, where that was asked for.

    Returns:
        Run folders, and files of reports.

    Raises:
        DataError: a path that is neither.
        ConfigError: something was chosen of runs, and there is none.
    """
    runs = [path for path in sources if path.is_dir()]
    reports = [path for path in sources if not path.is_dir()]
    for path in reports:
        if path.suffix != ".safetensors":
            raise DataError(
                "is neither a run folder nor a report: expected a folder that `lvlmsal evaluate` "
                "wrote, or a .safetensors file that SaliencyReport.save wrote",
                path=path,
            )
    if not runs and wanted != Choice():
        raise ConfigError(
            ["--model, --method and --benchmark choose from run folders, and none was given"]
        )
    if not runs and row is not None:
        raise ConfigError(
            [
                "--row judges the answers of run folders, and none was given: a saved report keeps "
                "the row that it was made with (lvlmsal saliency --set row=...)"
            ]
        )
    return runs, reports


def _vocabulary(found: Replayed) -> Vocabulary | None:
    """The objects that answers are searched for; none where they are not descriptions."""
    try:
        return chair_vocabulary(found.benchmark)
    except UnsupportedError:
        return None


def _labels(found: Replayed, vocabulary: Vocabulary | None) -> list[bool | None] | None:
    if vocabulary is None:
        return None
    target: Any = found.sample.target
    return object_labels(found.report, target, vocabulary)


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name
