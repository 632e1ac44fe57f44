"""Files of each benchmark that the scene worlds have, asked of the shipped models and scored."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lvlmsal.data.check import check_data
from lvlmsal.evaluation import evaluate
from lvlmsal.pocket.files.folder import write_world
from lvlmsal.pocket.worlds import WORLDS
from lvlmsal.registry import BENCHMARKS

pytestmark = pytest.mark.slow

CONFIGS = {
    "benchmarks_demo": ("pocket-llava", "pocket-qwen2vl"),
    "stickers/benchmarks_demo": ("pocket-idefics3",),
}
FIGURES = {
    "pope/adversarial": "accuracy",
    "chair": "chair_s",
    "amber/discriminative": "accuracy",
    "amber/generative": "chair",
    "vizwiz/val": "accuracy",
    "mme": "accuracy",
}


@pytest.mark.full
@pytest.mark.parametrize("config", CONFIGS)
def test_every_model_answers_every_benchmark_of_its_world(config: str, tmp_path: Path) -> None:
    overrides = [
        f"output={tmp_path / 'run'}",
        f"world.root={tmp_path / 'world'}",
        "world.images=12",
        "bootstrap.samples=100",
        "methods=[greedy]",
        "baseline=greedy",
    ]
    result = evaluate(config, overrides)
    assert {cell["benchmark"] for cell in result.results["cells"]} == set(FIGURES)
    for model in CONFIGS[config]:
        for benchmark, figure in FIGURES.items():
            value = result.value(model, "greedy", benchmark, figure)
            assert value is not None
            assert math.isfinite(value)
        # better than one who always says yes, or no
        assert (result.value(model, "greedy", "mme", "accuracy") or 0) > 0.5
        assert (result.value(model, "greedy", "vizwiz/val", "accuracy") or 0) > 0.2
    for record in result.records():
        assert record["status"] == "ok"
        if record["benchmark"] in ("mme", "amber/discriminative", "pope/adversarial"):
            assert record["answer"].strip() in ("Yes.", "No."), record["prompt"]


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pope", {"split": "popular"}),
        ("chair", {}),
        ("mme", {}),
        ("vizwiz", {}),
        ("captions", {"annotations": "annotations/captions.json"}),
        *(
            ("amber", {"part": part, "variant": "words"})
            for part in (
                "generative",
                "discriminative",
                "discriminative-existence",
                "discriminative-attribute",
                "discriminative-relation",
            )
        ),
    ],
)
def test_the_readers_find_nothing_wrong_with_the_world(
    kind: str, name: str, options: dict[str, str], tmp_path: Path
) -> None:
    root = write_world(WORLDS[kind], tmp_path / "w", images=6, seed=1, shifted=True)
    benchmark = BENCHMARKS.build(name, root=str(root), **options)
    found = check_data(benchmark)
    assert found.problems == []
    assert found.good
    assert found.counts["samples"] > 0
