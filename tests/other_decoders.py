"""Tiny models whose attention is more than a softmax over causal scores, and their definitions.

The references are transformers' eager attention with autograd, and a restatement of attention that
knows soft caps, sinks, additive masks and LocoRE's gain; neither shares code with the library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.spans import TokenSpans
from tests.reference import Rule

IMAGE = 30
PATCHES = 4
PROMPT = [1, 5, 6, *[IMAGE] * PATCHES, 9, 10, 11, 12, 13]
F64 = torch.float64

_TEXT: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.25,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
_FULL = ["full_attention"] * 3
_VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 14,
    "patch_size": 7,
    "initializer_range": 0.25,
}


def text_config(kind: str, **options: Any) -> Any:
    """Of a decoder: ``"gemma2"`` caps its scores, ``"gpt_oss"`` has sinks, and so on."""
    if kind == "gemma2":
        options = {"head_dim": 8, "query_pre_attn_scalar": 8, "layer_types": _FULL} | options
        options |= {"attn_logit_softcapping": 0.5, "final_logit_softcapping": None}
        return transformers.Gemma2Config(**_TEXT, **options)
    if kind == "gpt_oss":
        options = {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1} | options
        rope = {"rope_type": "default", "rope_theta": 10000.0}
        return transformers.GptOssConfig(
            layer_types=_FULL, rope_parameters=rope, **{**_TEXT, **options}
        )
    if kind == "gemma3n":  # its last two layers attend to the keys and values of the one before
        sizes = {"head_dim": 8, "hidden_size_per_layer_input": 8, "laurel_rank": 4}
        sizes |= {"num_kv_shared_layers": 2, "vocab_size_per_layer_input": 40}
        text = {**_TEXT, "num_hidden_layers": 4, "intermediate_size": [32] * 4}
        sparse = {"activation_sparsity_pattern": [0.0] * 4}
        return transformers.Gemma3nTextConfig(
            layer_types=[*_FULL, _FULL[0]], **{**text, **sizes, **sparse, **options}
        )
    if kind == "diffllama":
        return transformers.DiffLlamaConfig(**_TEXT, **options)
    if kind == "deepseek_v3":
        sizes = {"q_lora_rank": None, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "v_head_dim": 6}
        sizes |= {"qk_nope_head_dim": 4, "first_k_dense_replace": 3, "n_routed_experts": 4}
        text = {**_TEXT, "num_key_value_heads": 4}
        return transformers.DeepseekV3Config(**text, **sizes, **options)
    return transformers.LlamaConfig(**_TEXT, **options)


def llava(kind: str, dtype: torch.dtype = F64, **options: Any) -> PreTrainedModel:
    """LLaVA with a decoder of another kind."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**_VISION),
        text_config=text_config(kind, **options),
        image_token_index=IMAGE,
        image_seq_length=PATCHES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlavaForConditionalGeneration(config)
        for name, weights in model.named_parameters():
            if name.endswith("sinks"):
                nn.init.normal_(weights, 1.0, 1.0)
    model.generation_config.pad_token_id = 0
    if kind == "gpt_oss":  # its other experts know no double precision
        model.get_decoder().set_experts_implementation("eager")
    return model.eval().to(dtype)


class PrefixAdapter(ModelAdapter):
    """PaliGemma, all of whose prompt sees all of it, and Gemma 3, whose images see themselves."""

    name = "prefixes_of_the_tests"

    def image_grids(
        self, inputs: Mapping[str, Tensor], spans: Sequence[TokenSpans]
    ) -> list[tuple[int, int]]:
        return [(2, 2) for sample in spans for _ in sample.images]


def paligemma(dtype: torch.dtype = F64) -> PrefixAdapter:
    """PaliGemma."""
    text = {**_TEXT, "model_type": "gemma", "head_dim": 8}
    config = transformers.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", **_VISION},
        text_config=text,
        image_token_index=IMAGE,
        projection_dim=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.PaliGemmaForConditionalGeneration(config)
    model.generation_config.pad_token_id = 0
    return PrefixAdapter(model.eval().to(dtype))


