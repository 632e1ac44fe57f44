"""The configs of guided decoding can be tried by whoever has neither the data nor the fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvlmsal.analysis.described_run import describe
from lvlmsal.errors import ConfigError, DataError
from lvlmsal.evaluation import evaluate
from lvlmsal.evaluation.config.plan import read_draft
from lvlmsal.evaluation.run.dry import dry_run
from lvlmsal.model.loading import load
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.testing.tiny import tiny_lvlm

pytestmark = pytest.mark.slow

CONTROLS = {"guided by log-probability", "guided by confidence and position"}


def test_a_dry_run_needs_neither_photographs_nor_fits() -> None:
    found = dry_run("guided-coco")
    methods = {tried.method for tried in found.tried}
    assert {"greedy", "beam 5", "guided", "guided, fitted", "guided beam 5", *CONTROLS} <= methods
    assert any("guided, fitted: tried with other options" in note for note in found.notes)
    assert any("type  lvlmsal fit" in note for note in found.notes)


def test_the_config_says_how_to_fit_first() -> None:
    """The command in its head is one that works: one method, and other images than the run's."""
    overrides = ["methods=[greedy]", "benchmarks.chair.subset=coco-val2014-500-seed1"]
    draft = read_draft("guided-coco", [*overrides, "data.root=nowhere"])
    assert [method.decoder["name"] for method in draft.config.methods] == ["greedy"]
    plain = read_draft("guided-coco", ["data.root=nowhere"])
    images = [d.benchmarks["chair"].subset for d in (draft, plain)]  # type: ignore[attr-defined]
    assert images == ["coco-val2014-500-seed1", "coco-val2014-500-seed0"]
    with pytest.raises(ConfigError, match="nowhere"):
        describe("guided-coco", [*overrides, "data.root=nowhere"])


def test_fits_that_are_missing_are_told_before_anything_is_answered(
    tmp_path: Path,
) -> None:
    tiny = load(tiny_lvlm("llava"))
    root = write_world(tmp_path / "world", images=2, seed=1, shifted=True)
    missing = {"name": "early-lens", "scaling": str(tmp_path / "fits")}
    config = {
        "output": str(tmp_path / "run"),
        "models": ["tiny"],
        "methods": ["greedy", {"name": "late", "decoder": {"name": "guided", "detector": missing}}],
        "benchmarks": [{"name": "chair", "root": str(root), "max_new_tokens": 2}],
    }
    with pytest.raises(DataError, match=r"fits.*type  lvlmsal fit"):
        evaluate(config, models={"tiny": tiny})
    records = tmp_path / "run" / "records.jsonl"
    assert not records.exists() or not records.read_text()
