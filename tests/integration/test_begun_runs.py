"""What a run that has begun still lets change: places, images nobody asked about, additions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lvlmsal.errors import ConfigError, LvlmsalError
from lvlmsal.evaluation import Result, evaluate, score
from lvlmsal.evaluation.run import evaluate as running
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.readers import digests
from lvlmsal.testing.tiny import tiny_lvlm
from tests.run_folders import cut, notes_of, repaint, without_costs

pytestmark = pytest.mark.slow

Config = dict[str, Any]
Cli = Callable[..., tuple[int, str, str]]


def move_images(config: Config, world: Path, to: Path) -> Path:
    """Put the images elsewhere, outside of the root that records take their names from."""
    shutil.move(world / "images", to)
    config["benchmarks"] = [{**entry, "images": str(to)} for entry in config["benchmarks"]]
    return to


def test_images_may_move_but_not_change_on_the_way(
    config: Config, answer: Callable[..., Result], world: Path, copied: Path, tmp_path: Path
) -> None:
    config["data"] = {"root": str(world)}
    cut(copied, 7)
    moved = move_images(config, world, tmp_path / "disk")
    last = sorted(moved.iterdir())[-1]
    whole = last.read_bytes()
    repaint(last)
    before = notes_of(copied)
    with pytest.raises(ConfigError, match=f"images of chair have changed, {last.name} is the firs"):
        answer(config)
    assert notes_of(copied) == before
    last.write_bytes(whole)
    assert answer(config).unfinished is None
    # nothing is new but the place, which is not what the manifest is about
    assert {k: v for k, v in notes_of(copied).items() if "/samples/" in k} == {
        k: v for k, v in before.items() if "/samples/" in k
    }


def test_an_image_of_which_nobody_has_spoken_may_change(
    config: Config, answer: Callable[..., Result], world: Path, copied: Path
) -> None:
    config["data"] = {"root": str(world)}
    cut(copied, 1)
    asked = json.loads((copied / "records.jsonl").read_text())["images"]
    other = next(p for p in (world / "images").iterdir() if f"images/{p.name}" not in asked)
    repaint(other)
    assert answer(config).unfinished is None
    # it is what the rest was answered about, so from now on it stays
    repaint_again = Image.new("RGB", (40, 40), (1, 2, 3))
    repaint_again.save(other)
    with pytest.raises(ConfigError, match=f"images/{other.name} is the first of them"):
        answer(config)


def ask_two_worlds(config: Config, world: Path) -> Path:
    """Ask about two worlds whose images have the same names; the path of an image of the first."""
    other = shutil.copytree(world, world.with_name("other"))
    config["benchmarks"] = [
        {"name": "chair", "label": "one", "root": str(world), "max_new_tokens": 2},
        {"name": "chair", "label": "two", "root": str(other), "max_new_tokens": 2},
    ]
    config["methods"] = ["greedy"]
    config["data"] = {}
    return sorted((world / "images").iterdir())[-1]


@pytest.mark.parametrize("place", ["missing", "unreadable"])
def test_an_image_that_was_not_there_may_be_supplied(
    config: Config,
    answer: Callable[..., Result],
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """Also where other samples are answered, in a benchmark that has an image of the same name."""
    path = ask_two_worlds(config, world)
    whole = path.read_bytes()
    path.unlink()
    if place == "unreadable":
        path.write_bytes(whole[:100])
        digest = digests.file_digest

        def refuse(found: Path) -> str:
            if found == path:
                raise PermissionError(13, "Permission denied")
            return digest(found)

        monkeypatch.setattr(digests, "file_digest", refuse)
    first = answer(config, "max_failures=1")
    assert [r["status"] for r in first.records()].count("failed") == 1
    manifest = first.folder / "samples/one.jsonl"
    assert f'"digest": "{place}"' in manifest.read_text()
    monkeypatch.undo()
    path.write_bytes(whole)
    again = answer(config)
    assert {r["status"] for r in again.records()} == {"ok"}
    assert answer(config).unfinished is None
    repaint(path)
    with pytest.raises(ConfigError, match="1 images of one have changed"):
        answer(config)


def test_a_broken_image_may_be_repaired_next_to_a_good_one_of_its_name(
    config: Config, answer: Callable[..., Result], world: Path
) -> None:
    path = ask_two_worlds(config, world)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    answer(config, "max_failures=1")
    path.write_bytes(whole)
    assert {r["status"] for r in answer(config).records()} == {"ok"}


@pytest.mark.parametrize("then", ["corrected", "dropped", "added to"])
def test_what_failed_to_load_does_not_belong_to_the_run(
    config: Config,
    answer: Callable[..., Result],
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    then: str,
) -> None:
    """A second model, method, benchmark and seed, of which no record was written."""

    def fail(*_: Any) -> None:
        raise LvlmsalError("cannot be loaded")

    before = json.loads((copied / "environment.json").read_text())
    more = {
        **config,
        "models": [*config["models"], {"source": "nobody/nothing", "name": "second"}],
        "methods": [*config["methods"], {"name": "draw", "decoder": {"name": "sample"}}],
        "benchmarks": [
            *config["benchmarks"],
            {"name": "pope", "split": "popular", "max_new_tokens": 2, "limit": 1, "subset_seed": 1},
        ],
        "seeds": [0, 5],
    }
    monkeypatch.setattr(running, "load_model", fail)
    with pytest.raises(LvlmsalError, match="cannot be loaded"):
        answer(more)
    monkeypatch.undo()
    assert "second" in (copied / "config.yaml").read_text()
    assert (copied / "samples/pope/popular.jsonl").is_file()
    assert (copied / "subsets/pope/popular.txt").is_file()
    if then == "dropped":
        assert answer(config).unfinished is None
        after = json.loads((copied / "environment.json").read_text())
        assert {key: after[key] for key in ("cells", "data", "models")} == {
            key: before[key] for key in ("cells", "data", "models")
        }
        assert score(copied).unfinished is None
        assert not (copied / "samples/pope/popular.jsonl").exists()
        assert not (copied / "subsets/pope/popular.txt").exists()
        return
    corrected = {
        **config,
        "models": [*config["models"], {"source": "tiny/llava", "name": "second"}],
    }
    if then == "added to":
        corrected = {**more, "models": config["models"], "seeds": [0, 6]}
        corrected["benchmarks"][-1]["limit"] = 2
    start = {"tiny": load(tiny_lvlm("llava")), "second": load(tiny_lvlm("llava"))}
    if then == "added to":
        del start["second"]
    found = evaluate(corrected, models=start)
    assert found.unfinished is None
    assert score(copied).unfinished is None
    if then == "corrected":
        # now it has answered, and belongs to the run
        with pytest.raises(
            ConfigError, match=r"models\[second\]: the run has it, the config does n"
        ):
            answer(config)


def test_notes_next_to_a_checkpoint_may_change(
    config: Config, tiny_folder: Path, tmp_path: Path
) -> None:
    checkpoint = shutil.copytree(tiny_folder, tmp_path / "checkpoint")
    (checkpoint / "notes.txt").write_text("to be tried")
    config["models"] = [{"source": str(checkpoint), "name": "tiny"}]
    config["methods"] = ["greedy"]
    folder = evaluate(config).folder
    cut(folder, 2)
    (checkpoint / "notes.txt").write_text("tried")
    (checkpoint / "README.md").write_text("A model.")
    (checkpoint / "trainer_state.json").write_text("{}")
    assert evaluate(config).unfinished is None


@pytest.mark.parametrize("branch", [None, "main"])
def test_a_run_goes_on_at_the_commit_with_which_it_began(
    config: Config, tiny: Lvlm, monkeypatch: pytest.MonkeyPatch, branch: str | None
) -> None:
    newest = ["a" * 40]
    asked: list[str | None] = []

    def from_hub(source: str, *, revision: str | None, **_: Any) -> Lvlm:
        assert source == "owner/name"
        asked.append(revision)
        commit = newest[-1] if revision in (None, "main") else revision
        monkeypatch.setattr(tiny.model.config, "_commit_hash", commit, raising=False)
        return tiny

    monkeypatch.setattr(running, "load", from_hub)
    config["models"] = [{"source": "owner/name", "name": "tiny", "revision": branch}]
    config["methods"] = ["greedy"]
    folder = evaluate(config).folder
    whole = without_costs(folder)
    cut(folder, 2)
    newest.append("b" * 40)
    # a model without a record has not begun: it gets what is the newest now
    config["models"] += [{"source": "owner/name", "name": "other"}]
    evaluate(config)
    assert asked == [branch, "a" * 40, None]
    assert without_costs(folder)[: len(whole)] == whole
    models = json.loads((folder / "environment.json").read_text())["models"]
    assert [models[name]["revision"] for name in ("tiny", "other")] == ["a" * 40, "b" * 40]
    assert (folder / "log.txt").read_text().count(f"tiny goes on at commit {'a' * 40}") == 1


@pytest.mark.parametrize("keep", [None, 4])
def test_figures_of_a_folder_that_cannot_be_written_are_shown(
    run: Cli, copied: Path, monkeypatch: pytest.MonkeyPatch, keep: int | None
) -> None:
    """Whole or half a run: that nothing was written is the graver of the two."""
    if keep is not None:
        cut(copied, keep)
    before = (copied / "results.json").read_bytes()
    right = [run("score", copied, *more)[1] for more in ((), ("--json",))]
    (copied / "results.json").write_bytes(before)
    write = Path.write_text

    def refuse(path: Path, *args: Any, **kwargs: Any) -> int:
        if copied in path.parents:
            raise OSError(30, "Read-only file system", str(path))
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", refuse)
    for more, shown in zip(((), ("--json",)), right, strict=True):
        code, output, errors = run("score", copied, *more)
        assert code == 2
        assert output == shown
        assert "the values above were not saved: " in errors
        assert "results.json cannot be written: Read-only file system" in errors
        assert "Make the folder writable, or copy it and score the copy" in errors
    assert (copied / "results.json").read_bytes() == before
