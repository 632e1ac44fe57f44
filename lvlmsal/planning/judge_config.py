"""The judge of a config, as the judges take it."""

from __future__ import annotations

from lvlmsal.judges import Budget, Endpoint
from lvlmsal.planning.schema import JudgeConfig


def endpoint_of(config: JudgeConfig) -> Endpoint:
    """The judge model and how it is reached."""
    return Endpoint(
        model=config.model,
        base_url=config.base_url,
        api_key_env=config.api_key_env,
        concurrency=config.concurrency,
        timeout=config.timeout,
        retries=config.retries,
        options=config.options,
    )


def budget_of(config: JudgeConfig) -> Budget:
    """What the judging may cost."""
    return Budget(
        price_in=config.price_in,
        price_out=config.price_out,
        max_calls=config.max_calls,
        max_cost=config.max_cost,
    )


def judge_problems(config: JudgeConfig | None) -> list[str]:
    """Everything that is wrong with the judge of a config; nothing is asked to find out."""
    if config is None or config.model == "???":  # a missing model was told when it was read
        return []
    found = [*endpoint_of(config).problems(), *budget_of(config).problems()]
    return [f"judge.{problem}" for problem in found]
