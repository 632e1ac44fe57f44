"""What a run consists of, checked as a whole before any weights are loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.check import (
    benchmark_problems,
    build_component,
    lacks_root,
    placed,
    settings_problems,
)
from lvlmsal.evaluation.config.checkpoints import card_of
from lvlmsal.evaluation.config.combinations import method_problems
from lvlmsal.evaluation.config.controls import add_twins
from lvlmsal.evaluation.config.further import figures_of, misfits, namesakes
from lvlmsal.evaluation.config.paper import paper_problems
from lvlmsal.evaluation.config.plugins import import_plugins
from lvlmsal.evaluation.config.reading import read_config
from lvlmsal.evaluation.config.schema import BenchmarkConfig, ModelConfig, RunConfig
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.config.trainer import trainer_problems
from lvlmsal.evaluation.config.unresolved import Unresolved, below, literal
from lvlmsal.evaluation.config.world import ensure_world, world_problems
from lvlmsal.registry import BENCHMARKS, DECODERS, INTERVENTIONS, options_of

if TYPE_CHECKING:
    from lvlmsal.benchmarks.base import Benchmark
    from lvlmsal.decoders.base import Decoder
    from lvlmsal.interventions.base import Intervention

NO_ANSWER = (
    *("root", "images", "questions", "annotations", "vocabulary", "ids", "subset"),
    *("dataset", "variant", "context", "reference"),
    "max_image_pixels",
    *("parser", "rule", "reading", "tokenizer", "judge_prompt", "judge_prompts", "judge_runs"),
    "metrics",
)
"""Options of benchmarks and models that change no answer: places of files, whose content counts
instead, how answers are read, and what is not answered at all."""

NEW = (("image_backend", "auto"), ("kind", "shapes"), ("judge", None), ("share", None))
"""Options of models, worlds and decoders that earlier versions lacked, at their defaults: keys of
records and comparisons of configs go without."""


@dataclass(frozen=True)
class Cell:
    """One model with one method on one benchmark.

    Attributes:
        model: The checkpoint.
        method: Name of the method.
        decoder: The decoder, with this checkpoint's defaults under the config's options.
        interventions: The interventions, likewise.
        label: Name of the benchmark in tables and records.
        benchmark: The benchmark.
        seed: Seed of its random numbers.
        texts: What in `settings` comes from the environment, by its place there.
    """

    model: ModelConfig
    method: str
    decoder: Decoder
    interventions: tuple[Intervention, ...]
    label: str
    benchmark: Benchmark
    seed: int
    texts: Unresolved = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How progress and messages call this cell."""
        return f"{self.model.name} · {self.method} · {self.label}"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that an answer depends on, besides the sample and the weights themselves."""
        # which images are asked about does not change the answer to any of them
        unused = {*NO_ANSWER, "limit", "subset_seed"}
        options = options_of(self.benchmark)
        return {
            "model": {
                key: value
                for key, value in asdict(self.model).items()
                if key not in NO_ANSWER and (key, value) not in NEW
            },
            # two methods may have the same settings, to see that they answer alike
            "method": self.method,
            "decoder": {
                "name": self.decoder.name,
                **{k: v for k, v in options_of(self.decoder).items() if (k, v) not in NEW},
            },
            "interventions": [{"name": e.name, **e.recorded()} for e in self.interventions],
            **({"outside": outside} if (outside := self.decoder.outside()) else {}),
            "benchmark": {
                "label": self.label,
                "name": self.benchmark.name,
                **{key: value for key, value in options.items() if key not in unused},
            },
            "seed": self.seed,
        }

    @property
    def shown(self) -> dict[str, Any]:
        """`settings` as files have them: what the environment holds stays ``${oc.env:NAME}``."""
        shown: dict[str, Any] = literal(self.settings, self.texts)
        return shown

    @cached_property
    def digest(self) -> str:
        """Digest of `settings`, resolved; the first part of a record's key."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def key(self, sample_id: str) -> str:
        """The key of a sample's record."""
        return f"{self.digest}/{sample_id}"


@dataclass(frozen=True)
class Plan:
    """A checked config with everything built but the models.

    Attributes:
        config: The config with all defaults filled in.
        benchmarks: The benchmarks by label.
        cells: Every model with every method, and every seed of one that draws, on every benchmark,
            in that order.
    """

    config: RunConfig
    benchmarks: dict[str, Benchmark]
    cells: tuple[Cell, ...]

    def of_model(self, model: ModelConfig) -> list[Cell]:
        """The cells of one model."""
        return [cell for cell in self.cells if cell.model is model]


