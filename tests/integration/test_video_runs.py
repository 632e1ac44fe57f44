"""Questions without an image and with many, answered in one run, judged, and scored again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lvlmsal.evaluation import Result, evaluate
from lvlmsal.evaluation.run.judging import judge_run
from lvlmsal.model.lvlm import Lvlm
from tests.unit.judges.server import Act, serving
from tests.unit.readers.test_video import ANSWERS, BARE, HALLUSION, QUESTIONS, write

pytestmark = pytest.mark.slow


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), (shade, 90, 255 - shade)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "HallusionBench.json", [HALLUSION, BARE])
    picture(tmp_path / "hallusion_bench/VS/map/3_1.png", 20)
    write(tmp_path / "test_q.json", QUESTIONS)
    write(tmp_path / "test_a.json", ANSWERS)
    single = [{"video_name": "v_abc", "Q": "What happens?", "A": "He runs."}]
    paired = [{"video_name": "v_abc", "Q1": "Who?", "Q2": "Which one?", "A": "A man."}]
    write(tmp_path / "generic_qa.json", single)
    write(tmp_path / "temporal_qa.json", single)
    write(tmp_path / "consistency_qa.json", paired)
    for number in range(4):
        picture(tmp_path / f"frames/v_abc/{number}.png", 60 * number)
    return tmp_path


def figures(result: Result, label: str) -> dict[str, Any]:
    (cell,) = [cell for cell in result.results["cells"] if cell["benchmark"] == label]
    return {name: entry["value"] for name, entry in cell["figures"].items()}


def test_every_method_answers_without_an_image(root: Path, tmp_path: Path, tiny: Lvlm) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "models": [{"source": "tiny/llava", "name": "tiny"}],
        "methods": [
            "greedy",
            {"name": "sgrs", "decoder": {"name": "sgrs", "layers": [1]}},
            {"name": "locore", "interventions": ["locore"]},
        ],
        "benchmarks": [{"name": "hallusionbench", "rule": "strict", "max_new_tokens": 3}],
        "data": {"root": str(root)},
        "bootstrap": {"samples": 100},
        "batch_size": 2,
    }
    result = evaluate(config, models={"tiny": tiny})
    records = result.records()
    assert [record["status"] for record in records] == ["ok"] * 6
    assert sum(record["images"] == [] for record in records) == 3
    assert all(cell["figures"]["n"]["value"] == 2 for cell in result.results["cells"])


def test_a_run_with_no_image_and_with_many(root: Path, tmp_path: Path, tiny: Lvlm) -> None:
    config = {
        "output": str(tmp_path / "run"),
        "models": [{"source": "tiny/llava", "name": "tiny"}],
        "methods": ["greedy"],
        "benchmarks": [
            {"name": "hallusionbench", "max_new_tokens": 2},
            {"name": "activitynet-qa", "frames": 3, "max_new_tokens": 2},
            {"name": "video-chatgpt", "frames": 2, "max_new_tokens": 2},
        ],
        "data": {"root": str(root)},
        "bootstrap": {"samples": 100},
        "batch_size": 2,
    }
    result = evaluate(config, models={"tiny": tiny})
    records = {record["sample_id"]: record for record in result.records()}
    assert all(record["status"] == "ok" for record in records.values())
    assert records["VS_map_3_0_0"]["images"] == []
    assert records["v_abc_1"]["images"] == ["0.png", "2.png", "3.png"]
    assert figures(result, "hallusionbench")["unjudged"] == 2
    assert figures(result, "activitynet-qa")["unjudged"] == 2
    assert figures(result, "video-chatgpt")["unjudged"] == 5

    def reply(body: dict[str, Any], number: int) -> Act:
        asked = body["messages"][-1]["content"]
        if "One word:" in asked:
            return Act("correct" if "north" in asked else "incorrect")
        return Act("{'pred': 'yes', 'score': 4.5}")

    with serving(reply) as server:
        words = {"model": "m", "base_url": server.url, "api_key_env": ""}
        overrides = [f"judge.{key}={json.dumps(value)}" for key, value in words.items()]
        _, judged = judge_run(tmp_path / "run", overrides)
        # answers that are the same are asked about once
        assert 0 < len(server.requests) <= 2 + 2 + 5
    assert figures(judged, "hallusionbench")["aacc"] == 1
    assert figures(judged, "activitynet-qa")["score"] == 4
    five = figures(judged, "video-chatgpt")
    assert {five[name] for name in ("correctness", "temporal", "consistency", "mean")} == {4}
    assert five["unjudged"] == 0
