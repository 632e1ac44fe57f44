"""`lvlmsal judge` on whole runs: a tiny model answers, a server of the tests judges."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import evaluate, score
from lvlmsal.evaluation.results.locks import RunLock
from lvlmsal.evaluation.results.schema import Cell, Results
from lvlmsal.evaluation.run.judging import judge_run
from lvlmsal.judges import client
from lvlmsal.model.lvlm import Lvlm
from tests.unit.benchmarks.judged_files import write_llava_bench, write_mm_vet
from tests.unit.evaluation.typed import misfits
from tests.unit.judges.server import Act, Behavior, serving

pytestmark = pytest.mark.slow

KEY = "sk-secret-of-the-test"
METHODS = ["greedy", {"name": "sgrs", "decoder": {"name": "sgrs", "layers": [1]}}]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("JUDGE_KEY", KEY)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, tiny: Lvlm) -> dict[str, Any]:
    """The config of a run on both judged benchmarks, not judged yet."""
    folder = tmp_path_factory.mktemp("judged")
    roots = write_llava_bench(folder / "wild"), write_mm_vet(folder / "vet")
    for root in roots:
        for path in (root / "images").iterdir():
            kind = "PNG" if path.suffix == ".png" else "JPEG"
            Image.new("RGB", (16, 16), (200, 10, 10)).save(path, kind)
    config: dict[str, Any] = {
        "output": str(folder / "run"),
        "models": [{"source": "tiny/llava", "name": "tiny"}],
        "methods": METHODS,
        "baseline": "greedy",
        "benchmarks": [
            {"name": "llava-bench", "root": str(roots[0]), "max_new_tokens": 3},
            {"name": "mm-vet", "root": str(roots[1]), "max_new_tokens": 3, "judge_runs": 2},
        ],
        "bootstrap": {"samples": 100},
    }
    evaluate(config, models={"tiny": tiny})
    return config


@pytest.fixture
def judged(tmp_path: Path, answered: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A copy of that run, and its config."""
    shutil.copytree(answered["output"], tmp_path / "run")
    return tmp_path / "run", {**answered, "output": str(tmp_path / "run")}


def at(url: str, **more: object) -> list[str]:
    given = {"model": "m", "base_url": url, "api_key_env": "JUDGE_KEY", **more}
    return [f"judge.{key}={value}" for key, value in given.items()]


def grading(body: dict[str, Any], number: int) -> Act:
    """Two scores to LLaVA-Bench's message, a grade to MM-Vet's."""
    return Act("8 4\nso so" if body["max_tokens"] == 1024 else "0.5")


def broken_on(count: int) -> Behavior:
    def act(body: dict[str, Any], number: int) -> Act:
        return Act(status=500) if number >= count else grading(body, number)

    return act


def test_a_run_is_judged_scored_and_scored_again_without_the_server(
    judged: tuple[Path, dict[str, Any]],
    answered: dict[str, Any],
    run: Callable[..., tuple[int, str, str]],
    tiny: Lvlm,
) -> None:
    folder, config = judged
    before = json.loads((folder / "results.json").read_text())
    waiting = [text for text in before["warnings"] if "no reply yet" in text]
    assert len(waiting) == 4
    command = f"type `lvlmsal judge {answered['output']} judge.model=MODEL`"
    assert all(command in text for text in waiting)
    cell = before["cells"][0]
    assert cell["figures"]["ratio"]["value"] is None
    assert cell["judge"]["unjudged"] == 3
    assert cell["judge"]["judge"] is None
    assert misfits(before, Results) == []

    with serving(grading) as server:
        code, out, _ = run("judge", folder, *at(server.url, price_in=10, price_out=10))
        asked = len(server.requests)
        assert code == 0
        assert f"{asked} replies fetched, 0 missing" in out
        assert "cost 0.0" in out
    after = score(folder)
    assert after.value("tiny", "greedy", "llava-bench", "ratio") == 0.5
    assert after.value("tiny", "sgrs", "mm-vet", "total") == 0.5
    assert not [text for text in after.results["warnings"] if "no reply yet" in text]
    for cell in after.results["cells"]:
        assert cell["judge"]["judge"] == f"m at {server.url}"
        assert cell["judge"]["unjudged"] == 0
        assert len(cell["judge"]["prompt"]) == 16
        assert misfits(cell, Cell) == []
    assert f"Judged by m at {server.url}, prompt " in after.markdown()
    code, out, _ = run("judge", folder, "--json")
    assert code == 0
    assert json.loads(out)["judging"]["added"] == 0

    # the config without a judge goes on with the run, and the only judge counts
    again = evaluate(config, models={"tiny": tiny})
    assert again.value("tiny", "greedy", "llava-bench", "ratio") == 0.5
    for path in folder.rglob("*"):
        assert not path.is_file() or KEY not in path.read_text(errors="replace")


