"""Training batches and the training loop, on models of the same make but far smaller."""

from __future__ import annotations

import itertools
import json
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import AutoModelForImageTextToText, AutoProcessor

from lvlmsal.pocket.scenes.language import Turn
from lvlmsal.pocket.scenes.scene import SHAPES, sample_scene
from lvlmsal.pocket.training.batches import TrainingBatches, make_batch, make_tower_batch, whitening
from lvlmsal.pocket.training.build import POCKETS, build
from lvlmsal.pocket.training.data import Encoder, Mix, sample_segments
from lvlmsal.pocket.training.data import sample_scene as draw_scene
from lvlmsal.pocket.training.module import Leg, PocketModule, Recipe
from lvlmsal.pocket.training.optimizer import build_optimizer
from lvlmsal.pocket.training.pocket import patch_labels
from lvlmsal.pocket.training.speaker import Speaker
from lvlmsal.pocket.training.train import export, main, train
from lvlmsal.pocket.training.worlds import SHAPES as SHAPE_WORLD
from lvlmsal.pocket.training.worlds import View
from tests.tiers import in_full

pytestmark = pytest.mark.slow

TINY = Recipe(
    minutes=None,
    steps=8,
    tower_share=0.3,
    check_every=2,
    mixes=(
        (0.0, Mix(rows=2, questions=2, plain=0.5)),
        (0.7, Mix(rows=2, questions=1, captioned=1.0, habits=0.5)),
    ),
    legs=(Leg(0.0, 1.5e-3, 0.02), Leg(0.7, 1e-3, 0.01)),
    muon=True,
    name_weight=0.5,
    tower_rows=2,
    look_rows=2,
    tiny=True,
)


