"""From a config to answers with their saliency: what every analysis starts with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lvlmsal.analysis.labels import chair_vocabulary
from lvlmsal.analysis.output import made_folder
from lvlmsal.benchmarks.base import Benchmark
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.run.evaluate import evaluate
from lvlmsal.evaluation.run.replay import Replayed, replay
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import SaliencyOptions

T = TypeVar("T")


@dataclass(frozen=True)
class DescribedRun:
    """A run whose descriptions can be labeled.

    Attributes:
        folder: The run folder.
        vocabularies: Of each of its CHAIR benchmarks, by label.
    """

    folder: Path
    vocabularies: Mapping[str, Vocabulary]

    def output(self, name: str, out: Path | None) -> Path:
        """The folder that an analysis writes into, made if need be: `out`, or one in the run.

        Raises:
            ConfigError: It cannot be made.
        """
        return made_folder(out or self.folder / "analysis" / name)


def describe(
    config: ConfigSource, overrides: Iterable[str] = (), *, lvlms: Mapping[str, Lvlm] | None = None
) -> DescribedRun:
    """Have every answer of a config's run that is still missing given.

    Args:
        config: An ordinary config of a run, with the benchmark ``chair`` among its benchmarks.
        overrides: Texts ``key=value``.
        lvlms: Models that are already loaded, by name.

    Raises:
        ConfigError: The config is wrong or asks for no descriptions.
        LvlmsalError: See `lvlmsal.evaluation.evaluate`.
    """
    return DescribedRun(*answered_run(config, overrides, chair_vocabulary, lvlms=lvlms))


def answered_run(
    config: ConfigSource,
    overrides: Iterable[str],
    labels_of: Callable[[Benchmark], T],
    *,
    lvlms: Mapping[str, Lvlm] | None = None,
) -> tuple[Path, dict[str, T]]:
    """Have every answer of a config's run that is still missing given.

    Args:
        config: As for `describe`.
        overrides: Texts ``key=value``.
        labels_of: What an analysis needs of a benchmark to label its answers; it raises
            ``UnsupportedError`` where that cannot be had.
        lvlms: Models that are already loaded, by name.

    Returns:
        The run folder, and what was found of each benchmark by its label.

    Raises:
        ConfigError: The config is wrong, or nothing was found of any benchmark.
        LvlmsalError: See `lvlmsal.evaluation.evaluate`.
    """
    given = dict(lvlms or {})
    overrides = list(overrides)
    plan = make_plan(config, overrides, given=list(given))
    found: dict[str, T] = {}
    for label, benchmark in plan.benchmarks.items():
        try:
            found[label] = labels_of(benchmark)
        except UnsupportedError:
            continue  # questions may stand next to the descriptions that have no mentions
    if not found:
        raise ConfigError(
            [
                "benchmarks: the analysis needs descriptions, whose objects can be looked up: add "
                f"the benchmark 'chair' (there are: {', '.join(plan.benchmarks)})"
            ]
        )
    return evaluate(config, overrides, models=given).folder, found


def judged(
    run: DescribedRun, options: SaliencyOptions, *, lvlms: Mapping[str, Lvlm] | None = None
) -> Iterator[Replayed]:
    """Every description of a run with its saliency.

    Args:
        run: See `describe`.
        options: Which saliency; the same for all methods, so that they can be compared.
        lvlms: Models that are already loaded, by name.
    """
    return replay(run.folder, benchmarks=list(run.vocabularies), options=options, lvlms=lvlms)