def gemma3(dtype: torch.dtype = F64) -> PrefixAdapter:
    """Gemma 3, with layers that see everything before them only."""
    text = transformers.Gemma3TextConfig(
        head_dim=8, query_pre_attn_scalar=8, layer_types=_FULL, **_TEXT
    )
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config={"model_type": "siglip_vision_model", **_VISION},
        image_token_index=IMAGE,
        mm_tokens_per_image=PATCHES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.Gemma3ForConditionalGeneration(config)
        nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    model.generation_config.pad_token_id = 0
    return PrefixAdapter(model.eval().to(dtype))


def inputs_of(
    model: PreTrainedModel, answer: Sequence[int] = (), prompt: Sequence[int] = PROMPT
) -> dict[str, Tensor]:
    """A prompt with an image, and an answer behind it."""
    ids = torch.tensor([[*prompt, *answer]])
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(1, 3, 14, 14, generator=generator).to(model.dtype)
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    if "PaliGemma" in type(model).__name__:  # its suffix is causal, and of type 1
        found["token_type_ids"] = (torch.arange(ids.shape[1]) >= len(prompt)).long()[None]
    if "Gemma3For" in type(model).__name__:
        found["token_type_ids"] = (ids == IMAGE).long()
    return found


@contextmanager
def attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    """The text decoder on another attention."""
    before = model.config.get_text_config()._attn_implementation
    model.set_attn_implementation({"text_config": name})
    try:
        yield
    finally:
        model.set_attn_implementation({"text_config": before})


def saliency_by_autograd(
    model: PreTrainedModel, answer: Sequence[int], row: str
) -> tuple[Tensor, Tensor]:
    """Eq. 1-4 of every token, normalized by row: (T, L, n); and A's mean over heads, likewise."""
    inputs, start = inputs_of(model, answer), len(PROMPT)
    with attention(model, "eager"), torch.enable_grad():
        out = model(**inputs, output_attentions=True, use_cache=False)
    rows, attentions = [], []
    for index, token in enumerate(answer):
        at = start + index - (1 if row == "predicting" else 0)
        logs = torch.log_softmax(out.logits[0, at].double(), dim=-1)
        loss = -logs[token] if row == "predicting" else -logs.max()
        slopes = torch.autograd.grad(loss, out.attentions, retain_graph=True)
        kept = [
            (a[0, :, at].detach(), g[0, :, at]) for a, g in zip(out.attentions, slopes, strict=True)
        ]
        fused = [(a * g).abs().sum(0) for a, g in kept]
        rows.append(torch.stack([each / each.norm() for each in fused]))
        attentions.append(torch.stack([a.mean(0) for a, _ in kept]))
    return torch.stack(rows), torch.stack(attentions)


_RULE: list[Rule | None] = [None]
NAME = "restated_in_the_tests"


def _restated(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    scores = query @ key.transpose(2, 3) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    rule = _RULE[0]
    gain = torch.ones_like(scores)
    if rule is not None:
        gain = rule.gain(query.shape[0], query.shape[1], query.shape[2]).to(scores)
        if rule.mode == "renormalized":
            scores = scores + gain.log()
        elif rule.mode == "scores":
            scores = scores * gain
    exponents = torch.exp(scores + attention_mask)
    total = exponents.sum(-1, keepdim=True)
    if s_aux is not None:
        total = total + s_aux.exp()[None, :, None, None]
    weights = exponents / total
    if rule is not None and rule.mode == "weights":
        weights = weights * gain
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(NAME, _restated)
AttentionMaskInterface.register(NAME, eager_mask)


def restated_logits(model: PreTrainedModel, inputs: Mapping[str, Tensor], rule: Rule) -> Tensor:
    """Logits (n, V) of the whole sequence under LocoRE as a rule has it."""
    _RULE[0] = rule
    try:
        with attention(model, NAME), torch.no_grad():
            logits: Tensor = model(**inputs, use_cache=False).logits[0]
        return logits
    finally:
        _RULE[0] = None