@pytest.fixture(scope="module", params=in_full(sorted(POCKETS), but="pocket-qwen2vl"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reference_scores(module: PocketModule, view: View, turns: list[Turn]) -> torch.Tensor:
    """Scores of the answers' tokens from the model's own forward and its chat template."""
    pocket, encoder = module.pocket, Encoder(module.pocket)
    messages: list[dict[str, Any]] = []
    for turn in turns:
        content: list[dict[str, str]] = [{"type": "text", "text": turn.question}]
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": turn.answer})
    messages[0]["content"].insert(0, {"type": "image"})
    text = pocket.tokenizer.apply_chat_template(messages, tokenize=False)
    pixels = pocket.image_processor([view.image], return_tensors="pt")
    mark, marks = pocket.dialogue.image, pocket.dialogue.image
    if pocket.name == "pocket-idefics3":  # as its processor puts it
        marks = f"<fake_token_around_image><global-img>{mark * 36}<fake_token_around_image>"
    elif pocket.name == "pocket-llava":
        marks = mark * 64
    else:
        marks = mark * (int(pixels["image_grid_thw"].prod()) // 4)
    ids = torch.tensor([pocket.tokenizer(text.replace(mark, marks))["input_ids"]])
    if pocket.name == "pocket-qwen2vl":
        pixels["mm_token_type_ids"] = (ids == module.model.config.image_token_id).int()
    scores = module.model(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels).logits[0]
    places, after = [], 0
    for turn in turns:
        head = encoder.ids(pocket.dialogue.before_answer)
        said = pocket.dialogue.blank + turn.answer
        answer = encoder.ids(said) + encoder.ids(pocket.dialogue.after_answer)
        wanted, all_ids = head + answer, ids[0].tolist()
        start = next(
            k for k in range(after, len(all_ids)) if all_ids[k : k + len(wanted)] == wanted
        )
        places += range(start + len(head) - 1, start + len(wanted) - 1)
        after = start + len(wanted)
    return scores[places]


@torch.no_grad()
def test_packed_segments_score_as_if_each_stood_alone(name: str) -> None:
    torch.manual_seed(0)
    module = PocketModule(name, TINY).eval()
    encoder, mix = Encoder(module.pocket), Mix(rows=3, chained=0.5, unknown=0.0)
    packed, _ = module(make_batch(encoder, "t", 0, mix))
    alone = []
    for place in range(mix.rows):
        rng = random.Random(f"t/0/{place}")
        world = module.pocket.world
        scene = draw_scene(world, mix, rng)
        view = world.view(scene)
        for turns in sample_segments(module.pocket, scene, mix, rng):
            alone.append(reference_scores(module, view, turns))
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_targets_are_the_answers(name: str) -> None:
    encoder = Encoder(build(name, tiny=True))
    batch = make_batch(encoder, "t", 1, Mix(rows=4))
    rng = random.Random("t/1/0")
    scene = draw_scene(encoder.pocket.world, Mix(rows=4), rng)
    parts = sample_segments(encoder.pocket, scene, Mix(rows=4), rng)
    turns = [turn for part in parts for turn in part]
    first = batch["rows"] == 0
    spelled = encoder.pocket.tokenizer.decode(batch["targets"][first], skip_special_tokens=True)
    assert spelled.strip() == " ".join(turn.answer for turn in turns)
    kinds = [encoder.kinds[kind] for kind in batch["kinds"][first].tolist() if kind >= 0]
    assert kinds == [turn.kind for turn in turns]


def test_batches_are_repeatable_and_differ(name: str) -> None:
    encoder = Encoder(build(name, tiny=True))
    one, same, other = (make_batch(encoder, "t", index, Mix(rows=2)) for index in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["pixel_values"], other["pixel_values"])


def test_patch_labels_name_the_object_on_each_patch() -> None:
    scene = sample_scene(random.Random(4))
    labels = patch_labels(SHAPE_WORLD.view(scene), (scene.width, scene.height))
    assert labels.shape == (scene.height // 8, scene.width // 8, 2)
    for thing in scene.things:
        window = labels[thing.top // 8 : thing.top // 8 + 2, thing.left // 8 : thing.left // 8 + 2]
        assert set(window[..., 0].flatten()) - {0} == {SHAPES.index(thing.shape) + 1}
    covered = {SHAPES.index(shape) + 1 for shape in scene.present}
    assert set(labels[..., 0].flatten()) == covered | {0}


def test_patch_labels_follow_the_models_patch_order() -> None:
    view = SHAPE_WORLD.view(sample_scene(random.Random(4)))
    grid = patch_labels(view, view.image.size)
    flat = build("pocket-qwen2vl", tiny=True).labels(view)
    # a merged token is four patches in a row: two of one row, two of the next
    assert np.array_equal(flat[:4], grid[:2, :2].reshape(4, 2))
    assert np.array_equal(flat[4:8], grid[:2, 2:4].reshape(4, 2))


def test_whitened_patches_are_uncorrelated(name: str) -> None:
    encoder = Encoder(build(name, tiny=True))
    filters = whitening(encoder, 16, scenes=20).double()
    pixels = make_tower_batch(encoder, "whitening", 0, 20)["pixel_values"]
    if pixels.ndim > 2:  # images; the processor of Qwen2-VL cuts them itself
        images = pixels.reshape(-1, *pixels.shape[-3:])
        pixels = torch.nn.functional.unfold(images, 8, stride=8).transpose(1, 2).flatten(0, 1)
    features = (pixels - pixels.mean(dim=0)).double() @ filters.T
    covariance = features.T @ features / len(features)
    off = covariance - torch.diag(covariance.diagonal())
    assert off.abs().max() < 1e-3
    assert covariance.diagonal().max() <= 1.0


def weights(module: PocketModule) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def test_killed_run_goes_on_where_it_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = weights(train(name, tmp_path / "whole", TINY))

    real = PocketModule.training_step

    def dying(self: PocketModule, batch: Any, index: int) -> torch.Tensor:
        if self.global_step == 5:
            raise RuntimeError("killed")
        return real(self, batch, index)

    monkeypatch.setattr(PocketModule, "training_step", dying)
    with pytest.raises(RuntimeError, match="killed"):
        train(name, tmp_path / "cut", TINY)
    monkeypatch.undo()
    with caplog.at_level(logging.INFO, logger="lvlmsal.pocket.training.train"):
        resumed = train(name, tmp_path / "cut", TINY)
    assert "going on from" in caplog.text
    assert "step 4" in caplog.text
    for key, value in weights(resumed).items():
        torch.testing.assert_close(value, whole[key], atol=1e-6, rtol=1e-5)

    step = export(name, tmp_path / "cut", tmp_path / "out", tiny=True)
    assert step == TINY.steps
    saved = AutoModelForImageTextToText.from_pretrained(tmp_path / "out").state_dict()
    trained = resumed.model.state_dict()
    stored = torch.bfloat16 if name == "pocket-idefics3" else torch.float32
    assert all(torch.equal(saved[key], trained[key].to(stored).float()) for key in trained)


def test_a_finished_run_goes_on_when_it_is_given_more_steps(tmp_path: Path) -> None:
    assert train("pocket-llava", tmp_path, TINY).global_step == TINY.steps
    assert train("pocket-llava", tmp_path, replace(TINY, steps=12)).global_step == 12


def test_training_learns(tmp_path: Path) -> None:
    recipe = replace(
        TINY,
        steps=15,
        tower_share=0.0,
        check_every=15,
        warmup=2,
        legs=(Leg(0.0, 1e-2),),
        muon=False,
    )
    module = train("pocket-llava", tmp_path, recipe)
    batch = make_batch(Encoder(module.pocket), "fresh", 0, Mix(rows=8))
    torch.manual_seed(0)
    untrained = PocketModule("pocket-llava", recipe)

    def loss(of: PocketModule) -> float:
        with torch.no_grad():
            scores, _ = of(batch)
        return float(torch.nn.functional.cross_entropy(scores.float(), batch["targets"]))

    assert loss(module) < 0.8 * loss(untrained)


def test_batches_of_workers_are_those_of_one_process() -> None:
    encoder = Encoder(build("pocket-idefics3", tiny=True))
    module = PocketModule("pocket-idefics3", TINY)
    stream = TrainingBatches(encoder, 0, 3, module.mix_at, module.tower_rows_at)
    alone = list(itertools.islice(stream, 4))
    shared = list(itertools.islice(DataLoader(stream, batch_size=None, num_workers=2), 4))
    for one, other in zip(alone, shared, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_matrices_of_layers_move_as_muon_moves_them_and_the_rest_as_adamw() -> None:
    torch.manual_seed(0)
    module = PocketModule("pocket-idefics3", TINY)
    before = weights(module)
    optimizer = build_optimizer(module, muon=True)
    for group in optimizer.param_groups:
        group["lr"] = 0.02 if group["inner"] else 1e-3
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    moved = {n: p.detach() - before[n] for n, p in module.named_parameters()}
    for name, change in moved.items():
        if name.endswith("_proj.weight") and ".layers." in name:
            # about orthogonal: singular values near 1, times the rate and sqrt(rows / columns)
            rows, columns = change.shape
            size = 0.02 * max(1, rows / columns) ** 0.5
            values = torch.linalg.svdvals(change + 0.02 * 0.02 * before[name]) / size
            assert values.max() < 1.4, name
            assert values.median() > 0.6, name
        elif "embed_tokens" in name or "layer_norm" in name:
            # the first step of AdamW is the sign of the gradient times the rate
            decay = 0.02 if change.ndim > 1 else 0.0
            step = change + 1e-3 * decay * before[name]
            torch.testing.assert_close(step.abs(), torch.full_like(step, 1e-3), atol=1e-5, rtol=0)


def test_export_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train first"):
        main(["pocket-llava", "--out", str(tmp_path), "--export", str(tmp_path / "out")])


def test_saved_folders_load_and_answer(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pocket = build(name, tiny=True)
    pocket.save(tmp_path)
    speaker = Speaker(tmp_path)
    assert speaker.tokenizer.padding_side == "left"
    specials = {speaker.tokenizer.pad_token_id, speaker.tokenizer.bos_token_id}
    assert len(specials | {speaker.tokenizer.eos_token_id}) == 3
    world = pocket.world
    pictures = [world.view(world.files.sample(random.Random(k))).image for k in range(6)]
    questions = ["Is there a star in the image?", "Describe this image."] * 3
    together = speaker.answer(pictures, questions, max_new_tokens=5)
    alone = [
        speaker.answer([picture], [question], max_new_tokens=5)[0]
        for picture, question in zip(pictures, questions, strict=True)
    ]
    assert together == alone


def test_llava_folder_has_a_whole_processor(tmp_path: Path) -> None:
    build("pocket-llava", tiny=True).save(tmp_path)
    load: Any = AutoProcessor
    processor = load.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hm?"}]}]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=Image.new("RGB", (64, 48)), text=prompt, return_tensors="pt")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == 64
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)
    assert model(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]


def test_qwen_folder_names_its_processor(tmp_path: Path) -> None:
    build("pocket-qwen2vl", tiny=True).save(tmp_path)
    content = json.loads((tmp_path / "processor_config.json").read_text(encoding="utf-8"))
    assert content["processor_class"] == "Qwen2VLProcessor"


def test_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="'pocket-gpt'"):
        build("pocket-gpt")


@pytest.mark.parametrize("word", ["umbrella", "umbrellas", "teddy bear", "pairs of scissors"])
def test_every_token_of_an_objects_name_is_a_noun(word: str) -> None:
    encoder = Encoder(build("pocket-idefics3", tiny=True))
    text = f" At the top there is a {word} and nothing else."
    ids, named = encoder.nouns(text)
    assert encoder.pocket.tokenizer.decode(ids) == text
    first, stop = named.index(True), len(named) - named[::-1].index(True)
    assert all(named[first:stop])
    said = encoder.pocket.tokenizer.decode(ids[first:stop])
    assert said == f" {word.removeprefix('pairs of ')}"
    if word in ("umbrella", "teddy bear"):
        assert stop - first > 1
