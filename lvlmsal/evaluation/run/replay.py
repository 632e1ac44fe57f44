"""The answers that a run recorded, with their models, which judge them once more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.errors import ConfigError, DataError, close_matches
from lvlmsal.evaluation.config.plan import Cell, make_plan
from lvlmsal.evaluation.config.trainer import make_trainer, quiet_lightning
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.begun import Begun
from lvlmsal.evaluation.results.folder import check_run_folder
from lvlmsal.evaluation.results.manifests import make_manifest
from lvlmsal.evaluation.results.provenance import refuse_changes
from lvlmsal.evaluation.results.records import Record, read_records
from lvlmsal.evaluation.run.environment import describe_environment, describe_model
from lvlmsal.evaluation.run.evaluate import load_model
from lvlmsal.evaluation.run.loading import shown
from lvlmsal.evaluation.run.notes import as_begun
from lvlmsal.interventions.base import Intervention
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.progress import Progress
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport


@dataclass(frozen=True)
class RecordedAnswer:
    """A recorded answer and the model that gave it.

    Attributes:
        record: Its line of ``records.jsonl``.
        sample: What was asked.
        lvlm: The model.
        model: What the config calls it.
        method: Name of the method.
        benchmark: Where the sample comes from.
        interventions: Under which it was given.
        own: Which saliency the decoder computed itself, which is that of the record's tokens; None
            where it computes none.
    """

    record: Record
    sample: Sample
    lvlm: Lvlm
    model: str
    method: str
    benchmark: Benchmark
    interventions: Sequence[Intervention] = ()
    own: SaliencyOptions | None = None

    @property
    def cell(self) -> tuple[str, str, str]:
        """Model, method and label of the benchmark: what answers are compared within."""
        return self.model, self.method, str(self.record["benchmark"])


@dataclass(frozen=True)
class Replayed(RecordedAnswer):
    """A recorded answer with its saliency.

    Attributes:
        report: The saliency of the recorded tokens, under the interventions that made them.
    """

    report: SaliencyReport = field(kw_only=True)


def replay(
    run: Path | str,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    benchmarks: Sequence[str] | None = None,
    limit: int | None = None,
    options: SaliencyOptions | None = None,
    lvlms: Mapping[str, Lvlm] | None = None,
) -> Iterator[Replayed]:
    """Diagnose the answers of a run.

    The recorded token ids are judged as they stand, nothing is decoded again. Answers of a decoder
    that computes saliency are judged by its own options, so that the report shows what it saw; give
    `options` where answers of several methods shall be compared.

    Args:
        run: A run folder that `evaluate` has finished.
        models: Names of models, all by default; likewise the next two.
        methods: Names of methods.
        benchmarks: Labels of benchmarks.
        limit: Take at most this many samples of each model, method and benchmark: the first ones.
        options: Which saliency, in place of the decoder's own or the defaults.
        lvlms: Models that are already loaded, by name.

    Returns:
        One entry an answer, with a bar on stderr for as long as they last; an entry is made when it
        is asked for. They come model by model, method by method, in the order of the samples; each
        model is loaded once, when it is its turn. Samples that failed are left out.

    Raises:
        DataError: It is not a run folder, or answers are missing from it.
        ConfigError: The run has no such model, method or benchmark, its config needs something that
            is no longer there, or samples or weights have changed since.
    """
    found = recorded_answers(
        run, models=models, methods=methods, benchmarks=benchmarks, limit=limit, lvlms=lvlms
    )
    return (_diagnosed(one, options) for one in found)


def _diagnosed(found: RecordedAnswer, options: SaliencyOptions | None) -> Replayed:
    report = found.lvlm.diagnose(
        shown(found.sample),
        found.sample.prompt,
        found.record["token_ids"],
        options=options or found.own,
        interventions=found.interventions,
    )
    return Replayed(**{f.name: getattr(found, f.name) for f in fields(found)}, report=report)


def recorded_answers(
    run: Path | str,
    *,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    benchmarks: Sequence[str] | None = None,
    limit: int | None = None,
    lvlms: Mapping[str, Lvlm] | None = None,
) -> Iterator[RecordedAnswer]:
    """The answers of a run with the models that gave them, which are loaded for it.

    Args:
        run: A run folder that `evaluate` has finished.
        models: Names of models, all by default; likewise the next two.
        methods: Names of methods.
        benchmarks: Labels of benchmarks.
        limit: Take at most this many samples of each model, method and benchmark: the first ones.
        lvlms: Models that are already loaded, by name.

    Returns:
        One entry an answer, in the order and with the bar of `replay`.

    Raises:
        DataError, ConfigError: As `replay`.
    """
    run = Path(run)
    check_run_folder(run)
    ready = dict(lvlms or {})
    with quiet_lightning():
        plan = make_plan(run / names.CONFIG, given=list(ready))
        chosen = _chosen(plan.cells, run, model=models, method=methods, benchmark=benchmarks)
        records = {record["key"]: record for record in read_records(run / names.RECORDS)}
        work = [(cell, _answered(cell, records, run, limit)) for cell in chosen]
        manifests = {label: make_manifest(b) for label, b in plan.benchmarks.items()}
        begun = Begun.of(records.values())
        device = make_trainer(plan.config.trainer).strategy.root_device
        environment = describe_environment(plan, manifests, device)
        refuse_changes(run, environment, manifests, begun=begun)

    def walked(progress: Progress) -> Iterator[RecordedAnswer]:
        for model in plan.config.models:
            mine = [(cell, found) for cell, found in work if cell.model is model]
            if not mine:
                continue
            lvlm = ready.get(model.name)
            if lvlm is None:
                lvlm = load_model(as_begun(run, model))
                if getattr(lvlm.model, "hf_device_map", None) is None:
                    lvlm.model.to(device)  # type: ignore[arg-type]  # typed for one kind of argument
            environment["models"][model.name] = describe_model(lvlm, model.source)
            refuse_changes(run, environment, manifests, begun=begun)
            for cell, found in mine:
                for sample, record in found:
                    yield RecordedAnswer(
                        record,
                        sample,
                        lvlm,
                        model.name,
                        cell.method,
                        cell.benchmark,
                        cell.interventions,
                        cell.decoder.saliency_options(),
                    )
                    progress.advance()

    def shown() -> Iterator[RecordedAnswer]:
        with Progress("judging answers", sum(len(found) for _, found in work)) as progress:
            yield from walked(progress)

    return shown()


def _chosen(cells: Sequence[Cell], run: Path, **wanted: Sequence[str] | None) -> list[Cell]:
    """The cells that were asked for, by name of model and method and label of benchmark."""
    problems = []
    for kind, asked in wanted.items():
        known = list(dict.fromkeys(_names(cell)[kind] for cell in cells))
        problems += [
            f"the run has no {kind} {name!r}.{close_matches(name, known)} It has: {known}"
            for name in asked or ()
            if name not in known
        ]
    if problems:
        raise ConfigError(problems, source=str(run))
    return [
        cell
        for cell in cells
        if all(asked is None or _names(cell)[kind] in asked for kind, asked in wanted.items())
    ]


def _names(cell: Cell) -> dict[str, str]:
    return {"model": cell.model.name, "method": cell.method, "benchmark": cell.label}


def _answered(
    cell: Cell, records: Mapping[str, Record], run: Path, limit: int | None
) -> list[tuple[Sample, Record]]:
    """The samples of a cell with their records, those that failed left out."""
    found = [(s, records.get(cell.key(s.id))) for s in cell.benchmark.samples()[:limit]]
    missing = [sample.id for sample, record in found if record is None]
    if missing:
        raise DataError(
            f"has no answers of {cell.title} to {len(missing)} samples, {missing[0]!r} among them: "
            f"type  lvlmsal evaluate {run / names.CONFIG}  to have them answered",
            path=run / names.RECORDS,
        )
    return [(s, record) for s, record in found if record is not None and record["status"] == "ok"]
