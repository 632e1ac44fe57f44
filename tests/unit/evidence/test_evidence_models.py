"""Models as evidence, tiny and random: Grad-CAM against a restatement, detection, kept answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    BlipProcessor,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    ResNetConfig,
)

from lvlmsal.errors import LvlmsalError, UnsupportedError
from lvlmsal.evidence import BlipMatching, ObjectDetection
from tests.unit.model.test_lvlm import picture

pytestmark = pytest.mark.slow

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "is", "there", "a", "big", "dog", "?", "cat"]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blip")
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    text = {"vocab_size": len(WORDS), "encoder_hidden_size": 16, "intermediate_size": 24}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "sep_token_id": 3}
    vision = {"image_size": 24, "patch_size": 8, "intermediate_size": 24}
    config = BlipConfig(
        text_config={**sizes, **text},
        vision_config={**sizes, **vision},
        projection_dim=8,
        image_text_hidden_size=8,
    )
    model = BlipForImageTextRetrieval(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    size = {"height": 24, "width": 24}
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    BlipProcessor(BlipImageProcessor(size=size), tokenizer).save_pretrained(folder)
    return folder


def restated(folder: Path, image: Any, ids: list[int], layer: int) -> tuple[Any, float]:
    """The map by finite differences of the matching logit in each attention weight, and the cosine.

    The attention of one layer is replaced by a given one, head by head, token by token.
    """
    model: Any = BlipForImageTextRetrieval.from_pretrained(folder).double().eval()
    processor: Any = BlipProcessor.from_pretrained(folder)
    pixels = processor.image_processor(image, return_tensors="pt")["pixel_values"].double()
    texts = torch.tensor([ids])
    attention = model.text_encoder.encoder.layer[layer].crossattention.self
    seen: dict[str, torch.Tensor] = {}

    def replaced(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        if "wanted" not in seen:
            seen["weights"] = output[1]
            return output
        states = kwargs.get("encoder_hidden_states")
        values = module.value(states).view(1, -1, 2, 8).transpose(1, 2)
        mixed = (seen["wanted"] @ values).transpose(1, 2).reshape(1, len(ids), 16)
        return mixed, seen["wanted"]

    attention.register_forward_hook(replaced, with_kwargs=True)

    def logit() -> float:
        with torch.no_grad():
            return float(model(input_ids=texts, pixel_values=pixels).itm_score[0, 1])

    logit()
    weights = seen["weights"].detach().clone()
    cam = torch.zeros(9, dtype=torch.float64)
    for head in range(2):
        for token in range(1, len(ids) - 1):
            for patch in range(9):
                around = []
                for step in (1e-5, -1e-5):
                    seen["wanted"] = weights.clone()
                    seen["wanted"][0, head, token, 1 + patch] += step
                    around.append(logit())
                slope = max(0.0, (around[0] - around[1]) / 2e-5)
                cam[patch] += float(weights[0, head, token, 1 + patch]) * slope / 2
    with torch.no_grad():
        score = model(input_ids=texts, pixel_values=pixels, use_itm_head=False).itm_score
    return (cam / (len(ids) - 2)).reshape(3, 3).numpy(), float(score)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_map_is_the_mean_of_weights_times_their_slopes(blip: Path, layer: int) -> None:
    image = picture(40, 30, 4)
    found = BlipMatching(model=str(blip), layer=layer).relevance(image, "Is there a big DOG?")
    wanted, similarity = restated(blip, image, [2, 4, 5, 6, 7, 8, 9, 3], layer)
    assert found.map.shape == (3, 3)
    assert found.map.dtype == np.float32
    scale = float(wanted.max())
    assert scale > 0
    assert found.map / scale == pytest.approx(wanted / scale, abs=1e-3)
    assert found.similarity == pytest.approx(similarity, abs=1e-5)
    assert abs(similarity) > 1e-3


def test_it_can_be_asked_in_inference_mode_and_says_what_is_wrong(blip: Path) -> None:
    one = BlipMatching(model=str(blip), layer=1)
    outside = one.relevance(picture(), "a cat")
    with torch.inference_mode():
        inside = one.relevance(picture(), "a cat")
    assert np.array_equal(outside.map, inside.map)
    with pytest.raises(UnsupportedError, match=r"layer must be from 0 to 2 in .*, got 6"):
        BlipMatching(model=str(blip)).relevance(picture(), "a cat")
    with pytest.raises(UnsupportedError, match=r"'\(\.\.\.\)' has no words"):
        one.relevance(picture(), "(...)")


def test_answers_are_kept_and_found_without_the_model(blip: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "answers")
    first = BlipMatching(model=str(blip), layer=1, cache=cache)
    found = first.relevance(picture(), "a cat")
    files = list(Path(cache).rglob("*"))
    assert [file.suffix for file in files if file.is_file()] == [".npz"]

    again = BlipMatching(model=str(blip), layer=1, cache=cache)
    vars(again)["loaded"] = "no model is asked"
    kept = again.relevance(picture(), "A cat.")  # prepared, it is the same text
    assert np.array_equal(kept.map, found.map)
    assert kept.similarity == found.similarity
    for image, text, layer in ((picture(seed=1), "a cat", 1), (picture(), "a dog", 1)):
        BlipMatching(model=str(blip), layer=layer, cache=cache).relevance(image, text)
    BlipMatching(model=str(blip), layer=0, cache=cache).relevance(picture(), "a cat")
    assert len(list(Path(cache).rglob("*.npz"))) == 4


def test_the_same_question_is_asked_once(blip: Path) -> None:
    one = BlipMatching(model=str(blip), layer=1)
    calls: list[object] = []
    one.loaded[0].vision_model.register_forward_hook(lambda *_: calls.append(None))
    found = [one.relevance(picture(), text) for text in ("a cat", "a cat", "a dog", "a cat")]
    assert len(calls) == 2
    assert np.array_equal(found[0].map, found[3].map)


def test_scores_are_cosines_and_the_end_of_a_long_text_is_read(blip: Path) -> None:
    one = BlipMatching(model=str(blip), layer=1)
    image = picture(40, 30, 4)
    texts = ["Is there a big DOG?", "a cat"]
    found = one.scores(image, texts)
    ids = [[2, 4, 5, 6, 7, 8, 9, 3], [2, 6, 10, 3]]
    wanted = [restated(blip, image, each, 0)[1] for each in ids]
    assert found == pytest.approx(wanted, abs=1e-5)
    assert found[0] != pytest.approx(found[1], abs=1e-4)
    # 512 positions: what differs at the end of longer texts still makes a difference
    longer = [f"{'a big ' * 400}{word}" for word in ("dog", "cat")]
    first, second = one.scores(image, longer)
    assert first != second
    assert one.scores(image, [f"is {longer[0]}"]) == pytest.approx([first], abs=1e-6)


def test_a_model_that_is_not_there_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    evidence = BlipMatching()
    assert evidence.version == "main"
    with pytest.raises(LvlmsalError, match="hf download Salesforce/blip-itm-large-coco"):
        evidence.relevance(picture(), "a cat")


@pytest.fixture(scope="module")
def detr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detr")
    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
        id2label={0: "dog", 1: "cat", 2: "cow"},
        label2id={"dog": 0, "cat": 1, "cow": 2},
    )
    model = DetrForObjectDetection(config)
    torch.nn.init.normal_(model.class_labels_classifier.weight, std=3.0)
    model.save_pretrained(folder)
    size = {"shortest_edge": 32, "longest_edge": 64}
    DetrImageProcessor(size=size).save_pretrained(folder)
    return folder


def test_objects_are_the_classes_above_the_threshold_best_first(detr: Path, tmp_path: Path) -> None:
    image = picture(40, 30, 2)
    found = ObjectDetection(model=str(detr), threshold=0.1).objects(image)
    model: Any = DetrForObjectDetection.from_pretrained(detr).eval()
    inputs = DetrImageProcessor.from_pretrained(detr)(image, return_tensors="pt")
    with torch.no_grad():
        probs = model(**inputs).logits[0].softmax(-1)
    best: dict[str, float] = {}
    for query in probs:
        label = int(query[:-1].argmax())
        if float(query[label]) > 0.1:
            word = ["dog", "cat", "cow"][label]
            best[word] = max(best.get(word, 0), float(query[label]))
    assert best
    assert dict(found) == pytest.approx(best, abs=1e-5)
    assert [score for _, score in found] == sorted(best.values(), reverse=True)
    cached = {"model": str(detr), "threshold": 0.1, "cache": str(tmp_path)}
    for _ in range(2):  # of the model, and of the file
        assert ObjectDetection(**cached).objects(image) == found
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    least = math.nextafter(max(best.values()), 2)
    assert ObjectDetection(model=str(detr), threshold=least).objects(image) == []
    with pytest.raises(ValueError, match="threshold must be from 0 to 1"):
        ObjectDetection(threshold=2.0)
