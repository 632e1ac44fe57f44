"""Checkpoints that cannot be done right are refused by name, before anything of them is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import MllamaConfig, MllamaForConditionalGeneration

from lvlmsal.adapters import adapter_for, load_checkpoint
from lvlmsal.adapters.refused import REFUSED, refusal
from lvlmsal.errors import UnsupportedError
from lvlmsal.evaluation.config.checkpoints import model_problems
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.registry import ADAPTERS
from lvlmsal.tiny import parts

CODE = {"auto_map": {"AutoConfig": "configuration.Config"}, "model_type": "internvl_chat"}


def folder_of(path: Path, **config: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return path


def refused(source: Path) -> str:
    with pytest.raises(UnsupportedError) as caught:
        load_checkpoint(source)
    return str(caught.value).removeprefix(f"{source}: ")


def test_no_architecture_is_both_refused_and_known() -> None:
    assert not set(REFUSED) & set(ADAPTERS.names())


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_without_weights_is_enough_to_say_so(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, architectures=[name], **CODE)
    said = refused(folder)
    assert said.startswith(f"{name} is not supported: ")
    assert said.count(". ") == 0
    assert model_problems(ModelConfig(source=str(folder))) == [f"{folder}: {said}"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MllamaForConditionalGeneration", "cross-attention"),
        ("InstructBlipForConditionalGeneration", "language model inside"),
        ("InternVLChatModel", "OpenGVLab/InternVL3-8B-hf"),
        ("LlavaLlamaForCausalLM", "-hf"),
        ("QWenLMHeadModel", "Qwen2-VL"),
        ("Videollama2Qwen2ForCausalLM", "VideoLLaMA3"),
        ("Kimi_K25ForConditionalGeneration", "latent attention"),
        ("Emu3ForConditionalGeneration", "than alone"),
    ],
)
def test_the_reason(name: str, told: str, tmp_path: Path) -> None:
    assert told in refused(folder_of(tmp_path, architectures=[name]))


def test_an_original_checkpoint_of_the_catalog_names_its_sibling(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "_name_or_path": "liuhaotian/llava-v1.5-7b",
    }
    assert refused(folder_of(tmp_path, **config)).endswith(": llava-1.5-7b is that")


@pytest.mark.parametrize("name", ["cca-llava-1.5-7b", "CCA_LLaVA"])
def test_cca_llava_is_not_taken_for_llava(name: str, tmp_path: Path) -> None:
    config = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}
    assert "other positions" in refused(folder_of(tmp_path / name, **config))
    by_origin = folder_of(tmp_path / "mine", **config, _name_or_path=f"somebody/{name}")
    assert "other positions" in refused(by_origin)
    assert refusal({**config, "_name_or_path": "llava-hf/llava-1.5-7b-hf"}, "plain") is None
    own = {"architectures": ["CcaLlavaForConditionalGeneration"], "model_type": "cca_llava"}
    assert refusal({**own, "_name_or_path": f"somebody/{name}"}, name) is None


def test_a_lora_of_llava_on_the_hub_says_what_to_type() -> None:
    config = {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava"}
    told = str(refusal(config, "yuezih/llava-v1.5-7b-selective-23k-lora"))
    assert "`hf download yuezih/llava-v1.5-7b-selective-23k-lora --local-dir FOLDER`" in told
    assert "lvlmsal convert FOLDER --base BASE --allow-bin -o OUTPUT" in told


def test_an_adapter_of_ones_own_is_taken() -> None:
    class Own(ADAPTERS.get("LlavaForConditionalGeneration")):  # type: ignore[misc]
        pass

    ADAPTERS.register("InternVLChatModel")(Own)
    try:
        assert refusal({"architectures": ["InternVLChatModel"]}) is None
    finally:
        del ADAPTERS._entries["InternVLChatModel"]


def test_a_model_in_memory_is_refused_for_the_same_reason() -> None:
    vision = {"num_global_layers": 1, "attention_heads": 4, "intermediate_layers_indices": [0]}
    sizes = {"max_num_tiles": 4, "vision_output_dim": 2 * parts.WIDTH}
    rope = {"rope_type": "default", "rope_theta": 1e4}
    config = MllamaConfig(
        vision_config={**parts.vision_config(), **vision, **sizes},
        text_config=parts.text_config(cross_attention_layers=[1], rope_parameters=rope),
        image_token_index=parts.IMAGE,
    )
    with pytest.raises(UnsupportedError, match=r"^MllamaForConditionalGeneration .*cross-attent"):
        adapter_for(MllamaForConditionalGeneration(config))
