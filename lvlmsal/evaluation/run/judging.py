"""Judging the answers of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.judge_config import budget_of, endpoint_of, judge_problems
from lvlmsal.evaluation.report.result import Result
from lvlmsal.evaluation.report.run_scoring import open_run, score
from lvlmsal.evaluation.results import names
from lvlmsal.evaluation.results.folder import write_config
from lvlmsal.evaluation.results.judge_replies import judged_parts
from lvlmsal.evaluation.results.locks import RunLock
from lvlmsal.judges import Judging, ReplyStore, judge


def judge_run(
    run: Path | str,
    overrides: Iterable[str] = (),
    *,
    advance: Callable[[int, int], None] | None = None,
) -> tuple[Judging, Result]:
    """Fetch the judge's replies that a run still needs, keep them in its folder, and score it.

    The judge is that of the run's config, with the overrides in it; it is written back there, so
    that `score` knows whose replies count. Replies of other judges stay where they are.

    Args:
        run: A folder that `evaluate` has written.
        overrides: Texts such as ``judge.model=gpt-4-0613``.
        advance: Told after every reply how many of how many requests of the round are answered.

    Returns:
        How the judging went, and the figures.

    Raises:
        ConfigError: There is nothing to judge, no judge, or something is wrong with its settings.
        LvlmsalError: The endpoint failed; the replies that came are kept.
    """
    run = Path(run)
    overrides = list(overrides)
    if strange := [text for text in overrides if not text.strip().startswith("judge")]:
        raise ConfigError(
            [
                f"{text!r}: only keys of the judge can be set here, such as judge.model=gpt-4-0613"
                for text in strange
            ]
        )
    opened = open_run(run, overrides)
    parts = judged_parts(opened.records, opened.metrics)
    if not parts:
        raise ConfigError(
            [f"nothing to judge in {run}: no answer to {', '.join(opened.metrics)} needs a judge"]
        )
    config, endpoint = opened.config.judge, endpoint_of(opened.config)
    if config is None or endpoint is None:
        models = sorted({metric.judge_model for metric, _, _ in parts.values()})
        raise ConfigError(
            [f"no judge is named: add judge.model=NAME (the official judge is {', '.join(models)})"]
        )
    if problems := judge_problems(opened.config):
        raise ConfigError(problems)
    with RunLock(run):
        write_config(run, opened.config)
        went = judge(
            list(parts.values()),
            endpoint,
            ReplyStore(run / names.REPLIES),
            budget_of(config),
            advance=advance,
        )
        return went, score(run)
