"""What Lightning's loggers write while a run goes on, and that they change no answer."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import Result, evaluate
from lvlmsal.evaluation.results.records import TIMINGS
from lvlmsal.model.lvlm import Lvlm

pytestmark = pytest.mark.slow


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_batches_and_figures_are_logged_as_csv(finished: Result) -> None:
    rows = logged(finished.folder / "logs" / "version_0")
    batches, last = rows[:-1], rows[-1]
    steps = [int(row["step"]) for row in batches]
    assert steps == sorted(steps)
    assert steps[-1] == len(finished.records())
    tokens = sum(record["new_tokens"] for record in finished.records())
    assert float(batches[-1]["tokens"]) == tokens
    assert {row["part"] for row in batches} == {"1", "2"}
    assert batches[-1]["failures"] == "0"
    expected = finished.value("tiny", "sgrs", "chair", "length")
    assert float(last["tiny/sgrs/chair/length"]) == pytest.approx(expected)


def test_a_run_without_logger_answers_alike_and_a_finished_one_logs_nothing(
    config: dict[str, Any], tiny: Lvlm, finished: Result
) -> None:
    silent = evaluate(config, ["logger=none"], models={"tiny": tiny})
    assert not (silent.folder / "logs").exists()
    bare = [{k: v for k, v in r.items() if k not in TIMINGS} for r in silent.records()]
    assert bare == [{k: v for k, v in r.items() if k not in TIMINGS} for r in finished.records()]
    evaluate(config, ["logger=csv"], models={"tiny": tiny})
    assert not (silent.folder / "logs").exists()


def test_a_continued_run_logs_beside_the_first_part(
    config: dict[str, Any], tiny: Lvlm, finished: Result
) -> None:
    methods = config["methods"]
    evaluate({**config, "methods": methods[:1]}, models={"tiny": tiny})
    first = logged(Path(config["output"]) / "logs" / "version_0")
    result = evaluate(config, models={"tiny": tiny})
    second = logged(result.folder / "logs" / "version_1")
    assert int(second[0]["step"]) > int(first[-1]["step"])
    assert int(second[-1]["step"]) == len(finished.records())
    assert logged(result.folder / "logs" / "version_0") == first


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
def test_tensorboard(config: dict[str, Any], tiny: Lvlm) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = evaluate(config, ["logger=tensorboard"], models={"tiny": tiny})
    events = EventAccumulator(str(result.folder / "logs" / "version_0"))
    events.Reload()
    tokens = [entry.value for entry in events.Scalars("tokens")]
    assert tokens[-1] == sum(record["new_tokens"] for record in result.records())
    (length,) = events.Scalars("tiny/sgrs/chair/length")
    assert length.value == pytest.approx(result.value("tiny", "sgrs", "chair", "length"))


def test_a_logger_that_is_not_there_is_told_before_anything_runs(
    config: dict[str, Any], tiny: Lvlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"logger: there is no 'tensorbord'\. Did you mean 'te"):
        evaluate(config, ["logger=tensorbord"], models={"tiny": tiny})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(ConfigError, match=rf"pip install 'lvlmsal\[{name}\]'"):
            evaluate(config, [f"logger={name}"], models={"tiny": tiny})
    assert not Path(config["output"]).exists()
