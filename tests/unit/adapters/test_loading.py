"""Checkpoints by name, folder and hub id, and every way in which they can be wrong."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lvlmsal.adapters import load_checkpoint
from lvlmsal.adapters import processors as processors_module
from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter
from lvlmsal.errors import DataError, LvlmsalError, UnknownName, UnsupportedError
from lvlmsal.registry import CATALOG, CheckpointCard
from lvlmsal.testing.tiny import TINY, tiny_lvlm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each family, as transformers saves models and processors."""
    root = tmp_path_factory.mktemp("checkpoints")
    for family in TINY:
        model, processor = tiny_lvlm(family)
        model.save_pretrained(root / family)
        processor.save_pretrained(root / family)
    return {family: root / family for family in TINY}


@pytest.fixture
def folder(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the LLaVA folder, to be damaged."""
    return shutil.copytree(saved["llava"], tmp_path / "copy")


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def logits(model: Any, adapter: Any) -> torch.Tensor:
    image = Image.linear_gradient("L").resize((50, 30))
    with torch.no_grad():
        result: torch.Tensor = model(**adapter.encode([[image], []], ["What is it?", "No."])).logits
    return result


@pytest.mark.parametrize("family", TINY)
def test_folder_gives_the_model_that_was_saved(family: str, saved: dict[str, Path]) -> None:
    loaded = load_checkpoint(saved[family])
    original = load_checkpoint(tiny_lvlm(family))
    again = logits(loaded.model, loaded.adapter)
    assert torch.equal(again, logits(original.model, original.adapter))
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.adapter.processor is loaded.processor
    assert loaded.card is None


def test_pair_is_taken_as_it_is() -> None:
    model, processor = tiny_lvlm("internvl")
    loaded = load_checkpoint((model, processor))
    assert loaded.model is model
    assert loaded.processor is processor
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("llava-hf/llava-1.5-7b-hf", "llava-1.5-7b"),
        (CATALOG.get("pocket-llava").source, "pocket-llava"),
        ("mine/llava-1.5-7b-hf", None),
        ("", None),
    ],
)
def test_pair_finds_its_card_by_what_it_was_loaded_from(name: str, card: str | None) -> None:
    model, processor = tiny_lvlm("llava")
    model.config._name_or_path = name
    found = load_checkpoint((model, processor)).card
    assert (None if found is None else found.name) == card


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"trust_remote_code": True}])
def test_pair_refuses_options_of_loading(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="pair is taken as it is"):
        load_checkpoint(tiny_lvlm("llava"), **options)


def test_model_alone_is_refused() -> None:
    model, _ = tiny_lvlm("llava")
    with pytest.raises(UnsupportedError, match="got LlavaForConditionalGeneration"):
        load_checkpoint(model)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(UnsupportedError, match="got tuple"):
        load_checkpoint((model,))  # type: ignore[arg-type]  # the mistake under test


def test_card_of_the_catalog_gives_folder_and_card(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = CheckpointCard(
        name="tiny-for-a-test",
        summary="",
        architecture="LlavaForConditionalGeneration",
        license="Apache-2.0",
        folder=saved["llava"],
        defaults={"locore": {"beta": 0.3}},
    )
    monkeypatch.setitem(CATALOG._cards, card.name, card)
    assert load_checkpoint("tiny-for-a-test").card is card


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float64])
def test_dtype_is_that_which_was_asked_for(saved: dict[str, Path], dtype: Any) -> None:
    loaded = load_checkpoint(saved["llava"], dtype=dtype)
    wanted = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype)
    assert loaded.model.dtype == wanted
    inputs = loaded.adapter.encode([[Image.new("RGB", (9, 9))]], ["q"])
    assert inputs["pixel_values"].dtype == wanted


def test_device_and_device_map_exclude_each_other(saved: dict[str, Path]) -> None:
    with pytest.raises(UnsupportedError, match="not both"):
        load_checkpoint(saved["llava"], device="cpu", device_map="auto")


# What processors need torchvision for.


def hub_layout(folder: Path, *, image_processor_type: str, processor_class: str) -> None:
    """Turn what transformers 5 saves into the files that checkpoints on the hub have."""
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    images = {
        **processor.pop("image_processor"),
        "image_processor_type": image_processor_type,
        "processor_class": processor_class,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    if len(processor) > 1:
        processor["processor_class"] = processor_class
        (folder / "processor_config.json").write_text(json.dumps(processor))
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    edit(folder / "tokenizer_config.json", processor_class=processor_class)


@pytest.mark.parametrize("suffix", ["", "Fast"])
@pytest.mark.parametrize(
    ("family", "images", "whole"),
    [
        ("qwen2_vl", "Qwen2VLImageProcessor", "Qwen2VLProcessor"),
        ("qwen2_5_vl", "Qwen2VLImageProcessor", "Qwen2_5_VLProcessor"),
        ("internvl", "GotOcr2ImageProcessor", "InternVLProcessor"),
        ("idefics3", "Idefics3ImageProcessor", "Idefics3Processor"),
    ],
)
def test_processor_as_on_the_hub_without_torchvision(
    saved: dict[str, Path], tmp_path: Path, family: str, images: str, whole: str, suffix: str
) -> None:
    copy = shutil.copytree(saved[family], tmp_path / "copy")
    hub_layout(copy, image_processor_type=images + suffix, processor_class=whole)
    loaded, original = load_checkpoint(copy), load_checkpoint(saved[family])
    expected = logits(original.model, original.adapter)
    assert torch.equal(logits(loaded.model, loaded.adapter), expected)


def test_missing_video_part_is_said_once_and_nothing_else(
    saved: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    processors_module._say_image_only.cache_clear()
    with caplog.at_level(logging.WARNING):
        load_checkpoint(saved["qwen2_vl"])
        load_checkpoint(saved["qwen2_vl"])
    said = [record.getMessage() for record in caplog.records]
    ours = [text for text in said if "pip install torchvision" in text]
    assert len(ours) == 1
    assert ours[0].startswith("qwen2_vl: using a processor for images alone")
    assert not [text for text in said if "requires torchvision" in text]


def test_family_without_a_substitute_says_why(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Qwen2VLAdapter, "image_only_processor", None)
    with pytest.raises(LvlmsalError, match="the processor cannot be loaded"):
        load_checkpoint(saved["qwen2_vl"])


# Names that stand for nothing.


def test_unknown_name_comes_with_close_matches() -> None:
    with pytest.raises(UnknownName, match=r"'lava-1\.5-7b'.*llava-1\.5-7b") as caught:
        load_checkpoint("lava-1.5-7b")
    assert set(CATALOG.names()) == set(caught.value.known)


@pytest.mark.parametrize("kind", [str, Path])
def test_path_to_nothing(kind: Callable[[str], Any], tmp_path: Path) -> None:
    gone = kind(f"{tmp_path}/gone")
    with pytest.raises(DataError, match="gone: there is no such folder"):
        load_checkpoint(gone)


def test_path_to_a_file(folder: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json: expected a folder"):
        load_checkpoint(folder / "config.json")


def test_hub_id_without_a_connection() -> None:
    with pytest.raises(
        LvlmsalError, match=r"'owner/name' is not a folder here.*hf download owner/name"
    ):
        load_checkpoint("owner/name")


def test_catalog_name_without_a_connection() -> None:
    with pytest.raises(LvlmsalError, match=r"llava-hf/llava-1\.5-7b-hf.*hf download"):
        load_checkpoint("llava-1.5-7b")


# Folders that are not whole.


def test_folder_without_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"copy: there is no config\.json"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "configuration cannot be read"), ('{"model_type": "nonesuch"}', "nonesuch")],
)
def test_configuration_that_cannot_be_read(folder: Path, content: str, message: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(DataError, match=message):
        load_checkpoint(folder)


def test_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"there are no weights: expected model\.safetensors$"):
        load_checkpoint(folder)
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(
        UnsupportedError, match=r"pytorch_model\.bin is pickled weights, which can run code"
    ):
        load_checkpoint(folder)


def test_weights_that_were_cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(DataError, match="the weights are broken"):
        load_checkpoint(folder)


def test_weights_that_lack_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.1.self_attn.q_proj.weight"))
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(LvlmsalError, match=r"lacks 1 of the weights.*q_proj.*at random"):
        load_checkpoint(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit(folder / "config.json", text_config={**text, "intermediate_size": 40})
    with pytest.raises(DataError, match="weights cannot be loaded"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            {"weight_map": {"a": "model-00001-of-00002.safetensors"}},
            "missing: model-00001-of-00002",
        ),
        ({"other": 1}, "not an index of safetensors"),
        ([], "not an index of safetensors"),
    ],
)
def test_index_of_weights(folder: Path, index: object, message: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=message):
        load_checkpoint(folder)


def test_architecture_without_an_adapter(folder: Path) -> None:
    edit(folder / "config.json", architectures=["SomeOtherModel"])
    with pytest.raises(UnsupportedError, match=r"'SomeOtherModel'.*Llava.*Qwen2_5_VL.*adapter.md"):
        load_checkpoint(folder)
    edit(folder / "config.json", architectures=None)
    with pytest.raises(UnsupportedError, match="of model type llava"):
        load_checkpoint(folder)


def test_folder_without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(DataError, match="the processor cannot be loaded"):
        load_checkpoint(folder)


def test_code_of_a_checkpoint_is_not_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Configuration"})
    with pytest.raises(DataError, match="configuration cannot be read"):
        load_checkpoint(folder)
    assert not trace.exists()