def test_a_judging_that_failed_goes_on_and_pays_nothing_twice(
    judged: tuple[Path, dict[str, Any]], run: Callable[..., tuple[int, str, str]]
) -> None:
    folder, _ = judged
    with serving(broken_on(4)) as server:
        words = [*at(server.url, retries=1), "judge.concurrency=1"]
        code, _, err = run("judge", folder, *words)
        assert code == 2
        assert "no reply after 2 tries" in err
        assert "4 replies of this session are kept" in err
        server.behavior = grading
        first = [json.dumps(body) for body in server.answered]
        code, _, _ = run("judge", folder)
        assert code == 0
        everything = [json.dumps(body) for body in server.answered]
    # the two runs of the judge over MM-Vet ask with the same words
    vet = [text for text in everything if '"max_tokens": 3' in text]
    assert len(first) == 4
    assert len(set(everything)) == len(everything) - len(vet) // 2
    assert score(folder).results["cells"][0]["judge"]["unjudged"] == 0


def test_a_spent_budget_leaves_what_is_missing_in_the_warnings(
    judged: tuple[Path, dict[str, Any]], run: Callable[..., tuple[int, str, str]]
) -> None:
    folder, _ = judged
    with serving(grading) as server:
        code, out, _ = run("judge", folder, *at(server.url, max_calls=2, concurrency=1))
        assert (code, len(server.requests)) == (0, 2)
    assert "stopped: 2 requests were sent and max_calls is 2" in out
    assert f"type `lvlmsal judge {folder}`" in "\n".join(score(folder).results["warnings"])


def test_two_judges_are_never_mixed(judged: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = judged
    with serving(grading) as server:
        judge_run(folder, at(server.url))
        server.behavior = lambda body, number: Act("2 2" if body["max_tokens"] == 1024 else "1")
        _, second = judge_run(folder, at(server.url, model="other"))
        assert second.value("tiny", "greedy", "llava-bench", "ratio") == 1.0
        asked = len(server.requests)
        went, first = judge_run(folder, ["judge.model=m"])
        assert first.value("tiny", "greedy", "llava-bench", "ratio") == 0.5
        assert (went.added, len(server.requests)) == (0, asked)


def test_another_prompt_asks_anew_and_another_reading_does_not(
    judged: tuple[Path, dict[str, Any]], tmp_path: Path, tiny: Lvlm
) -> None:
    folder, config = judged
    rules = {
        f"llava_bench_{c}": {"role": "Assistant", "prompt": "Grade."}
        for c in ("conv", "detail", "complex")
    }
    rule = tmp_path / "rule.json"
    rule.write_text(json.dumps(rules))
    config["judge"] = {"model": "m", "api_key_env": ""}
    with serving(lambda body, number: Act("7, 7" if body["max_tokens"] == 1024 else "0")) as server:
        config["judge"]["base_url"] = server.url
        evaluate(config, models={"tiny": tiny})
        judge_run(folder)
        asked = len(server.requests)
        result = evaluate(config, ["benchmarks.0.reading=lmms-eval"], models={"tiny": tiny})
        assert result.value("tiny", "greedy", "llava-bench", "ratio") == 1.0
        assert result.results["cells"][0]["judge"]["unjudged"] == 0
        changed = [f"benchmarks.0.judge_prompt={rule}"]
        result = evaluate(config, changed, models={"tiny": tiny})
        assert result.results["cells"][0]["judge"]["unjudged"] == 3
        judge_run(folder)
        assert len(server.requests) > asked


def test_wrong_calls_say_what_to_type(
    judged: tuple[Path, dict[str, Any]], run: Callable[..., tuple[int, str, str]]
) -> None:
    folder, _ = judged
    for words, message in [
        ((), "add judge.model=NAME (the official judge is gpt-4-0314, gpt-4-0613)"),
        (("seed=3",), "only keys of the judge can be set here"),
        (("judge.modle=x",), "judge.modle: there is no such key. Did you mean 'model'?"),
        (("judge.price_in=1",), "judge.model: is missing"),
        (("judge.model=m", "judge.max_cost=1"), "judge.max_cost: needs the prices"),
        (("judge.model=m", "judge.api_key_env=NO_SUCH_KEY"), "NO_SUCH_KEY is not set"),
        # what that message says to type is taken: the next problem is told
        (("judge.model=m", "judge.api_key_env=", "judge.base_url=host"), "judge.base_url"),
    ]:
        code, _, err = run("judge", folder, *words)
        assert code == 2
        assert message in err
    with RunLock(folder):
        code, _, err = run("judge", folder, "judge.model=m")
        assert code == 2
        assert "another process" in err


def test_runs_without_a_judged_benchmark_are_told(finished: Any) -> None:
    with pytest.raises(ConfigError, match=r"nothing to judge.*pope/random, chair"):
        judge_run(finished.folder, ["judge.model=m"])


def test_a_wrong_judge_is_found_before_anything_is_answered(
    judged: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, config = judged
    config["output"] = str(tmp_path / "new")
    config["judge"] = {"model": "m", "api_key_env": "sk-1234567", "base_url": "host"}
    with pytest.raises(ConfigError) as caught:
        evaluate(config)
    assert "judge.base_url" in str(caught.value)
    assert "judge.api_key_env" in str(caught.value)
    assert "sk-1234567" not in str(caught.value)
    assert not (tmp_path / "new").exists()
