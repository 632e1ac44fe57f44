"""Tiny families with prompts of their own: without a chat template, or with images by samples."""

from __future__ import annotations

from typing import Any, Final

import transformers

from lvlmsal.tiny.parts import (
    PATCH,
    SIDE,
    SQUARE,
    WIDTH,
    WORDS,
    TinyFamily,
    byte_tokenizer,
    chat_template,
    text_config,
    vision_config,
)

_hf: Any = transformers  # whose types lack the aliases of options
_FEW: Final = 4
"""Visual tokens of an image, in families that average its patches or ask it questions."""


def _siglip(**changes: Any) -> dict[str, Any]:
    return vision_config(model_type="siglip_vision_model", vision_use_head=False, **changes)


_GEMMA: Final = ("<image_soft_token>", "<start_of_image>", "<end_of_image>")


def _gemma3(layers: int, kv_heads: int, heads: int) -> Any:
    kinds = ["sliding_attention"] * (layers - 1) + ["full_attention"]
    text = text_config(
        layers,
        kv_heads,
        heads,
        model_type="gemma3_text",
        head_dim=WIDTH // heads,
        query_pre_attn_scalar=WIDTH // heads,
        sliding_window=24,
        layer_types=kinds,
    )
    return _hf.Gemma3Config(
        vision_config=_siglip(),
        text_config=text,
        image_token_index=WORDS,
        boi_token_index=WORDS + 1,
        eoi_token_index=WORDS + 2,
        mm_tokens_per_image=_FEW,
        tie_word_embeddings=False,
    )


def _gemma3_processor() -> Any:
    image, begin, end = _GEMMA
    return _hf.Gemma3Processor(
        _hf.Gemma3ImageProcessor(size=SQUARE, image_seq_length=_FEW, do_pan_and_scan=False),
        byte_tokenizer(*_GEMMA, image_token=image, boi_token=begin, eoi_token=end),
        chat_template=chat_template(begin, begin=True),
        image_seq_length=_FEW,
    )


_LOCATIONS: Final = 1024 + 128
"""Tokens that PaliGemma's processor adds to the vocabulary, for places and outlines."""


def _paligemma(kind: str, **changes: Any) -> Any:
    def config(layers: int, kv_heads: int, heads: int) -> Any:
        text = text_config(layers, kv_heads, heads, marks=1 + _LOCATIONS, model_type=kind)
        return _hf.PaliGemmaConfig(
            vision_config=_siglip(projection_dim=WIDTH),
            text_config={**text, "head_dim": WIDTH // heads, **changes},
            image_token_index=WORDS,
            projection_dim=WIDTH,
            hidden_size=WIDTH,
            vocab_size=text["vocab_size"],
            tie_word_embeddings=False,
        )

    return config


def _paligemma_processor() -> Any:
    pixels = _hf.SiglipImageProcessor(size=SQUARE)
    pixels.image_seq_length = (SIDE // PATCH) ** 2
    return _hf.PaliGemmaProcessor(pixels, byte_tokenizer("<image>", image_token="<image>"))


_IDEFICS: Final = ("<image>", "<fake_token_around_image>", "<end_of_utterance>")


def _idefics2(layers: int, kv_heads: int, heads: int) -> Any:
    perceiver = {
        "hidden_size": WIDTH,
        "num_key_value_heads": kv_heads,
        "n_heads": heads,
        "resampler_n_heads": heads,
        "resampler_head_dim": WIDTH // heads,
        "resampler_n_latents": _FEW,
        "resampler_depth": 1,
    }
    return _hf.Idefics2Config(
        vision_config=vision_config(),
        perceiver_config=perceiver,
        text_config=text_config(
            layers, kv_heads, heads, marks=3, model_type="mistral", sliding_window=None
        ),
        image_token_id=WORDS,
        tie_word_embeddings=False,
    )


def _idefics2_processor() -> Any:
    sides = {"shortest_edge": 2 * PATCH, "longest_edge": SIDE}
    return _hf.Idefics2Processor(
        _hf.Idefics2ImageProcessor(size=sides, do_image_splitting=False),
        byte_tokenizer(*_IDEFICS),
        image_seq_len=_FEW,
        chat_template=chat_template("<image>", begin=True),
    )


_CODES: Final = 16
_CHAMELEON: Final = ("<image>", "<racm3:break>", "<eoss>", "<reserved08706>")


def _chameleon(layers: int, kv_heads: int, heads: int) -> Any:
    # Codes of images have ids of their own in real vocabularies; here those of letters. Their
    # numbers are spelled with A for 0 to J for 9.
    digits = str.maketrans("0123456789", "ABCDEFGHIJ")
    codes = {f"IMGIMG{str(code).translate(digits)}Z": 100 + code for code in range(_CODES)}
    encoder = {
        "embed_dim": 8,
        "num_embeddings": _CODES,
        "latent_channels": 8,
        "resolution": 32,
        "base_channels": 32,
        "channel_multiplier": [1, 2, 2, 2],
        "num_res_blocks": 1,
        "in_channels": 3,
    }
    text = text_config(layers, kv_heads, heads, marks=len(_CHAMELEON))
    return _hf.ChameleonConfig(
        **text, vq_config=encoder, vocabulary_map={**codes, "<image>": WORDS}
    )


def _chameleon_processor() -> Any:
    side = {"height": 32, "width": 32}
    tokenizer: Any = byte_tokenizer(*_CHAMELEON)
    tokenizer.sep_token = _CHAMELEON[-1]
    return _hf.ChameleonProcessor(
        _hf.ChameleonImageProcessor(size={"shortest_edge": 32}, crop_size=side),
        tokenizer,
        image_seq_length=16,
    )


OWN_PROMPTS: Final = {
    "gemma3": TinyFamily("Gemma3ForConditionalGeneration", _gemma3, _gemma3_processor),
    "paligemma": TinyFamily(
        "PaliGemmaForConditionalGeneration", _paligemma("gemma"), _paligemma_processor
    ),
    "paligemma2": TinyFamily(
        "PaliGemmaForConditionalGeneration",
        # real ones cap attention at 50 and have a window of 4096 tokens
        _paligemma(
            "gemma2", query_pre_attn_scalar=8, attn_logit_softcapping=2.0, sliding_window=24
        ),
        _paligemma_processor,
        adapter="PaliGemmaForConditionalGeneration/gemma2",
    ),
    "idefics2": TinyFamily("Idefics2ForConditionalGeneration", _idefics2, _idefics2_processor),
    "chameleon": TinyFamily("ChameleonForConditionalGeneration", _chameleon, _chameleon_processor),
}
