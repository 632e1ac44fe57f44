"""Dry runs: a whole config tried on tiny random models, before anybody waits for a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.errors import ConfigError, DataError, LvlmsalError, UnsupportedError
from lvlmsal.escaping import visible
from lvlmsal.evaluation.config.controls import opponents
from lvlmsal.evaluation.config.further import further_metrics, misfits
from lvlmsal.evaluation.config.plan import Cell, Draft, Plan, read_draft, waits_for_world
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.config.stated import UNSET_ROOT, with_data_root
from lvlmsal.evaluation.config.trainer import trainer_problems
from lvlmsal.evaluation.config.world import ensure_world, world_problems
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.results.scoring import score_records
from lvlmsal.evaluation.run.answering import AnswerModule
from lvlmsal.evaluation.run.dry_models import adapter_name, eased, fitting, tiny_stand_in
from lvlmsal.evaluation.run.loading import OpenedBatches, make_batches
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.model.shared_prefix import can_share
from lvlmsal.registry import BENCHMARKS, options_of
from lvlmsal.secrets import hide
from lvlmsal.tables.table import Head, Row, Table
from lvlmsal.tables.terminal import plain_text, terminal_table
from lvlmsal.tiny.models import FAMILIES

SAMPLES = 2
"""How many samples of each benchmark are asked."""

TOKENS = 3
"""How long answers get at most."""

MADE_UP = "made-up samples"

IN_FILES = ("vocabulary", "judge_prompt", "judge_prompts")
"""Options that name a file which scoring reads."""


@dataclass(frozen=True)
class Tried:
    """One model with one method on one benchmark, as far as a dry run tries it.

    Attributes:
        model: Name of the model.
        method: Name of the method.
        benchmark: Label of the benchmark.
    """

    model: str
    method: str
    benchmark: str


@dataclass(frozen=True)
class DryRun:
    """What a dry run has tried; it found no problem, or there would be none of these.

    Attributes:
        tried: What was answered and scored.
        models: What stood in for each model.
        data: What was asked, for each benchmark.
        notes: What was not tried, or not as it will be.
    """

    tried: tuple[Tried, ...]
    models: dict[str, str]
    data: dict[str, str]
    notes: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What was tried, without any figure."""
        title = "DRY RUN: random weights, nothing was measured, nothing was written"
        heads = [Head(head, words=True) for head in ("model", "method", "answered and scored")]
        rows: dict[tuple[str, str], list[str]] = {}
        for entry in self.tried:
            rows.setdefault((entry.model, entry.method), []).append(entry.benchmark)
        cells = [Row.of([*names, ", ".join(labels)]) for names, labels in rows.items()]
        table, *_ = terminal_table(Table("", heads, cells), options.max_width)
        lines = [f"model {name}: {text}" for name, text in self.models.items()]
        lines += [f"benchmark {label}: {text}" for label, text in self.data.items()]
        lines += [f"note: {note}" for note in self.notes]
        yield Group(
            Text(title, style="bold"),
            table,
            Text(visible(hide("\n".join([*lines, self._end()])), keep="\n")),
        )

    def _end(self) -> str:
        absent = [label for label, text in self.data.items() if text.startswith(MADE_UP)]
        end = f"; not there, and needed by the run: data of {', '.join(absent)}" if absent else ""
        return f"DRY RUN: no problem was found{end}"

    def __str__(self) -> str:
        """The same as plain text."""
        return plain_text(self)


def dry_run(
    source: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    models: Mapping[str, Any] | None = None,
) -> DryRun:
    """Check a config and try every model, method and benchmark of it, without weights or output.

    Data that are there are checked whole, and their first samples are asked. Where a root folder
    is not there, or `data.root` is not set, the benchmark's made-up examples are asked; a scene
    world that is still to be written is drawn small in a temporary folder. Each checkpoint is
    replaced by a tiny random model of its architecture in float32.

    Args:
        source: The config, as `lvlmsal.evaluate` takes it.
        overrides: Texts ``key=value``.
        models: Models that the real run would be given, by name; only their architecture counts.

    Raises:
        ConfigError: Anything is wrong; it lists every problem.
        DataError: A file of a benchmark is damaged.
    """
    with TemporaryDirectory(prefix="lvlmsal-dry-run-") as scratch:
        return _Rehearsal(Path(scratch), dict(models or {})).run(source, list(overrides))


