"""Models in other forms are named by one sentence that says what they are and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.adapters.forms import unread
from lvlmsal.adapters.sources import find_source
from lvlmsal.errors import LvlmsalError
from lvlmsal.evaluation.config.checkpoints import model_problems
from lvlmsal.evaluation.config.schema import ModelConfig

LLAVA = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}


def folder_of(path: Path, names: list[str], config: dict[str, Any] | None = None) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        if name.endswith("/"):
            (path / name).mkdir()
        else:
            (path / name).write_bytes(b"")
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return path


def told(path: Path) -> str:
    """What `load` says; a run's config says the same."""
    with pytest.raises(LvlmsalError) as caught:
        find_source(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert model_problems(ModelConfig(source=str(path))) == [said]
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("names", "what", "to_do"),
    [
        (["model-q4.gguf"], "model-q4.gguf is weights for llama.cpp", "in safetensors"),
        (["weights.npz", "config.json"], "MLX", "in safetensors"),
        (["onnx/", "config.json"], "onnx is a graph for ONNX", "in safetensors"),
        (["openvino_language_model.xml"], "OpenVINO", "in safetensors"),
        (["rank0.engine", "config.json"], "TensorRT", "in safetensors"),
        (["global_step100/", "latest", "zero_to_fp32.py"], "DeepSpeed", "zero_to_fp32.py"),
        ([".metadata", "__0_0.distcp"], "FSDP", "accelerate merge-weights"),
        (["pytorch_model_fsdp_0/", "optimizer.bin"], "FSDP", "accelerate merge-weights"),
        (["iter_0000500/", "latest_checkpointed_iteration.txt"], "Megatron", "convert"),
        (["model.nemo"], "NeMo", "convert"),
        (["last.ckpt"], "training", "save_pretrained"),
        (["consolidated.00.pth", "params.json"], "authors' own code", "transformers"),
        (["tf_model.h5", "config.json"], "TensorFlow", "PyTorch"),
        (["pytorch_model.bin", "config.json"], "can run code", "save_pretrained"),
        (["pytorch_model-00001-of-00002.bin", "config.json"], "can run code", "save_pretrained"),
        (["model_index.json", "unet/"], "diffusers", "give"),
        (["blobs/", "refs/", "snapshots/"], "hub's cache", "snapshots/COMMIT"),
        (["checkpoint-500/", "checkpoint-1000/"], "output of a training", "checkpoint-N"),
        (["weights.zip"], "an archive", "unpack"),
    ],
)
def test_files_tell_the_form(names: list[str], what: str, to_do: str, tmp_path: Path) -> None:
    config = LLAVA if "config.json" in names else None
    folder = folder_of(tmp_path / "m", [name for name in names if name != "config.json"], config)
    said = told(folder)
    assert what in said
    assert to_do in said
    assert ". " not in said


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "takes no images"),
        ({"architectures": ["CLIPModel"], "model_type": "clip"}, "writes no text"),
        ({"architectures": ["ViTForImageClassification"], "model_type": "vit"}, "writes no text"),
        (
            {
                "architectures": ["Florence2ForConditionalGeneration"],
                "model_type": "florence2",
                "is_encoder_decoder": True,
            },
            "encoder-decoder",
        ),
        (
            {
                "architectures": ["OtherVLForCausalLM"],
                "model_type": "other",
                "auto_map": {"AutoConfig": "configuration_other.OtherConfig"},
            },
            "code of its own",
        ),
        ({**LLAVA, "quantization_config": {"quant_method": "awq"}}, "quantized by AWQ"),
        ({**LLAVA, "quantization_config": {"quant_method": "gptq"}}, "quantized by GPTQ"),
        ({**LLAVA, "quantization": {"group_size": 64, "bits": 4}}, "quantized for MLX"),
        (LLAVA, "there is no processor"),
    ],
)
def test_the_config_tells_the_form(
    config: dict[str, Any], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = told(folder_of(tmp_path / "m", ["model.safetensors"], config))
    assert what in said
    assert ". " not in said


def test_quantized_weights_are_left_to_transformers_where_it_can_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    config = {**LLAVA, "quantization_config": {"quant_method": "gptq"}}
    names = ["model.safetensors", "processor_config.json"]
    assert unread(folder_of(tmp_path / "m", names, config)) is None


def test_a_language_model_with_keys_of_images_is_none_without(tmp_path: Path) -> None:
    config = {"architectures": ["OwnForCausalLM"], "model_type": "own", "vision_config": {}}
    names = ["model.safetensors", "processor_config.json"]
    assert unread(folder_of(tmp_path / "m", names, config)) is None


def test_pointers_of_git_lfs(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", ["processor_config.json"], LLAVA)
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 14\n"
    (folder / "model.safetensors").write_text(text)
    assert "git lfs pull" in told(folder)


def test_concentric_attention_by_its_model_card(tmp_path: Path) -> None:
    names = ["model.safetensors", "processor_config.json"]
    folder = folder_of(tmp_path / "m", names, LLAVA)
    said = "# CCA-LLaVA 1.5 7B\nMitigating Object Hallucination ..."
    # that of the paper comes last, and a card may begin with much else
    links = "Code: https://github.com/xing0047/cca-llava Paper: https://arxiv.org/abs/2410.15926"
    long = "license: apache-2.0\n" * 200
    for card in (said, f"{said}\n{links}", f"{links}/", f"{long}{said}\n{links}\n"):
        (folder / "README.md").write_text(card)
        assert "other positions" in told(folder)
    own = {"architectures": ["CcaLlavaForConditionalGeneration"], "model_type": "cca_llava"}
    (folder / "config.json").write_text(json.dumps(own))
    assert unread(folder) is None
    (folder / "config.json").write_text(json.dumps(LLAVA))
    (folder / "README.md").write_text("# My LLaVA")
    assert unread(folder) is None


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "llava.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(LvlmsalError, match=r"expected a folder .* llava\.gguf is weights for llam"):
        find_source(file)


def test_a_checkpoint_of_transformers_is_read(tmp_path: Path) -> None:
    names = ["model.safetensors", "processor_config.json", "model.gguf", "onnx/", "optimizer.pt"]
    assert unread(folder_of(tmp_path / "m", names, LLAVA)) is None


SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def sharded(path: Path, names: list[str]) -> Path:
    """A folder whose index names two files, with some of them."""
    index = {"weight_map": {f"layer.{place}": name for place, name in enumerate(SHARDS)}}
    folder = folder_of(path, ["processor_config.json", *names], LLAVA)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_a_missing_shard_is_a_problem_of_the_config(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m", SHARDS)
    assert model_problems(ModelConfig(source=str(folder))) == []
    assert find_source(folder).local
    (folder / SHARDS[1]).unlink()
    assert told(folder) == f"files of the weights are missing: {SHARDS[1]}"


@pytest.mark.parametrize(
    "index", ["{", "[]", '{"weight_map": {"a": 1}}', '{"weight_map": {"a": []}}']
)
def test_an_index_that_is_none_is_a_problem_of_the_config(tmp_path: Path, index: str) -> None:
    folder = sharded(tmp_path / "m", SHARDS)
    path = folder / "model.safetensors.index.json"
    path.write_text(index)
    problem = f"{path}: this is not an index of safetensors files"
    assert model_problems(ModelConfig(source=str(folder))) == [problem]
    with pytest.raises(LvlmsalError, match="this is not an index"):
        find_source(folder)


def test_every_problem_of_a_folder_is_told_at_once(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m", SHARDS[:1])
    (folder / "config.json").write_text('{"architectures": ["LlavaForConditionalGeneratio"]}')
    missing, adapter = model_problems(ModelConfig(source=str(folder)))
    assert missing.endswith(f"are missing: {SHARDS[1]}")
    assert "Did you mean 'LlavaForConditionalGeneration'?" in adapter
    (folder / "config.json").write_text("{")
    _, config = model_problems(ModelConfig(source=str(folder)))
    assert config.startswith(f"{folder / 'config.json'}: the configuration cannot be read: ")
    (folder / SHARDS[1]).touch()
    (folder / "config.json").write_text("{}")
    (config,) = model_problems(ModelConfig(source=str(folder)))
    assert "has no list `architectures`" in config
