"""A checkpoint is described as it is then loaded and asked, at 80 columns, and answers nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import lvlmsal
from lvlmsal.cli import main
from lvlmsal.errors import LvlmsalError, UnknownName
from lvlmsal.model import load_check as module
from lvlmsal.testing.tiny import FURTHER, TINY, tiny_lvlm

pytestmark = pytest.mark.slow

CHOSEN = [*TINY, "paligemma", "gemma3", "llava_onevision", "ovis2"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    for family in CHOSEN:
        for part in tiny_lvlm(family):
            part.save_pretrained(root / family)
    return {family: root / family for family in CHOSEN}


def test_the_chosen_families_are_there() -> None:
    assert set(CHOSEN) <= {*TINY, *FURTHER}


@pytest.mark.parametrize("family", CHOSEN)
def test_what_is_said_is_what_loading_and_encoding_give(
    family: str, saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.linear_gradient("L").resize((90, 40))
    found = lvlmsal.load_check(saved[family], image=image, prompt="Is it so?")
    lvlm = lvlmsal.load(saved[family])
    adapter = lvlm.adapter
    inputs = adapter.encode([[image]], ["Is it so?"])
    spans = adapter.spans(inputs["input_ids"])
    assert found.segments == spans[0].segments()
    assert found.tokens == inputs["input_ids"].shape[1]
    assert [entry["grid"] for entry in found.images] == list(adapter.patch_grids(inputs, 0))
    assert [entry["tokens"] for entry in found.images] == [len(spans[0].positions(0))]
    assert found.prompt == adapter.render("Is it so?", 1)
    assert (found.adapter, found.architecture) == (
        type(adapter).__name__,
        type(lvlm.model).__name__,
    )
    assert found.parameters == sum(weight.numel() for weight in lvlm.model.parameters())
    assert found.seen == adapter.seen_part(image).size
    assert found.dtype == "float32"
    assert found.weights is True
    assert not found.works["SGRS"]
    assert not found.works["shared prefix"]
    text = str(found)
    assert max(map(len, text.splitlines())) <= 80
    assert adapter.family in text
    json.dumps(found.to_dict())


def test_no_weights_are_held(saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []

    def watched(*args: Any, **options: Any) -> Any:
        loaded, source, compared = load_outline(*args, **options)
        devices.extend({str(weight.device) for weight in loaded.model.parameters()})
        return loaded, source, compared

    load_outline = module.load_outline
    monkeypatch.setattr(module, "load_outline", watched)
    monkeypatch.setattr(torch.nn.Module, "__call__", None)  # nothing is run, either
    found = lvlmsal.load_check(saved["llava"])
    assert devices == ["meta"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    without = lvlmsal.load_check(saved["llava"])
    assert (found.weights, without.weights) == (True, False)
    assert without.segments == found.segments
    assert "not compared" in str(without)


def test_a_shipped_checkpoint_at_80_columns_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load-check", "pocket-llava"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "pocket-llava: LLaVA-1.5, LlavaForConditionalGeneration, read by LlavaAdapter",
        "a grid of 8 x 8",
        "2,087,264, 8.35 MB in float32; all are there",
        "picture      640 x 480 pixels\n",
        "Pillow (the fast one takes torchvision)",
        "works        greedy, LocoRE, SGRS, diagnosis, shared prefix, second streams",
        "sgrs: alpha=0.6",
    ):
        assert words in text, text
    assert main(["load-check", "pocket-llava", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["images"] == [{"tokens": 64, "grid": [8, 8], "panels": 1}]
    assert content["family"] == "LLaVA-1.5"


def test_bad_folders_get_one_sentence(
    tmp_path: Path, saved: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.gguf").write_bytes(b"")
    assert main(["load-check", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {tmp_path}: x.gguf is weights for llama.cpp")
    assert err.count("\n") == 1
    with pytest.raises(UnknownName, match="Did you mean 'pocket-llava'"):
        lvlmsal.load_check("pocket-lava")
    with pytest.raises(LvlmsalError, match="no image_backend 'pill'"):
        lvlmsal.load_check(saved["llava"], image_backend="pill")


def test_missing_weights_are_found(tmp_path: Path, saved: dict[str, Path]) -> None:
    from safetensors.torch import load_file, save_file

    for path in saved["llava"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.1.self_attn.q_proj.weight"))
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(LvlmsalError, match="lacks 1 of the weights"):
        lvlmsal.load_check(tmp_path)
