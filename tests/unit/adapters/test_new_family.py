"""A family that only renames another takes a few lines: here Qwen3-VL, over Qwen2-VL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter
from lvlmsal.registry import ADAPTERS
from lvlmsal.testing.adapter import ADAPTER_CHECKS
from lvlmsal.testing.tiny import IMAGE, IMAGE_END, IMAGE_START, VIDEO, VOCABULARY
from lvlmsal.tiny.processors import tiny_processor


class Qwen3VLAdapter(Qwen2VLAdapter):
    """Qwen3-VL."""

    architectures = ("Qwen3VLForConditionalGeneration",)
    family = "Qwen3-VL"


@pytest.fixture(scope="module")
def adapter() -> Iterator[Qwen3VLAdapter]:
    common = {"hidden_size": 32, "intermediate_size": 48, "initializer_range": 0.25}
    config = Qwen3VLConfig(
        vision_config={
            **common,
            "depth": 3,
            "out_hidden_size": 32,
            "num_heads": 4,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config={
            **common,
            "vocab_size": VOCABULARY,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [1, 1, 2],
                "mrope_interleaved": True,
            },
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=IMAGE_START,
        vision_end_token_id=IMAGE_END,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3VLForConditionalGeneration(config)
    model.train(False)
    model.generation_config.pad_token_id = 0
    ADAPTERS.register(*Qwen3VLAdapter.architectures)(Qwen3VLAdapter)
    yield Qwen3VLAdapter(model, tiny_processor("qwen2_vl"))
    for name in Qwen3VLAdapter.architectures:  # other tests list what is registered
        del ADAPTERS._entries[name]


@pytest.mark.parametrize("check", ADAPTER_CHECKS)
def test_check(adapter: Qwen3VLAdapter, check: str) -> None:
    ADAPTER_CHECKS[check](adapter)
