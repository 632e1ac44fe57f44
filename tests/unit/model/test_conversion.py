"""Folders of LLaVA's own code become those of transformers, with the logits of the original."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

import lvlmsal
from lvlmsal.adapters import CcaLlavaAdapter, LlavaAdapter
from lvlmsal.cli import main
from lvlmsal.errors import LvlmsalError
from lvlmsal.testing.tiny import tiny_model
from lvlmsal.tiny.parts import PATCH, SIDE, WORDS, byte_tokenizer

pytestmark = pytest.mark.slow

IMAGE_TOKEN_INDEX = -200  # what stands for an image in the original's ids
OPTIONS = {
    "architectures": ["LlavaLlamaForCausalLM"],
    "model_type": "llava",
    "mm_projector_type": "mlp2x_gelu",
    "mm_hidden_size": 32,
    "mm_resampler_type": None,
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "image_aspect_ratio": "pad",
    "torch_dtype": "float16",
}
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)


def original(source: Any) -> dict[str, Tensor]:
    """Weights of a LLaVA of transformers by the names of the original, its tower left out."""
    found = {}
    for name, value in source.state_dict().items():
        if "vision_tower" in name:
            continue
        name = name.replace("model.multi_modal_projector.linear_1", "model.mm_projector.0")
        name = name.replace("model.multi_modal_projector.linear_2", "model.mm_projector.2")
        name = name.replace("model.language_model.", "model.")
        rows = value[:WORDS] if "embed_tokens" in name or "lm_head" in name else value
        found[name] = rows.clone().contiguous()
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tower``, ``original`` and ``base``, the language model alone."""
    root = tmp_path_factory.mktemp("original")
    model: Any = tiny_model("llava")
    model.model.vision_tower.save_pretrained(root / "tower")
    size = {"height": SIDE, "width": SIDE}
    processor: Any = CLIPImageProcessor
    processor(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(root / "tower")
    text = model.config.text_config.to_dict() | {"vocab_size": WORDS}
    weights = original(model)
    write(root / "original", weights, {**text, **OPTIONS, "mm_vision_tower": str(root / "tower")})
    plain = {name: value for name, value in weights.items() if "mm_projector" not in name}
    write(root / "base", plain, {**text, "architectures": ["LlamaForCausalLM"]})
    return root


def write(folder: Path, weights: dict[str, Tensor], config: dict[str, Any]) -> Path:
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    byte_tokenizer().save_pretrained(folder)
    return folder


def original_logits(
    folder: Path, tower: Path, pixels: Tensor, ids: list[int], weights: dict[str, Tensor]
) -> Tensor:
    """The original's forward: CLIP's features, two layers with GELU, spliced in at -200."""
    config = json.loads((folder / "config.json").read_text())
    language = LlamaForCausalLM(
        LlamaConfig(**{k: v for k, v in config.items() if k not in ("model_type", "torch_dtype")})
    ).eval()
    inner = {name: value for name, value in weights.items() if "mm_projector" not in name}
    language.load_state_dict(inner)
    clip: Any = CLIPVisionModel.from_pretrained(tower)
    with torch.no_grad():
        states = clip(pixels, output_hidden_states=True).hidden_states
        features = states[config["mm_vision_select_layer"]][:, 1:]
        at = {k.removeprefix("model.mm_projector."): v for k, v in weights.items()}
        hidden = torch.nn.functional.gelu(features @ at["0.weight"].T + at["0.bias"])
        visual = (hidden @ at["2.weight"].T + at["2.bias"])[0]
        place = ids.index(IMAGE_TOKEN_INDEX)
        embed = language.get_input_embeddings()
        before, after = (embed(torch.tensor(part)) for part in (ids[:place], ids[place + 1 :]))
        sequence = torch.cat([before, visual, after])[None]
        logits: Tensor = language(inputs_embeds=sequence).logits[0]
    return logits


@pytest.fixture
def picture() -> Image.Image:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(256, (30, 50, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def check(
    output: Path,
    folder: Path,
    tower: Path,
    picture: Image.Image,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Compare the logits of what was written with the original's."""
    lvlm = lvlmsal.load(output)
    inputs = lvlm.adapter.encode([[picture]], ["What is it?"])
    ids, image = inputs["input_ids"][0].tolist(), lvlm.model.config.image_token_id
    first, last = ids.index(image), len(ids) - ids[::-1].index(image)
    assert last - first == (SIDE // PATCH) ** 2
    ids = [*ids[:first], IMAGE_TOKEN_INDEX, *ids[last:]]
    weights = weights or load_file(folder / "model.safetensors")
    wanted = original_logits(folder, tower, inputs["pixel_values"], ids, weights)
    with torch.no_grad():
        found = lvlm.model(**inputs).logits[0]
    assert torch.allclose(found[:, :WORDS], wanted, atol=1e-5)
    assert float(wanted.std()) > 0.1
    # the rows that were added never win
    assert int(found[:, WORDS:].shape[1]) == 1
    assert bool((found[:, WORDS:].max(-1).values < wanted.max(-1).values).all())


def test_logits_are_those_of_the_original(
    folders: Path, picture: Image.Image, tmp_path: Path
) -> None:
    output = lvlmsal.convert(folders / "original", tmp_path / "out")
    check(output, folders / "original", folders / "tower", picture)


def test_dtype_positions_and_ends_of_answers_are_kept(folders: Path, tmp_path: Path) -> None:
    weights = load_file(folders / "original/model.safetensors")
    half = {name: value.to(torch.float16) for name, value in weights.items()}
    config = json.loads((folders / "original/config.json").read_text())
    del config["rope_parameters"]
    # as older releases of transformers wrote it
    config |= {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}
    source = write(tmp_path / "m", half, config | {"mm_vision_select_feature": "cls_patch"})
    lvlm = lvlmsal.load(lvlmsal.convert(source, tmp_path / "out"))
    assert {weight.dtype for weight in lvlm.model.parameters()} == {torch.float16}
    text = lvlm.model.config.get_text_config()
    rope = text.rope_parameters
    assert (rope["rope_theta"], rope["rope_type"], rope["factor"]) == (5e5, "linear", 2.0)
    assert lvlm.model.generation_config.eos_token_id == 2
    inputs = lvlm.adapter.encode([[Image.new("RGB", (40, 20))]], ["What?"])
    image = int((inputs["input_ids"] == lvlm.model.config.image_token_id).sum())
    assert image == (SIDE // PATCH) ** 2 + 1  # the class token is kept
    assert lvlm.model.config.vision_feature_select_strategy == "full"


def test_pixels_and_prompt_are_those_of_the_original(
    folders: Path, picture: Image.Image, tmp_path: Path
) -> None:
    output = lvlmsal.convert(folders / "original", tmp_path / "out")
    lvlm = lvlmsal.load(output)
    found = lvlm.adapter.encode([[picture]], ["What is it?"])["pixel_values"]
    processor: Any = CLIPImageProcessor.from_pretrained(folders / "tower")
    side = max(picture.size)
    color = tuple(int(share * 255) for share in processor.image_mean)
    square = Image.new("RGB", (side, side), color)
    square.paste(picture, (0, (side - picture.height) // 2))
    wanted = processor(square, return_tensors="pt")["pixel_values"]
    assert torch.equal(found, wanted)
    assert lvlm.adapter.seen_part(picture).tobytes() == square.tobytes()
    turns = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Sure?"},
    ]
    assert lvlm.adapter.render("What is it?", 1) == (
        f"{SYSTEM} USER: <image>\nWhat is it? ASSISTANT:"
    )
    assert lvlm.adapter.render(turns, 1) == (
        f"{SYSTEM} USER: <image>\nWhat is it? ASSISTANT: A cat.</s>USER: Sure? ASSISTANT:"
    )
    checked = lvlmsal.load_check(output)
    assert checked.images[0]["grid"] == (SIDE // PATCH, SIDE // PATCH)
    assert not checked.works["ICD"]


OWN = (
    "{% for message in messages %}<|start_header_id|>{{ message.role }}\n"
    "{% for part in message.content %}{{ '<image>' if part.type == 'image' else part.text }}"
    "{% endfor %}{% endfor %}"
)


def test_a_llama_3_is_asked_in_a_conversation_of_its_own(folders: Path, tmp_path: Path) -> None:
    weights = load_file(folders / "original/model.safetensors")
    source = write(
        tmp_path / "m", weights, json.loads((folders / "original/config.json").read_text())
    )
    byte_tokenizer("<|start_header_id|>").save_pretrained(source)
    for template in (None, "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"):
        if template:
            (source / "chat_template.jinja").write_text(template)
        with pytest.raises(
            LvlmsalError, match=r"is a Llama 3.*put the chat_template\.jinja of its"
        ):
            lvlmsal.convert(source, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    (source / "chat_template.jinja").write_text(OWN)
    lvlm = lvlmsal.load(lvlmsal.convert(source, tmp_path / "out"))
    assert lvlm.adapter.render("What is it?", 1) == "<|start_header_id|>user\n<image>What is it?"


def test_pickled_shards_only_on_request(
    folders: Path, picture: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "pickled"
    weights = load_file(folders / "original/model.safetensors")
    config = json.loads((folders / "original/config.json").read_text())
    write(source, weights, config)
    (source / "model.safetensors").unlink()
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        content = {name: weights[name] for name in part}
        torch.save(content, source / f"pytorch_model-0000{number}-of-00002.bin")
    words = ["convert", str(source), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "--allow-bin" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--allow-bin"]) == 0
    assert capsys.readouterr().out == f"written as LLaVA: {tmp_path / 'out'}\n"
    check(tmp_path / "out", folders / "original", folders / "tower", picture)


class Bad:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exec, ("raise SystemExit('it ran')",)


def test_code_in_a_pickle_does_not_run(folders: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "bad", {}, json.loads((folders / "original/config.json").read_text()))
    (source / "model.safetensors").unlink()
    torch.save({"model.embed_tokens.weight": Bad()}, source / "pytorch_model.bin")
    with pytest.raises(LvlmsalError, match="cannot be read"):
        lvlmsal.convert(source, tmp_path / "out", allow_bin=True)


def test_a_projector_alone_with_its_language_model(
    folders: Path, picture: Image.Image, tmp_path: Path
) -> None:
    source = tmp_path / "projector"
    source.mkdir()
    whole = load_file(folders / "original/model.safetensors")
    torch.save({k: v for k, v in whole.items() if "mm_proj" in k}, source / "mm_projector.bin")
    (source / "config.json").write_bytes((folders / "original/config.json").read_bytes())
    with pytest.raises(LvlmsalError, match=r"a projector without its language model.*--base"):
        lvlmsal.convert(source, tmp_path / "out")
    lvlmsal.convert(source, tmp_path / "out", base=folders / "base", allow_bin=True)
    check(tmp_path / "out", folders / "original", folders / "tower", picture)


def test_a_lora_of_the_original_is_merged(
    folders: Path, picture: Image.Image, tmp_path: Path
) -> None:
    source = tmp_path / "lora"
    whole = load_file(folders / "original/model.safetensors")
    torch.manual_seed(0)
    options = LoraConfig(r=2, lora_alpha=8, target_modules=["v_proj"], init_lora_weights=False)
    language: Any = LlamaForCausalLM.from_pretrained(folders / "base")
    get_peft_model(language, options).save_pretrained(source)
    trained = {f"base_model.model.{k}": v for k, v in whole.items() if "mm_projector" in k}
    torch.save(trained, source / "non_lora_trainables.bin")
    (source / "config.json").write_bytes((folders / "original/config.json").read_bytes())
    with pytest.raises(LvlmsalError, match=r"LLaVA's own code: merge it with `lvlmsal convert"):
        lvlmsal.load(source)
    lvlmsal.convert(source, tmp_path / "out", base=folders / "base", allow_bin=True)
    added = load_file(source / "adapter_model.safetensors")
    merged = dict(whole)
    for name in merged:
        down = added.get(f"base_model.model.{name.removesuffix('weight')}lora_A.weight")
        if down is not None:
            up = added[f"base_model.model.{name.removesuffix('weight')}lora_B.weight"]
            merged[name] = merged[name] + 8 / 2 * up @ down
    assert not torch.equal(
        merged["model.layers.0.self_attn.v_proj.weight"],
        whole["model.layers.0.self_attn.v_proj.weight"],
    )
    check(tmp_path / "out", folders / "original", folders / "tower", picture, merged)


def test_a_tower_within_the_weights_is_taken(
    folders: Path, picture: Image.Image, tmp_path: Path
) -> None:
    weights = load_file(folders / "original/model.safetensors")
    clip: Any = CLIPVisionModel.from_pretrained(folders / "tower")
    tuned = {name: value + 0.05 for name, value in clip.state_dict().items()}
    inside = {
        f"model.vision_tower.vision_tower.vision_model.{name.removeprefix('vision_model.')}": value
        for name, value in tuned.items()
    }
    config = json.loads((folders / "original/config.json").read_text())
    source = write(tmp_path / "tuned", {**weights, **inside}, config)
    lvlmsal.convert(source, tmp_path / "out")
    clip.load_state_dict(tuned)
    clip.save_pretrained(tmp_path / "tower")
    check(tmp_path / "out", source, tmp_path / "tower", picture, weights)


def test_a_folder_of_cca_llava_becomes_one_of_its_model(folders: Path, tmp_path: Path) -> None:
    weights = load_file(folders / "original/model.safetensors")
    config = json.loads((folders / "original/config.json").read_text())
    (tmp_path / "cca-llava-work").mkdir()  # the name of a folder around it says nothing
    source = write(tmp_path / "cca-llava-work/cca-llava-1.5-7b", weights, config)
    found = lvlmsal.load(lvlmsal.convert(source, tmp_path / "concentric"))
    other = write(tmp_path / "cca-llava-work/llava-1.5-7b", weights, config)
    plain = lvlmsal.load(lvlmsal.convert(other, tmp_path / "plain"))
    assert type(found.adapter) is CcaLlavaAdapter
    assert type(plain.adapter) is LlavaAdapter
    mine, theirs = found.model.state_dict(), plain.model.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_what_it_becomes_is_said_and_chosen(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names say CCA-LLaVA of the one folder, and nothing of the other."""
    weights = load_file(folders / "original/model.safetensors")
    config = json.loads((folders / "original/config.json").read_text())
    for name, kind, wanted in (
        ("cca-llava-1.5", None, "CCA-LLaVA"),
        ("cca-llava-table", "llava", "LLaVA"),
        ("mine", None, "LLaVA"),
        ("mine-2", "cca-llava", "CCA-LLaVA"),
    ):
        source, output = (
            write(tmp_path / name, weights, config),
            tmp_path / f"from {name[:4]} {kind}",
        )
        words = ["convert", str(source), "-o", str(output), *(["--kind", kind] if kind else [])]
        assert main(words) == 0
        assert capsys.readouterr().out == f"written as {wanted}: {output}\n"
        adapter = type(lvlmsal.load(output).adapter)
        assert adapter is {"LLaVA": LlavaAdapter, "CCA-LLaVA": CcaLlavaAdapter}[wanted]
    with pytest.raises(LvlmsalError, match=r"kind must be llava or cca-llava, got 'cca'"):
        lvlmsal.convert(source, tmp_path / "other", kind="cca")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mm_projector_type": "linear"}, "mm_projector_type is 'linear'.*two layers"),
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end is True"),
        ({"image_aspect_ratio": "anyres"}, "image_aspect_ratio is 'anyres'"),
        ({"mm_resampler_type": "perceiver"}, "mm_resampler_type is 'perceiver'"),
        ({"architectures": ["LlavaMptForCausalLM"]}, "got LlavaMptForCausalLM"),
        ({"architectures": ["LlavaForConditionalGeneration"]}, "needs no conversion"),
        ({"mm_vision_tower": "nowhere/at-all-here/x"}, "the vision tower nowhere.*--vision-tower"),
        ({"num_hidden_layers": 3}, "weights are missing, of another shape or not those"),
        ({"hidden_size": 64}, "weights are missing, of another shape or not those"),
    ],
)
def test_what_has_no_counterpart_is_refused(
    change: dict[str, Any], told: str, folders: Path, tmp_path: Path
) -> None:
    config = json.loads((folders / "original/config.json").read_text()) | change
    source = write(tmp_path / "m", load_file(folders / "original/model.safetensors"), config)
    with pytest.raises(LvlmsalError, match=told):
        lvlmsal.convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_that_are_not_there_or_not_empty(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(LvlmsalError, match=r"there is no such folder.*hf download"):
        lvlmsal.convert("liuhaotian/llava-v1.5-7b", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    with pytest.raises(LvlmsalError, match="exists already"):
        lvlmsal.convert(folders / "original", tmp_path / "full")
    with pytest.raises(LvlmsalError, match="leave `base`"):
        lvlmsal.convert(folders / "original", tmp_path / "out", base=folders / "base")
    with pytest.raises(LvlmsalError, match=r"LLaVA's own code.*lvlmsal convert"):
        lvlmsal.load(folders / "original")
