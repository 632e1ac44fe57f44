"""Folders of fits, files of pairs, digests of pixels and the states that fits read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lvlmsal.adapters import adapter_for
from lvlmsal.errors import DataError, UnknownName, UnsupportedError
from lvlmsal.fits.digests import pixel_digest
from lvlmsal.fits.folder import NOTE, TENSORS, Fit, fit_of, read_fits
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.fits.pairs import DESCRIBE, Pair, read_pairs
from lvlmsal.fits.states import row_states
from lvlmsal.testing.tiny import tiny_model, tiny_samples

pytestmark = pytest.mark.slow

TENSOR = torch.arange(6.0).view(2, 3)


def fit(**changes: Any) -> Fit:
    mark = ModelMark("Llava", 2, 3, 5, (0.5,))
    whole = Fit("nullu", {"position": "mean"}, "tiny", mark, {}, {"pairs": 3}, ["ab"], {})
    return replace(whole, **{"shapes": {"u": [2, 3]}, **changes})


def test_a_folder_gives_back_what_was_saved(tmp_path: Path) -> None:
    for name in ("one", "other"):
        fit(name=name).save(tmp_path / "fits" / name, {"u": TENSOR})
    found = read_fits(tmp_path / "fits", "nullu")
    assert found == {tmp_path / "fits" / name: fit(name=name) for name in ("one", "other")}
    place = tmp_path / "fits" / "one"
    assert read_fits(place, "nullu") == {place: fit(name="one")}
    assert torch.equal(found[place].tensors(place)["u"], TENSOR)
    assert sorted(path.name for path in place.iterdir()) == [NOTE, TENSORS]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "x"}, "'format': 'lvlmsal.Fit' and 'version': 1, got 'x' and 1"),
        ({"version": 9}, "got 'lvlmsal.Fit' and 9"),
        ({"method": "vti"}, "is a fit of 'vti', not of 'nullu'"),
        ({"model": {}}, "is damaged"),
        ({"shapes": None}, "is damaged"),
    ],
)
def test_damaged_notes_are_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    fit().save(tmp_path, {"u": TENSOR})
    content = json.loads((tmp_path / NOTE).read_text()) | change
    (tmp_path / NOTE).write_text(json.dumps(content))
    with pytest.raises(DataError, match=told):
        read_fits(tmp_path, "nullu")


def test_tensors_that_are_missing_or_others_are_refused(tmp_path: Path) -> None:
    fit(shapes={"u": [3, 2]}).save(tmp_path, {"u": TENSOR})
    with pytest.raises(DataError, match=r"holds {'u': \[2, 3\]}, and fit.json says {'u': \[3, 2\]"):
        fit(shapes={"u": [3, 2]}).tensors(tmp_path)
    (tmp_path / TENSORS).write_bytes(b"no tensors")
    with pytest.raises(DataError, match="cannot be read"):
        fit().tensors(tmp_path)
    (tmp_path / TENSORS).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        fit().tensors(tmp_path)


def test_the_fit_of_a_model_is_found_among_others(tmp_path: Path) -> None:
    adapter = adapter_for(tiny_model("llava"))
    places = {tmp_path / "a": fit(), tmp_path / "b": fit(model=ModelMark.of(adapter))}
    assert fit_of(adapter, places)[0] == tmp_path / "b"
    with pytest.raises(UnsupportedError, match="fitted in tiny, which is another model"):
        fit_of(adapter, {tmp_path / "a": fit()})


def test_digests_know_a_copied_image(tmp_path: Path) -> None:
    picture = Image.effect_noise((8, 6), 60).convert("RGB")
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.bmp")
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "c.png")
    same, copied, other = (pixel_digest(tmp_path / name) for name in ("a.png", "b.bmp", "c.png"))
    assert same == copied != other
    with pytest.raises(DataError, match="cannot be read"):
        pixel_digest(tmp_path / "none.png")


def test_files_of_pairs(tmp_path: Path) -> None:
    own = {"image": "a.png", "prompt": "What?", "answer": "a dog", "wrong_answer": "a cat"}
    lure = {"id": "7", "image": "a.png", "value": "a dog", "h_value": "a cat"}
    for name, row in (("own", own), ("lure", lure)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    image = tmp_path / "images" / "a.png"
    assert read_pairs(tmp_path / "own.jsonl", images=tmp_path / "images") == [
        Pair("0", image, "What?", "a dog", "a cat")
    ]
    assert read_pairs(tmp_path / "lure.jsonl", "lure", tmp_path / "images") == [
        Pair("7", image, DESCRIBE, "a dog", "a cat")
    ]
    with pytest.raises(DataError, match="the key 'prompt' is missing"):
        read_pairs(tmp_path / "lure.jsonl")
    with pytest.raises(UnknownName, match="unknown format of pairs 'lur'"):
        read_pairs(tmp_path / "lure.jsonl", "lur")


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_states_are_those_of_transformers(family: str) -> None:
    model: Any = tiny_model(family)
    inputs = tiny_samples(family, (1,))[0].inputs
    adapter = adapter_for(model)
    with torch.no_grad():
        states = torch.stack(model(**inputs, output_hidden_states=True).hidden_states)[:, 0]
    torch.testing.assert_close(row_states(adapter, dict(inputs), "last"), states[:, -1])
    torch.testing.assert_close(row_states(adapter, dict(inputs), "mean"), states.mean(1))
