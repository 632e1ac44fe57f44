"""``lvlmsal fit METHOD``: on pairs and on worlds, and what an evaluation makes of its images."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from lvlmsal.analysis.method_fits import built_method, fit_on_pairs, fit_on_worlds, world_pairs
from lvlmsal.attention import intervene
from lvlmsal.cli.detectors import _method_first
from lvlmsal.errors import ConfigError
from lvlmsal.evaluation.config.plan import make_plan
from lvlmsal.evaluation.run.fits_used import fits_used
from lvlmsal.fits.folder import NOTE, TENSORS, read_fits
from lvlmsal.fits.pairs import Pair
from lvlmsal.fits.states import pair_states
from lvlmsal.interventions.nullu import Nullu
from lvlmsal.model.loading import load
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.pocket.worlds import WORLDS
from lvlmsal.testing.tiny import tiny_lvlm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lvlm() -> Lvlm:
    return load(tiny_lvlm("llava"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    folder = tmp_path_factory.mktemp("pairs")
    found = []
    for number in range(6):
        Image.new("RGB", (56, 42), (40 * number, 90, 60)).save(folder / f"{number}.png")
        found.append(
            Pair(
                str(number),
                folder / f"{number}.png",
                "Describe this image.",
                f"It is a dog, number {number}.",
                f"It is a cat, number {number}.",
            )
        )
    return found


def fitted(method: str, pairs: list[Pair], lvlm: Lvlm, out: Path, **options: Any) -> Path:
    built = built_method(method, options)
    fit_on_pairs(built, pairs, lvlm, model="tiny", source="pairs.jsonl", out=out)
    return out


def test_what_is_fitted_can_be_used(lvlm: Lvlm, pairs: list[Pair], tmp_path: Path) -> None:
    folder = fitted("nullu", pairs, lvlm, tmp_path / "a")
    fit = read_fits(folder, "nullu")[folder]
    assert fit.data == {"source": "pairs.jsonl", "pairs": 6, "images": 6}
    assert fit.options == {"position": "mean"}
    assert fit.shapes == {"subspaces": [2, 32, 16], "singular_values": [2, 16]}
    with intervene(lvlm.adapter, Nullu(fit=str(folder), layers=None)) as session:
        inputs = lvlm.adapter.encode([[pairs[0].image]], ["What is it?"])
        edited = session.model(**inputs).logits
    assert not torch.allclose(edited, lvlm.model(**inputs).logits, atol=1e-4)


def test_the_first_direction_is_that_of_the_states(
    lvlm: Lvlm, pairs: list[Pair], tmp_path: Path
) -> None:
    """Of one pair the subspace is the difference itself."""
    folder = fitted("nullu", pairs[:1], lvlm, tmp_path, position="last")
    first = read_fits(folder, "nullu")[folder].tensors(folder)["subspaces"][..., 0]
    right, wrong = pair_states(lvlm.adapter, pairs[0], "last")
    cosine = cosine_similarity(first, (right - wrong)[1:], dim=-1)
    assert bool((cosine.abs() > 0.999).all())


@pytest.mark.parametrize("method", ["nullu", "vti"])
def test_two_fits_are_the_same_to_the_bit(
    method: str, lvlm: Lvlm, pairs: list[Pair], tmp_path: Path
) -> None:
    one, other = (fitted(method, pairs, lvlm, tmp_path / name) for name in "ab")
    for name in (NOTE, TENSORS):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_methods_without_a_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes no fit; the methods that do are nullu, vti"):
        built_method("locore", {})


def test_a_pair_of_a_world_differs_in_one_class(tmp_path: Path) -> None:
    for kind, world in WORLDS.items():
        for number in range(20):
            scene = world.sample(random.Random(number))
            other = world.misdescribed(scene, random.Random(number))
            (absent,) = set(other.present) - set(scene.present)
            assert absent in scene.absent, kind
            assert len(set(scene.present) - set(other.present)) == 1
            assert world.caption(scene, random.Random(1)) != world.caption(other, random.Random(1))


CONFIG: dict[str, Any] = {
    "models": ["pocket-llava"],
    "methods": ["greedy"],
    "benchmarks": [{"name": "chair", "max_new_tokens": 4}],
}


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    drawn = {"root": str(tmp_path / "world"), "images": 3, "seed": 5}
    return {**CONFIG, "world": drawn, "output": str(tmp_path / "run"), **changes}


def test_fits_on_a_world_and_what_was_seen_is_not_asked_about(tmp_path: Path, lvlm: Lvlm) -> None:
    folders = fit_on_worlds("nullu", config(tmp_path), lvlms={"pocket-llava": lvlm})
    assert folders == [tmp_path / "run" / "fits" / "nullu" / "pocket-llava"]
    pair = world_pairs(tmp_path / "world", 3)[0]
    assert pair.image.is_file()
    assert pair.right != pair.wrong

    def used(**options: Any) -> dict[str, Any]:
        edit = {"name": "nullu", "fit": str(folders[0].parent), **options}
        methods = [{"name": "Nullu", "decoder": "greedy", "interventions": [edit]}]
        return fits_used(make_plan(config(tmp_path, methods=methods, **where)))

    where: dict[str, Any] = {}
    with pytest.raises(ConfigError, match=r"Nullu: .* was fitted on 3 of the images of chair"):
        used()
    (noted,) = used(allow_overlap=True)["Nullu"]
    assert noted["overlap"] == {"chair": 3}
    assert list(noted["weights"]) == ["pocket-llava"]
    # other images; a copy of one of them under another name is known again
    other = {"root": str(tmp_path / "other"), "images": 3, "seed": 6}
    where = {"world": other}
    assert used()["Nullu"][0]["overlap"] == {}
    images = sorted((tmp_path / "other" / "images").iterdir())
    Image.open(pair.image).save(images[1])
    note = tmp_path / "other" / "world.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "digest": ""}))
    where = {"world": None, "benchmarks": [chair(tmp_path / "other")]}
    with pytest.raises(ConfigError, match="was fitted on 1 of the images of chair"):
        used()


def chair(root: Path) -> dict[str, Any]:
    vocabulary = str(root / "vocabulary.txt")
    return {"name": "chair", "root": str(root), "vocabulary": vocabulary, "max_new_tokens": 4}


def test_a_method_may_stand_in_front_of_the_config(tmp_path: Path) -> None:
    assert _method_first("fit", ["seed=1"]) == ("", "fit", ["seed=1"])
    assert _method_first("nullu", ["fit", "seed=1"]) == ("nullu", "fit", ["seed=1"])
    assert _method_first("ensemble", ["labels.jsonl"]) == ("ensemble", "labels.jsonl", [])
    with pytest.raises(ConfigError, match="lvlmsal fit nullu CONFIG -o FOLDER"):
        _method_first("nullu", ["seed=1"])
