"""Dry runs: what they check, what they try, and that they leave nothing behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.errors import ConfigError
from lvlmsal.evaluation import evaluate
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.evaluation.run.dry import dry_run
from lvlmsal.evaluation.run.dry_models import adapter_name
from lvlmsal.evaluation.run.loading import OpenedBatches
from lvlmsal.pocket.scenes.world import write_world
from lvlmsal.registry import BENCHMARKS, INTERVENTIONS
from lvlmsal.testing import tiny_lvlm, tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path / "world", images=2, seed=0, shifted=True)


def make_config(output: Path, root: Path | str, **changes: Any) -> dict[str, Any]:
    return {
        "output": str(output),
        "models": ["llava-1.5-7b"],
        "methods": ["greedy"],
        "benchmarks": ["pope", "chair"],
        "data": {"root": str(root)},
        **changes,
    }


def test_data_that_are_there_are_checked_and_asked(tmp_path: Path, world: Path) -> None:
    before = sorted(path.name for path in tmp_path.rglob("*"))
    config = make_config(tmp_path / "run", world, models=["llava-1.5-7b", "qwen2-vl-7b"])
    found = evaluate(config, dry_run=True)
    assert {(t.model, t.method, t.benchmark) for t in found.tried} == {
        (model, "greedy", benchmark)
        for model in ("llava-1.5-7b", "qwen2-vl-7b")
        for benchmark in ("pope/random", "chair")
    }
    assert found.models["qwen2-vl-7b"] == "a tiny random qwen2_vl stood in"
    assert found.data["chair"].startswith("the first of 2 samples from")
    assert found.notes == ()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_image_that_is_missing_is_found(tmp_path: Path, world: Path) -> None:
    next(iter(sorted((world / "images").iterdir()))).unlink()
    with pytest.raises(ConfigError, match="there is no image"):
        dry_run(make_config(tmp_path / "run", world))


def test_an_image_that_cannot_be_opened_is_found(tmp_path: Path, world: Path) -> None:
    next(iter(sorted((world / "images").iterdir()))).write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="greedy: pope/random, sample"):
        dry_run(make_config(tmp_path / "run", world))


@pytest.mark.parametrize("root", ["???", "nowhere"])
def test_without_data_made_up_samples_are_asked(tmp_path: Path, root: str) -> None:
    found = dry_run(make_config(tmp_path / "run", root))
    assert [entry.benchmark for entry in found.tried] == ["pope/random", "chair"]
    reason = "data.root is not set" if root == "???" else "no folder nowhere"
    assert found.data["chair"] == f"made-up samples ({reason})"
    assert "needed by the run: data of pope/random, chair" in str(found)
    assert not (tmp_path / "run").exists()


def test_files_of_options_are_named_where_they_are_not_read(tmp_path: Path) -> None:
    config = make_config(tmp_path, "???", benchmarks=[{"name": "chair", "vocabulary": "no.txt"}])
    assert dry_run(config).notes == ("chair: not there, and so not read: vocabulary",)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", "???", methods=["gredy"], benchmarks=["pop"])
    config["models"] = ["llava-7"]
    with pytest.raises(ConfigError) as caught:
        dry_run(config)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("kind", ["shapes", "stickers"])
def test_a_scene_world_is_drawn_elsewhere(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "world"
    world = {"root": str(root), "images": 50, "kind": kind}
    config = make_config(tmp_path / "run", root, world=world)
    del config["data"]
    found = dry_run(config)
    assert "the real one is still to be written" in found.data["chair"]
    assert list(tmp_path.iterdir()) == []


def test_layers_and_heads_of_real_checkpoints_are_taken(tmp_path: Path) -> None:
    methods = [
        {"name": "deep", "decoder": {"name": "sgrs", "layers": [6, 7, 8]}},
        {"name": "headed", "interventions": [{"name": "locore", "heads": [30], "layers": "9:12"}]},
        # the catalog's card of LLaVA names early exits up to layer 14
        {"name": "early", "interventions": ["dola"]},
    ]
    found = dry_run(make_config(tmp_path, "???", methods=methods))
    assert len(found.tried) == 6
    assert found.notes == ("headed: edits all heads here, tiny models have 4 only",)
    methods[0]["decoder"] = {"name": "sgrs", "layers": [500]}
    with pytest.raises(ConfigError, match=r"llava-1.5-7b · deep: layers \[500\] are outside"):
        dry_run(make_config(tmp_path, "???", methods=methods[:1]))


def test_a_stand_in_answers_for_functions_from_outside(tmp_path: Path) -> None:
    evidence = {"name": "file", "path": str(tmp_path / "still to be made.jsonl")}
    methods = [
        {"name": "told", "interventions": [{"name": "marine", "evidence": evidence}]},
        {"name": "shown", "interventions": [{"name": "agla", "evidence": "blip-matching"}]},
    ]
    found = dry_run(make_config(tmp_path, "???", methods=methods))
    assert found.notes == tuple(
        f"{name}: a stand-in takes the place of its evidence here" for name in ("told", "shown")
    )


def test_a_model_on_the_hub_or_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    model, processor = tiny_lvlm("qwen2_5_vl")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    models = [{"source": str(folder)}, {"source": "owner/unknown"}]
    found = dry_run(make_config(tmp_path / "run", "???", models=models))
    assert found.models["mine"] == "a tiny random qwen2_5_vl stood in"
    assert found.notes == ("unknown is on the hub, not looked up: its own adapter was not tried",)


def test_models_that_are_handed_over_lend_their_architecture(tmp_path: Path) -> None:
    config = make_config(tmp_path, "???", models=[{"source": "given", "name": "mine"}])
    found = dry_run(config, models={"mine": tiny_lvlm("internvl")})
    assert found.models == {"mine": "a tiny random internvl stood in"}


@pytest.mark.parametrize("handed_over", [True, False])
def test_a_class_of_several_families_has_the_tiny_model_of_its_own(
    tmp_path: Path, handed_over: bool
) -> None:
    model, processor = tiny_lvlm("paligemma2")
    if not handed_over:
        model.save_pretrained(tmp_path / "mine")
        processor.save_pretrained(tmp_path / "mine")
    source = "given" if handed_over else str(tmp_path / "mine")
    config = make_config(tmp_path / "run", "???", models=[{"source": source, "name": "mine"}])
    found = dry_run(config, models={"mine": (model, processor)} if handed_over else None)
    assert found.models == {"mine": "a tiny random paligemma2 stood in"}
    pixtral = ModelConfig("given", "mine")
    assert adapter_name(pixtral, tiny_model("pixtral")) == "LlavaForConditionalGeneration/pixtral"
    assert adapter_name(pixtral, tiny_model("llava")) == "LlavaForConditionalGeneration"


def test_devices_of_another_machine_are_a_note(tmp_path: Path) -> None:
    trainer = {"accelerator": "gpu", "devices": 4096}
    found = dry_run(make_config(tmp_path, "???", trainer=trainer))
    (note,) = found.notes
    assert note.startswith("not on this machine: trainer")


def test_all_that_answers_is_tried_by_the_code_of_a_real_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[Any]] = []
    opened = OpenedBatches.__getitem__

    def keep(self: OpenedBatches, number: int) -> tuple[int, list[Any]]:
        found = opened(self, number)
        asked.append(found[1])
        return found

    monkeypatch.setattr(OpenedBatches, "__getitem__", keep)
    methods = [{"name": "s", "decoder": "sample"}, {"name": "b", "decoder": "beam"}]
    found = dry_run(make_config(tmp_path, "???", methods=methods, seeds=[1, 2, 3]))
    assert len(found.tried) == 4
    assert sum(len(pictures) for pictures in asked) == 3 * 2 * 2  # two seeds and one, two of each


def test_what_is_printed_holds_no_figure(tmp_path: Path) -> None:
    text = str(dry_run(make_config(tmp_path, "???", models=["pocket-llava"])))
    assert text.startswith("DRY RUN: random weights, nothing was measured")
    assert not re.search(r"\d", text)


# their scoring needs files of the release
NEEDS_FILES = {"amber"}


@pytest.mark.parametrize("name", sorted(set(BENCHMARKS.names()) - NEEDS_FILES))
def test_every_benchmark_has_examples_that_its_metric_takes(name: str, tmp_path: Path) -> None:
    if name == "captions":
        pytest.importorskip("pycocoevalcap")
    config = make_config(tmp_path, "???", benchmarks=[name])
    found = dry_run(config)
    assert len(found.tried) == 1
    assert found.notes == ()


def test_what_only_a_trained_model_has_is_no_problem_of_the_config(
    tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"name": "sinks", "decoder": "greedy", "interventions": ["vissink"]}
    config = make_config(tmp_path / "run", world, methods=[method])
    found = evaluate(config, dry_run=True)
    assert {t.benchmark for t in found.tried} == {"pope/random", "chair"}
    # the catalog's dimensions of LLaVA are beyond those of a tiny model
    (note,) = found.notes
    assert note.startswith("llava-1.5-7b · sinks: tried with other options")
    assert "1415" in note
    # one that names no other options has not been tried at all
    monkeypatch.setattr(INTERVENTIONS.get("vissink"), "strong", {})
    with pytest.raises(ConfigError, match=r"llava-1\.5-7b · sinks: dims"):
        evaluate(config, dry_run=True)
