"""LoRA folders are merged at load, W + alpha / r * B A, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from lvlmsal.adapters import load_checkpoint
from lvlmsal.adapters.forms import base_of
from lvlmsal.adapters.sources import find_source
from lvlmsal.cli import main
from lvlmsal.errors import LvlmsalError
from lvlmsal.evaluation.config.checkpoints import architecture_of, card_of, model_problems
from lvlmsal.evaluation.config.schema import ModelConfig
from lvlmsal.evaluation.run.environment import describe_unloaded
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model

pytestmark = pytest.mark.slow

RANK, ALPHA = 2, 6


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    for part in tiny_lvlm("llava"):
        part.save_pretrained(folder)
    return folder


def adapter_on(base: Path, folder: Path, targets: list[str] | None = None) -> Path:
    """An adapter that changes the model, as a training writes it."""
    torch.manual_seed(0)
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=targets or ["q_proj", "down_proj"],
        init_lora_weights=False,
    )
    get_peft_model(model_of(base), config).save_pretrained(folder)
    return folder


def model_of(base: Path) -> Any:
    """A model that says where it comes from, as one that was loaded does."""
    model: Any = tiny_model("llava")
    model.name_or_path = str(base)
    return model


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    return adapter_on(base, tmp_path / "lora")


def by_hand(folder: Path) -> dict[str, torch.Tensor]:
    """The base's weights with the adapter's added."""
    weights = tiny_model("llava").state_dict()
    added = load_file(folder / "adapter_model.safetensors")
    for name, down in added.items():
        if "lora_A" in name:
            up = added[name.replace("lora_A", "lora_B")]
            target = name.removeprefix("base_model.model.").replace(".lora_A", "")
            weights[target] = weights[target] + ALPHA / RANK * up @ down
    return weights


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_weights_are_those_by_hand(folder: Path) -> None:
    loaded = load_checkpoint(folder)
    wanted, plain = by_hand(folder), tiny_model("llava").state_dict()
    found = loaded.model.state_dict()
    assert found.keys() == wanted.keys()
    changed = [name for name in wanted if not torch.equal(found[name], plain[name])]
    assert sum("q_proj" in name for name in changed) >= 2
    assert all("q_proj" in name or "down_proj" in name for name in changed)
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, atol=1e-6), name
    assert type(loaded.model) is type(tiny_model("llava"))
    assert not loaded.model.training
    assert not any(weight.requires_grad for weight in loaded.model.parameters())


def test_names_of_older_releases_of_transformers_are_understood(folder: Path) -> None:
    wanted = load_checkpoint(folder).model.state_dict()
    path = folder / "adapter_model.safetensors"
    older = {
        name.replace("model.model.language_model.", "model.language_model.model."): value
        for name, value in load_file(path).items()
        if "language_model" in name
    }
    assert all("language_model.model.layers" in name for name in older)
    save_file(older, path)
    edit(folder, target_modules=r".*language_model.*(q_proj|down_proj)")
    found = load_checkpoint(folder).model.state_dict()
    for name, value in wanted.items():
        if "language_model" in name:
            assert torch.equal(found[name], value), name


def test_a_run_takes_an_adapter_for_its_base_with_other_weights(folder: Path, base: Path) -> None:
    model = ModelConfig(source=str(folder))
    assert model_problems(model) == []
    assert architecture_of(model) == "LlavaForConditionalGeneration"
    assert card_of(model) is None
    edit(folder, base_model_name_or_path="pocket-llava")
    card = card_of(model)
    assert card is not None
    assert card.name == "pocket-llava"
    edit(folder, base_model_name_or_path=str(base))
    plain = describe_unloaded(ModelConfig(source=str(base)))
    found = describe_unloaded(model)
    names = set(found["weights"]) - set(plain["weights"])
    assert names == {"adapter_model.safetensors"}
    assert "adapter_config.json" in found["files"]
    assert plain["weights"].items() <= found["weights"].items()


def test_another_base_may_be_given(folder: Path, base: Path) -> None:
    edit(folder, base_model_name_or_path="nobody/has-this")
    found = find_source(folder, base=base)
    assert (found.location, found.adapter) == (str(base), folder)
    edit(folder, base_model_name_or_path=None)
    with pytest.raises(LvlmsalError, match="does not say what the adapter was trained on: give"):
        find_source(folder)
    edit(folder, base_model_name_or_path="no-such-name")
    with pytest.raises(LvlmsalError, match=r"goes into 'no-such-name', and that is not to be had"):
        find_source(folder)
    with pytest.raises(LvlmsalError, match="leave `base` out"):
        find_source(base, base=base)


def test_load_check_names_adapter_and_base(
    folder: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, base_model_name_or_path="nobody/has-this")
    assert main(["load-check", str(folder), "--base", str(base), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["adapter_folder"], found["location"]) == (str(folder), str(base))
    assert found["family"] == "LLaVA-1.5"
    assert found["weights"] is True


def test_an_adapter_on_an_adapter_is_refused(folder: Path, base: Path, tmp_path: Path) -> None:
    second = adapter_on(folder, tmp_path / "second")
    with pytest.raises(LvlmsalError, match="an adapter itself"):
        find_source(second)


def test_weights_that_have_no_counterpart_are_refused(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(iter(weights))
    save_file({key: value for key, value in weights.items() if key != name}, path)
    with pytest.raises(LvlmsalError, match=r"is not one of this Llava.*no counterpart"):
        load_checkpoint(folder)
    save_file({**weights, name.replace("layers.0", "layers.9"): weights[name].clone()}, path)
    with pytest.raises(LvlmsalError, match=r"no counterpart, among them .*layers\.9"):
        load_checkpoint(folder)


@pytest.mark.parametrize("config", [{"target_modules": ["nonesuch"]}, {"r": 3}])
def test_an_adapter_of_another_model_is_refused(folder: Path, config: dict[str, Any]) -> None:
    edit(folder, **config)
    with pytest.raises(LvlmsalError, match="cannot be put into this LlavaForConditionalGeneratio"):
        load_checkpoint(folder)


def test_virtual_tokens_are_refused(base: Path, tmp_path: Path) -> None:
    config = PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=2,
        token_dim=32,
        num_layers=2,
        num_attention_heads=4,
    )
    get_peft_model(model_of(base), config).save_pretrained(tmp_path / "virtual")
    with pytest.raises(LvlmsalError, match="virtual tokens"):
        load_checkpoint(tmp_path / "virtual")


def told(folder: Path) -> str:
    with pytest.raises(LvlmsalError) as caught:
        find_source(folder)
    assert model_problems(ModelConfig(source=str(folder))) == [str(caught.value)]
    return str(caught.value)


def test_pickled_and_missing_weights_and_a_missing_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        assert "pip install 'lvlmsal[peft]'" in told(folder)
    (folder / "adapter_model.safetensors").unlink()
    assert "expected adapter_model.safetensors" in told(folder)
    (folder / "adapter_model.bin").write_bytes(b"")
    assert "adapter_model.bin is an adapter (LoRA) of pickled weights" in told(folder)
    (folder / "non_lora_trainables.bin").write_bytes(b"")
    assert "lvlmsal convert" in told(folder)


def test_a_folder_with_all_weights_as_well_is_no_adapter(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    assert base_of(folder) is None
