"""The judge of a config, as the judges take it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lvlmsal.evaluation.config.schema import JudgeConfig, RunConfig
from lvlmsal.judges import Budget, Endpoint


def endpoint_of(config: RunConfig) -> Endpoint | None:
    """The judge model and how it is reached; None where a config names no judge."""
    judge = config.judge
    if judge is None:
        return None
    return Endpoint(**_settings(judge, Endpoint), shown=config.shown()["judge"])


def budget_of(config: JudgeConfig) -> Budget:
    """What the judging may cost."""
    return Budget(**_settings(config, Budget))


def _settings(config: JudgeConfig, part: type[Endpoint | Budget]) -> dict[str, Any]:
    """What a config says of one part of it, whose fields have the same names."""
    return {f.name: getattr(config, f.name) for f in fields(part) if hasattr(config, f.name)}


def judge_problems(config: RunConfig) -> list[str]:
    """Everything that is wrong with the judge of a config; nothing is asked to find out."""
    judge, endpoint = config.judge, endpoint_of(config)
    # a missing model was told when it was read
    if judge is None or endpoint is None or judge.model == "???":
        return []
    found = [*endpoint.problems(), *budget_of(judge).problems()]
    return [f"judge.{problem}" for problem in found]
