"""Every registered adapter keeps the promises of `lvlmsal.testing`, and the checks can fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaForConditionalGeneration,
)

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.glm import Glm4vAdapter
from lvlmsal.adapters.internvl import InternVLAdapter
from lvlmsal.adapters.llava import LlavaAdapter
from lvlmsal.adapters.qwen_vl import Qwen2VLAdapter, Qwen25VLAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.errors import UnsupportedError
from lvlmsal.registry import ADAPTERS
from lvlmsal.testing.adapter import ADAPTER_CHECKS, check_adapter
from lvlmsal.testing.tiny import FURTHER, TINY, tiny_lvlm
from lvlmsal.tiny import parts
from lvlmsal.tiny.models import FAMILIES

pytestmark = pytest.mark.slow


# Their processors cannot be built without it; the environment of the tests has none.
NEED_TORCHVISION = {
    "Cohere2VisionForConditionalGeneration",
    "LlavaForConditionalGeneration/pixtral",
    "Mistral3ForConditionalGeneration",
    "Molmo2ForConditionalGeneration",
    "PerceptionLMForConditionalGeneration",
}


def built_in() -> list[str]:
    return [name for name in ADAPTERS.names() if ADAPTERS.origin(name).startswith("lvlmsal.")]


def test_every_built_in_adapter_has_a_tiny_model() -> None:
    assert set(built_in()) == set(FAMILIES)
    assert set(FAMILIES.values()) == {*TINY, *FURTHER}


@pytest.mark.parametrize("name", built_in())
def test_built_in(name: str) -> None:
    if name in NEED_TORCHVISION:
        pytest.importorskip("torchvision")
    check_adapter(ADAPTERS.get(name), *tiny_lvlm(FAMILIES[name]))


def test_internvl_3_5_has_another_decoder() -> None:
    older, processor = tiny_lvlm("internvl")
    config = InternVLConfig(
        vision_config=older.config.vision_config.to_dict(),
        text_config=parts.text_config(model_type="qwen3", head_dim=8),
        image_token_id=parts.IMAGE,
        image_seq_length=older.config.image_seq_length,
        tie_word_embeddings=False,
    )
    model = parts.random_model(lambda: InternVLForConditionalGeneration(config))
    check_adapter(InternVLAdapter, model, processor)


@pytest.mark.parametrize("name", built_in())
def test_adapter_carries_its_facts(name: str) -> None:
    adapter = ADAPTERS.get(name)
    assert name.partition("/")[0] in adapter.architectures
    assert all([adapter.family, adapter.summary, adapter.paper])
    assert adapter.url.startswith("https://arxiv.org/abs/")


# An adapter with a mistake, and the check that must find it.


class FirstLayerOnly(LlavaAdapter):
    @property
    def attention_modules(self) -> list[nn.Module]:
        return [super().attention_modules[0]] * self.num_layers


class BodyAsHead(LlavaAdapter):
    @property
    def lm_head(self) -> nn.Module:
        return self.decoder.embed_tokens


class ShiftedSpans(LlavaAdapter):
    def spans(self, *args: Any, **options: Any) -> list[TokenSpans]:
        return [
            TokenSpans(
                found.pad,
                tuple((start + 1, end + 1) for start, end in found.images),
                found.output_start,
                found.length,
            )
            for found in super().spans(*args, **options)
        ]


class PaddingCounted(LlavaAdapter):
    def spans(self, *args: Any, **options: Any) -> list[TokenSpans]:
        return super().spans(args[0])


class Transposed(Qwen2VLAdapter):
    def image_grids(self, *args: Any) -> list[tuple[int, int]]:
        return [(rows + 1, columns) for rows, columns in super().image_grids(*args)]


class UnequalPanels(LlavaAdapter):
    def panels(self, *args: Any) -> list[int]:
        return [3 for _ in super().panels(*args)]


class NoTokenTypes(Qwen25VLAdapter):
    def complete(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value for name, value in inputs.items() if name != "mm_token_type_ids"}


class EverythingEager(LlavaAdapter):
    def set_attention(self, name: str) -> None:
        self.model.set_attn_implementation(name)


class NothingEager(LlavaAdapter):
    def set_attention(self, name: str) -> None:
        self.model.set_attn_implementation({"language_model": name})


class MaskForgotten(LlavaAdapter):
    def complete(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])}


class BlanksDropped(LlavaAdapter):
    def token_texts(self, ids: Any) -> list[str]:
        return [text.strip() for text in super().token_texts(ids)]


class FirstImageOnly(LlavaAdapter):
    def complete(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: torch.ones_like(value) if name == "pixel_values" else value
            for name, value in super().complete(inputs).items()
        }


class AnswerCut(LlavaAdapter):
    def append(self, inputs: Any, response: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().append(inputs, response.flip(1))


class Careless(LlavaAdapter):
    def encode(self, images: Any, prompts: Any, **options: Any) -> dict[str, torch.Tensor]:
        cut = [
            row[: prompt.count("<image>")] if "<image>" in prompt else row
            for row, prompt in zip(images, prompts, strict=True)
        ]
        return super().encode(cut, prompts, **options)


class NormForgotten(Glm4vAdapter):
    def feed_forward(self, layer: int) -> tuple[nn.Module, nn.Module]:
        block = super().feed_forward(layer)[0]
        return block, block


class BeamsTrusted(Glm4vAdapter):
    mixes_beams = False


class BeamsDoubted(LlavaAdapter):
    mixes_beams = True


@pytest.mark.parametrize(
    ("adapter", "check"),
    [
        (FirstLayerOnly, "parts"),
        (BodyAsHead, "parts"),
        (ShiftedSpans, "spans"),
        (PaddingCounted, "spans"),
        (Transposed, "grids"),
        (UnequalPanels, "grids"),
        (NoTokenTypes, "spans"),
        (EverythingEager, "attention"),
        (NothingEager, "attention"),
        (MaskForgotten, "batch"),
        (BlanksDropped, "text"),
        (Careless, "mismatch"),
        (FirstImageOnly, "pixels"),
        (AnswerCut, "diagnosis"),
        (NormForgotten, "feed-forward"),
        (BeamsTrusted, "beams"),
        (BeamsDoubted, "beams"),
    ],
)
def test_check_finds_the_mistake(adapter: type[ModelAdapter], check: str) -> None:
    # Not the shared models: some of the mistakes change the model.
    broken = adapter(*tiny_lvlm(FAMILIES[adapter.architectures[0]]))
    with pytest.raises((AssertionError, UnsupportedError)):
        ADAPTER_CHECKS[check](broken)


def test_set_attention_refuses_a_name_that_did_not_take() -> None:
    model, processor = tiny_lvlm("llava")

    class Misnamed(LlavaAdapter):
        def _attention_key(self) -> str:
            return "language_model"

    with pytest.raises(UnsupportedError, match="did not take the attention 'eager'"):
        Misnamed(model, processor).set_attention("eager")


def test_unknown_architecture_lists_the_known_ones() -> None:
    config = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=8,
        patch_size=4,
    )
    with pytest.raises(UnsupportedError, match=r"no adapter.*'CLIPVisionModel'.*Llava.*adapter.md"):
        adapter_for(CLIPVisionModel(config))


def test_renamed_model_keeps_the_adapter_of_its_base() -> None:
    class Renamed(LlavaForConditionalGeneration):
        pass

    model, _ = tiny_lvlm("llava")
    assert isinstance(adapter_for(Renamed(model.config)), LlavaAdapter)


def test_all_failures_are_reported_with_their_usual_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Twice(FirstImageOnly, BlanksDropped):
        pass

    model, processor = tiny_lvlm("llava")
    monkeypatch.setattr("lvlmsal.testing.adapter.adapter_for", lambda of: Twice(of))
    with pytest.raises(AssertionError) as caught:
        check_adapter(Twice, model, processor)
    said = str(caught.value)
    assert said.startswith("3 checks failed:")
    assert "LLaVA-1.5, text: " in said
    assert "LLaVA-1.5, pixels: " in said
    assert "LLaVA-1.5, spans: other pixels change nothing that enters" in said
    assert said.count("usual reason: ") == 3