def make_plan(
    source: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    given: Sequence[str] = (),
    found: Iterable[str] = (),
) -> Plan:
    """Read and check a config.

    A scene world that the config asks for is written here if nothing else is wrong, because the
    benchmarks are checked against its files.

    Args:
        source: The config, as `read_config` takes it.
        overrides: Texts ``key=value``.
        given: Names of models that the caller hands over as objects, so that their `source` need
            not lead to any weights.
        found: Problems that the caller has found already, to be told with the others.

    Raises:
        ConfigError: Anything is wrong; it lists every problem.
    """
    draft = read_draft(source, overrides, given=given, found=found)
    config, benchmarks, problems = draft.config, draft.benchmarks, draft.problems
    problems += trainer_problems(config.trainer)
    problems += world_problems(config.world)
    if config.world is not None and not problems:
        ensure_world(config.world)
    for label, benchmark in benchmarks.items():
        if config.world is None or not waits_for_world(config, benchmark):
            problems += benchmark.problems() or misfits(config.benchmarks, label, benchmark)
    if problems:
        raise ConfigError(problems, source=draft.name)
    return draft.plan()


@dataclass
class Draft:
    """A config after all checks that need neither data nor devices.

    Attributes:
        config: The config, in which a value that is wrong is replaced by the default.
        benchmarks: The benchmarks by label, as far as they can be built.
        problems: Everything that is wrong.
        name: What to call the config in messages.
    """

    config: RunConfig
    benchmarks: dict[str, Benchmark]
    problems: list[str]
    name: str

    def plan(self) -> Plan:
        """The plan of a config that has no problems."""
        config = self.config
        if config.twins:
            add_twins(config)
        cells = tuple(
            cell
            for model in range(len(config.models))
            for method in range(len(config.methods))
            for cell in _cells(config, model, method, self.benchmarks)
        )
        return Plan(config, self.benchmarks, cells)


def read_draft(
    source: ConfigSource,
    overrides: Iterable[str] = (),
    *,
    given: Sequence[str] = (),
    found: Iterable[str] = (),
) -> Draft:
    """Read a config and check what can be checked without its data; see `make_plan`."""
    config, problems, name = read_config(source, overrides)
    problems = [*found, *problems]
    problems += import_plugins(config.plugins)
    problems += settings_problems(config, given=given)
    for index, method in enumerate(config.methods):
        where = f"methods[{index}] ({method.name})"
        problems += placed(where, method_problems(method, config.models))
    benchmarks: dict[str, Benchmark] = {}
    for index, entry in enumerate(config.benchmarks):
        is_open = lacks_root(entry, problems)
        wrong = benchmark_problems(entry, root="unset" if is_open else "", imports=True)
        if not wrong and not is_open:
            wrong = _add_benchmark(entry, benchmarks, may_fail=config.max_failures)
        problems += placed(f"benchmarks[{index}]", wrong)
    if not problems:
        problems += namesakes(config.benchmarks, benchmarks)
        problems += paper_problems(
            config.paper,
            models=[model.name for model in config.models],
            methods=[method.name for method in config.methods],
            figures={e.label: figures_of(e, benchmarks[e.label]) for e in config.benchmarks},
        )
    return Draft(config, benchmarks, problems, name)


def _add_benchmark(
    entry: BenchmarkConfig, benchmarks: dict[str, Benchmark], *, may_fail: int
) -> list[str]:
    """Build a benchmark under its label."""
    benchmark = BENCHMARKS.build(entry.name, **entry.options)
    benchmark.may_fail = may_fail
    label = entry.label or benchmark.label
    entry.label = label
    if label in benchmarks:
        return [f"there are two benchmarks {label!r}: give one of them a label of its own"]
    benchmarks[label] = benchmark
    return []


def waits_for_world(config: RunConfig, benchmark: Benchmark) -> bool:
    """Whether a benchmark's files are still to be written."""
    assert config.world is not None  # the caller asks only then
    root = Path(config.world.root)
    return not (root / "world.json").is_file() and Path(benchmark.root) == root


def _cells(
    config: RunConfig, model_at: int, method_at: int, benchmarks: dict[str, Benchmark]
) -> list[Cell]:
    """A model with a method on all benchmarks, by their places in the config."""
    model, method, seeds = config.models[model_at], config.methods[method_at], config.all_seeds()
    places = {entry.label: at for at, entry in enumerate(config.benchmarks)}
    card = card_of(model)
    decoder = build_component(DECODERS, method.decoder, card)
    edits = tuple(build_component(INTERVENTIONS, e, card) for e in method.interventions)
    texts = below(config.texts, ("models", model_at), ("model",))
    texts |= below(config.texts, ("methods", method_at), ())
    asked = {k: below(config.texts, ("benchmarks", places[k]), ("benchmark",)) for k in benchmarks}
    return [
        Cell(model, method.name, decoder, edits, label, benchmark, seed, texts | asked[label])
        for seed in (seeds if decoder.is_random else seeds[:1])
        for label, benchmark in benchmarks.items()
    ]
