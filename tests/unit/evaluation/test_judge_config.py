"""The judge of a config: every key reaches the judges."""

from __future__ import annotations

from dataclasses import asdict, fields

from lvlmsal.evaluation.config.judge_config import budget_of, endpoint_of
from lvlmsal.evaluation.config.schema import JudgeConfig, RunConfig
from lvlmsal.judges import Budget, Endpoint


def test_every_key_reaches_the_endpoint_or_the_budget() -> None:
    judge = JudgeConfig(
        model="m",
        base_url="http://localhost/v1",
        api_key_env="KEY",
        concurrency=2,
        timeout=3.0,
        retries=4,
        max_reply_bytes=5000,
        options={"seed": 6},
        price_in=7.0,
        price_out=8.0,
        max_calls=9,
        max_cost=10.0,
    )
    default = JudgeConfig()
    assert all(getattr(judge, f.name) != getattr(default, f.name) for f in fields(JudgeConfig))
    endpoint = endpoint_of(RunConfig(judge=judge))
    assert endpoint is not None
    taken = asdict(endpoint) | asdict(budget_of(judge))
    taken.pop("shown")
    assert taken == asdict(judge)


def test_what_a_config_does_not_say_is_what_the_judges_take() -> None:
    known = {f.name: f.default for part in (Endpoint, Budget) for f in fields(part)}
    keys = {f.name: f.default for f in fields(JudgeConfig)}
    assert keys == {**{name: known[name] for name in keys}, "model": keys["model"]}


def test_a_config_without_a_judge() -> None:
    assert endpoint_of(RunConfig()) is None
