"""From a config to answers with their saliency: what every analysis starts with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvlmsal.analysis.labels import chair_vocabulary
from lvlmsal.analysis.output import made_folder
from lvlmsal.errors import ConfigError, UnsupportedError
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.config.source import ConfigSource
from lvlmsal.evaluation.run.evaluate import evaluate
from lvlmsal.evaluation.run.replay import Replayed, replay
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import SaliencyOptions


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
    given = dict(lvlms or {})
    overrides = list(overrides)
    plan = make_plan(config, overrides, given=list(given))
    vocabularies = {}
    for label, benchmark in plan.benchmarks.items():
        try:
            vocabularies[label] = chair_vocabulary(benchmark)
        except UnsupportedError:
            continue  # yes-no questions may stand next to the descriptions; they have no mentions
    if not vocabularies:
        raise ConfigError(
            [
                "benchmarks: the analysis needs descriptions, whose objects can be looked up: add "
                f"the benchmark 'chair' (there are: {', '.join(plan.benchmarks)})"
            ]
        )
    folder = evaluate(config, overrides, models=given).folder
    return DescribedRun(folder, vocabularies)


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
