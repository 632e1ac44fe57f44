"""A run with samples that cannot be answered: `max_failures` decides, and the report is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evaluation import evaluate
from lvlmsal.model.loading import load
from lvlmsal.testing.tiny import tiny_lvlm

pytestmark = pytest.mark.slow

ODD_ID = "id \ud800 \x1b[31m [/x]"
ROWS: list[tuple[Any, str, str]] = [
    (1, "good.png", "Is it?"),
    (2, "strip.png", "Is it?"),
    (3, "good.png", "half \ud83d?"),
    (4, "good.png", "<|image_pad|> and <|image_pad|>?"),
    (5, "good.png", "a <|video_pad|>?"),
    (6, "n" * 5000 + ".png", "Is it?"),
    (7, "iVBORw0KGgo" + "A" * 400, "Is it?"),
    (8, "gone.png", "Is it?"),
    (ODD_ID, "good.png", "Is it odd?"),
]
REASONS = {
    "2": "5 x 1093 pixels",
    "3": "lone surrogate",
    "4": "2 placeholders",
    "5": "of a video",
    "6": "longer than names of files",
    "7": "base64 text",
    "8": "no such image file",
}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "pope").mkdir()
    (tmp_path / "images").mkdir()
    Image.effect_noise((40, 30), 90).save(tmp_path / "images/good.png")
    Image.new("RGB", (5, 1093)).save(tmp_path / "images/strip.png")
    keys = ("question_id", "image", "text")
    rows = [{**dict(zip(keys, row, strict=True)), "label": "yes"} for row in ROWS]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "pope/coco_pope_random.json").write_text(text, encoding="utf-8")
    benchmark = {"name": "pope", "root": str(tmp_path), "split": "random", "max_new_tokens": 2}
    return {
        "output": str(tmp_path / "run"),
        "models": [{"source": "tiny", "name": "tiny"}],
        "methods": ["greedy"],
        "benchmarks": [benchmark],
        "logger": "none",
        "max_failures": len(REASONS),
    }


def test_each_bad_sample_fails_alone_and_the_report_is_written(config: dict[str, Any]) -> None:
    lvlm = load(tiny_lvlm("qwen2_vl"))
    result = evaluate(config, models={"tiny": lvlm})
    records = {record["sample_id"]: record for record in result.records()}
    failed = {key: r["error"] for key, r in records.items() if r["status"] == "failed"}
    assert failed.keys() == REASONS.keys()
    for key, reason in REASONS.items():
        assert reason in failed[key]
    assert records.keys() - failed.keys() == {"1", ODD_ID}
    for name in ("report.html", "results.json", "results.md"):
        assert (result.folder / name).read_text(encoding="utf-8")
    environment = json.loads((result.folder / "environment.json").read_text(encoding="utf-8"))
    assert environment["models"]["tiny"]["image_backend"] in ("pil", "torchvision")
    assert environment["models"]["tiny"]["processor"] == type(lvlm.processor).__name__
    assert "torchvision" in environment["packages"]
    # what failed is tried again, and fails again
    again = evaluate(config, models={"tiny": lvlm})
    assert [r["status"] for r in again.records()] == [r["status"] for r in result.records()]


def test_one_more_than_max_failures_ends_the_run(config: dict[str, Any]) -> None:
    lvlm = load(tiny_lvlm("qwen2_vl"))
    with pytest.raises(DataError, match="max_failures"):
        evaluate({**config, "max_failures": len(REASONS) - 1}, models={"tiny": lvlm})
    with pytest.raises(ConfigError, match="there is no image") as caught:
        evaluate({**config, "max_failures": 2}, models={"tiny": lvlm})
    assert len(str(caught.value)) < 2000