@dataclass
class _Rehearsal:
    """The state of one dry run."""

    scratch: Path
    given: dict[str, Any]
    models: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self, source: ConfigSource, overrides: list[str]) -> DryRun:
        overrides = with_data_root(source, overrides)
        draft = read_draft(source, overrides, given=list(self.given))
        draft.problems += world_problems(draft.config.world)
        if not draft.problems:
            draft.problems += self._put_data_in(draft)
        if draft.problems:
            raise ConfigError(draft.problems, source=f"dry run of {draft.name}")
        # where the dry run runs need not be where the run will
        self.notes += [f"not on this machine: {p}" for p in trainer_problems(draft.config.trainer)]
        draft.config.seeds = draft.config.seeds[:2]
        plan = draft.plan()
        plan = replace(plan, cells=tuple(fitting(cell, self.notes) for cell in plan.cells))
        tried, problems = [], []
        for model in plan.config.models:
            cells = plan.of_model(model)
            family = self._family(model)
            for way in dict.fromkeys((cell.method, cell.seed) for cell in cells):
                part = [cell for cell in cells if (cell.method, cell.seed) == way]
                try:
                    tried += self._try(tiny_stand_in(family, part), part, plan)
                except (LvlmsalError, ValueError) as error:
                    problems.append(f"{model.name} · {way[0]}: {error}")
        if problems:
            raise ConfigError(problems, source=f"dry run of {draft.name}")
        return DryRun(tuple(dict.fromkeys(tried)), self.models, self.data, tuple(self.notes))

    def _try(self, lvlm: Lvlm, cells: Sequence[Cell], plan: Plan) -> list[Tried]:
        """Try one method; a tiny model may lack what the method finds in or for the real one."""
        try:
            return _try(lvlm, cells, plan)
        except (DataError, UnsupportedError) as error:
            easier = [eased(cell) for cell in cells]
            if easier == list(cells):
                raise
            found = _try(lvlm, easier, plan)
            self.notes.append(
                f"{cells[0].model.name} · {cells[0].method}: tried with other options, because "
                f"the tiny model was refused: {error}"
            )
            return found

    def _put_data_in(self, draft: Draft) -> list[str]:
        """Give each benchmark few samples; returns what is wrong with the data that are there."""
        problems: list[str] = []
        for label, benchmark in list(draft.benchmarks.items()):
            world = draft.config.world
            if world is not None and waits_for_world(draft.config, benchmark):
                root = self.scratch / "world"
                images = min(world.images, SAMPLES)
                ensure_world(replace(world, root=str(root), images=images))
                options = {**options_of(benchmark), "root": str(root), "limit": None}
                options |= {"subset": None, "subset_seed": None}
                benchmark = BENCHMARKS.build(str(benchmark.name), **options)
                text = "from a small scene world; the real one is still to be written"
            elif Path(benchmark.root).is_dir():
                text = f"from {benchmark.root}, whose files are all checked"
            else:
                made_up = self._without_data(label, benchmark)
                if made_up is None:
                    self.notes.append(f"{label}: not tried, which needs its files")
                    del draft.benchmarks[label]
                else:
                    draft.benchmarks[label] = made_up
                    unset = Path(benchmark.root).is_relative_to(UNSET_ROOT)
                    why = "data.root is not set" if unset else f"no folder {benchmark.root}"
                    self.data[label] = f"{MADE_UP} ({why})"
                continue
            wrong = benchmark.problems() or misfits(draft.config.benchmarks, label, benchmark)
            problems += wrong
            if not wrong:
                samples = benchmark.samples()
                self.data[label] = f"the first of {len(samples)} samples {text}"
                draft.benchmarks[label] = benchmark.excerpt(
                    samples[:SAMPLES], max_new_tokens=TOKENS
                )
        return problems

    def _examples(self, benchmark: Benchmark) -> list[Sample]:
        picture = self.scratch / "example.png"
        Image.new("RGB", (56, 42), (90, 140, 60)).save(picture)
        return [
            Sample(
                id=f"example-{number}",
                images=(picture,),
                prompt=benchmark.prompt.replace("{question}", question),
                target=target,
                group="example",
                source="example",
            )
            for number, (question, target) in enumerate(benchmark.examples)
        ]

    def _without_data(self, label: str, benchmark: Benchmark) -> Benchmark | None:
        """A benchmark that asks its made-up examples; None if it has none, or cannot score any."""
        options = options_of(benchmark)
        usual = BENCHMARKS.options(str(benchmark.name))
        changed = [k for k in IN_FILES if k in options and options[k] != usual[k].default]
        if changed and not _can_score(benchmark):
            kept = {key: value for key, value in options.items() if key not in changed}
            benchmark = BENCHMARKS.build(str(benchmark.name), **kept)
            self.notes.append(f"{label}: not there, and so not read: {', '.join(changed)}")
        if not benchmark.examples or not _can_score(benchmark):
            return None
        return benchmark.excerpt(self._examples(benchmark), max_new_tokens=TOKENS)

    def _family(self, model: ModelConfig) -> str:
        """Which tiny models stand in for a checkpoint."""
        ready = self.given.get(model.name)
        ready = ready[0] if isinstance(ready, tuple) else getattr(ready, "model", None)
        found = adapter_name(model, ready)
        family = FAMILIES.get(found or "", "llava")
        text = f"a tiny random {family} stood in"
        if found not in FAMILIES:
            what = f"has the architecture {found}" if found else "is on the hub, not looked up"
            self.notes.append(f"{model.name} {what}: its own adapter was not tried")
        self.models[model.name] = text
        return family


def _can_score(benchmark: Benchmark) -> bool:
    try:
        benchmark.metric()
    except LvlmsalError:
        return False
    return True


def _try(lvlm: Lvlm, cells: Sequence[Cell], plan: Plan) -> list[Tried]:
    """Answer with one model and one method, and score, by the code of a real run.

    The figures mean nothing and go no further.
    """
    first, config = cells[0], plan.config
    first.decoder.bind(lvlm.adapter)
    share = config.share_images and can_share(first.decoder, first.interventions)
    batches = list(make_batches(cells, frozenset(), size=config.batch_size, share=share))
    module = AnswerModule(lvlm, batches, config.batch_size)
    opened = OpenedBatches(batches)
    records: list[Record] = []
    for number in range(len(batches)):
        records += module.predict_step(opened[number])
    for record in records:
        if record["status"] != "ok":
            raise LvlmsalError(
                f"{record['benchmark']}, sample {record['sample_id']}: {record['error']}"
            )
    against = opponents((cell.shown for cell in plan.cells), config.baseline)
    metrics = {cell.label: cell.benchmark.metric() for cell in cells}
    further = {entry.label: further_metrics(entry) for entry in config.benchmarks}
    results = score_records(records, metrics, against=against, further=further, samples=100)
    return [Tried(c["model"], c["method"], c["benchmark"]) for c in results["cells"]]
