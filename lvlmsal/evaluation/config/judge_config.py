"""The judge of a config, as the judges take it."""

from __future__ import annotations

from lvlmsal.evaluation.config.schema import JudgeConfig, RunConfig
from lvlmsal.judges import Budget, Endpoint


def endpoint_of(config: RunConfig) -> Endpoint | None:
    """The judge model and how it is reached; None where a config names no judge."""
    judge = config.judge
    if judge is None:
        return None
    return Endpoint(
        model=judge.model,
        base_url=judge.base_url,
        api_key_env=judge.api_key_env,
        concurrency=judge.concurrency,
        timeout=judge.timeout,
        retries=judge.retries,
        max_reply_bytes=judge.max_reply_bytes,
        options=judge.options,
        shown=config.shown()["judge"],
    )


def budget_of(config: JudgeConfig) -> Budget:
    """What the judging may cost."""
    return Budget(
        price_in=config.price_in,
        price_out=config.price_out,
        max_calls=config.max_calls,
        max_cost=config.max_cost,
    )


def judge_problems(config: RunConfig) -> list[str]:
    """Everything that is wrong with the judge of a config; nothing is asked to find out."""
    judge, endpoint = config.judge, endpoint_of(config)
    # a missing model was told when it was read
    if judge is None or endpoint is None or judge.model == "???":
        return []
    found = [*endpoint.problems(), *budget_of(judge).problems()]
    return [f"judge.{problem}" for problem in found]
