"""Boxes of a word: a tiny random Grounding DINO read off its raw outputs, and which boxes stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)

from lvlmsal.evidence import Box, ZeroShotDetection
from lvlmsal.evidence.zero_shot_detection import distinct
from tests.unit.model.test_lvlm import picture

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "?", "a", "big", "dog", "cat"]


def test_small_boxes_and_the_same_thing_twice_are_left_out() -> None:
    first = Box(0.0, 0.0, 0.5, 0.5, 0.9)
    same = Box(0.0, 0.0, 0.5, 0.4, 0.8)  # 0.2 of 0.25
    other = Box(0.3, 0.3, 0.7, 0.7, 0.7)  # 0.04 of 0.37
    small = Box(0.8, 0.8, 0.9, 0.85, 0.6)  # half a percent
    assert distinct([first, same, other, small], 0.01, 0.6) == [first, other]
    assert distinct([first, same, other, small], 0.0, 0.85) == [first, same, other, small]
    assert distinct([Box(0.2, 0.2, 0.2, 0.2)] * 2, 0.0, 0.5) == [Box(0.2, 0.2, 0.2, 0.2)] * 2


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"least_area must be from 0 to 1, got 2\.0"):
        ZeroShotDetection(least_area=2.0)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=32,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
        max_text_len=16,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    size = {"shortest_edge": 96, "longest_edge": 160}
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer).save_pretrained(
        folder
    )
    return folder


@pytest.mark.slow
def test_boxes_are_the_queries_above_the_threshold_surest_first(dino: Path, tmp_path: Path) -> None:
    image = picture(40, 30, 2)
    options: dict[str, Any] = {"model": str(dino), "least_area": 0.0, "overlap": 1.0}
    found = ZeroShotDetection(**options, threshold=0.3, cache=str(tmp_path)).boxes(image, "dog")

    model: Any = GroundingDinoForObjectDetection.from_pretrained(dino).eval()
    processor: Any = GroundingDinoProcessor.from_pretrained(dino)
    given = processor(images=image, text="dog.", return_tensors="pt")
    with torch.no_grad():
        output = model(**given)
    wanted = []
    for logits, (x, y, w, h) in zip(output.logits[0], output.pred_boxes[0].tolist(), strict=True):
        score = float(logits.max().sigmoid())
        edges = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        if score > 0.3:
            wanted.append([score, *(min(1.0, max(0.0, edge)) for edge in edges)])
    wanted.sort(reverse=True)
    assert 1 < len(wanted) < 6
    assert [[box.score, *box[:4]] for box in found] == [pytest.approx(w, abs=1e-5) for w in wanted]
    again = ZeroShotDetection(**options, threshold=0.3, cache=str(tmp_path))
    vars(again)["loaded"] = "no model is asked"
    assert again.boxes(image, "dog") == found
    assert ZeroShotDetection(**options, threshold=1.0).boxes(image, "dog") == []
