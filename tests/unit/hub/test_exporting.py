"""`lvlmsal export hub`: what a repository holds, and what is no repository."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import hub_numbers
import pytest
import yaml
from huggingface_hub import constants

import lvlmsal
from lvlmsal import hub
from lvlmsal.cli import main
from lvlmsal.errors import ConfigError, DataError, LvlmsalError, UnknownName, UnsupportedError
from lvlmsal.registry import CATALOG
from lvlmsal.testing.tiny import tiny_lvlm

POCKET = CATALOG.get("pocket-llava").folder
assert POCKET is not None


def front_matter(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    return found


def test_a_repository_of_a_method(tmp_path: Path) -> None:
    folder = hub.export(tmp_path / "my-vcd", {"name": "vcd", "alpha": 0.25})
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"README.md", "custom_generate/generate.py", "custom_generate/requirements.txt"}
    code = (folder / "custom_generate" / "generate.py").read_text()
    assert len(code.splitlines()) <= 15
    assert "METHOD = [{'name': 'vcd', 'alpha': 0.25}]" in code
    about = front_matter(folder)
    assert about["library_name"] == "transformers"
    assert "custom_generate" in about["tags"]
    assert about["license"] == "apache-2.0"
    readme = (folder / "README.md").read_text()
    assert "| `alpha` | `0.25` |" in readme
    assert 'custom_generate="my-vcd", trust_remote_code=True' in readme
    assert "https://arxiv.org/abs/2311.16922" in readme


def test_numbers_are_those_of_the_documentation() -> None:
    known = json.loads(hub_numbers.NUMBERS.read_text(encoding="utf-8"))
    assert known == hub_numbers.numbers(), "run: python tools/hub_numbers.py"


def test_of_a_page_the_tables_are_taken() -> None:
    table = "### model\n\n| head |\n| --- |\n| 1 |"
    page = f"# a\n{hub_numbers.HEADING}\nText, [link](x.md).\n\n{table}\n\n## Next\n\n| no |\n"
    assert hub_numbers.tables_of(page) == table
    assert hub_numbers.tables_of(page.replace("did to", "was to")) == ""


def test_numbers_stand_in_the_readme_of_a_method_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "### pocket-llava\n\n| method | chair |\n| --- | ---: |\n| greedy + PAI | -1.0 |"
    monkeypatch.setattr("lvlmsal.hub.readme.measured", lambda: {"pai": table})
    alone = (hub.export(tmp_path / "pai", "pai") / "README.md").read_text(encoding="utf-8")
    assert table in alone.partition("\n## Numbers\n")[2]
    assert "nothing about\nmodels of 7 B parameters" in alone
    several = hub.export(tmp_path / "several", ["pai", "sgrs"])
    text = (several / "README.md").read_text(encoding="utf-8")
    assert "No measurement of exactly this" in text
    assert "pocket-llava" not in text


def test_a_folder_of_a_model(tmp_path: Path) -> None:
    """Options of the catalog are written down: a folder has no name that it knows."""
    folder = hub.export(tmp_path / "linked", "sgrs", model="pocket-llava")
    weights = folder / "model.safetensors"
    assert weights.is_symlink()
    assert weights.resolve() == (POCKET / "model.safetensors").resolve()
    for name in ("config.json", "tokenizer.json", "processor_config.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (POCKET / name).read_bytes()
    assert (folder / "MODEL_README.md").read_bytes() == (POCKET / "README.md").read_bytes()
    code = (folder / "custom_generate" / "generate.py").read_text()
    assert "'plausibility': 0.1" in code
    assert "license" not in front_matter(folder)
    copied = hub.export(tmp_path / "copied", "sgrs", model=str(folder), copy_weights=True)
    assert not (copied / "model.safetensors").is_symlink()
    assert (copied / "model.safetensors").read_bytes() == weights.read_bytes()


def test_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub's cache, whose files are links themselves."""
    cache, commit = tmp_path / "cache", "0" * 40
    repository = cache / "models--owner--some-lvlm"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / commit
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    model, processor = tiny_lvlm("llava")
    for part in (model, processor):
        part.save_pretrained(blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(os.path.relpath(path, snapshot))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = hub.export(tmp_path / "out", "vcd", model="owner/some-lvlm")
    assert (folder / "model.safetensors").resolve() == blobs / "model.safetensors"
    assert not (folder / "config.json").is_symlink()
    assert (
        lvlmsal.load(folder).adapter.num_layers
        == lvlmsal.load((model, processor)).adapter.num_layers
    )


@pytest.mark.parametrize(
    ("method", "options", "kind", "match"),
    [
        ("sgsr", {}, UnknownName, "Did you mean 'sgrs'"),
        ({"name": "sgrs", "alfa": 1}, {}, ConfigError, "Did you mean 'alpha'"),
        ({"name": "sgrs", "alpha": -1}, {}, ConfigError, "alpha must be at least 0"),
        ("vcd+icd", {}, UnsupportedError, "second stream each"),
        (None, {"model": "pocket-llava"}, UnsupportedError, "needs a method"),
        ("sgrs", {"copy_weights": True}, UnsupportedError, "copy_weights is for a model"),
        ("sgrs", {"model": "pocket-lava"}, UnknownName, "Did you mean 'pocket-llava'"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, method: Any, options: dict[str, Any], kind: type[LvlmsalError], match: str
) -> None:
    with pytest.raises(kind, match=match):
        hub.export(tmp_path / "out", method, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_anything_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        hub.export(tmp_path, "sgrs")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    words = ["export", "hub", out, "--method", "sgrs", "--method", "locore"]
    assert main([*words, "--set", "locore.beta=0.3", "--set", "max_tries=2"]) == 0
    code = Path(out, "custom_generate", "generate.py").read_text()
    assert "[{'name': 'sgrs', 'max_tries': 2}, {'name': 'locore', 'beta': 0.3}]" in code
    assert f"custom_generate='{out}', trust_remote_code=True" in capsys.readouterr().out
    other = str(tmp_path / "other")
    assert main(["export", "hub", other, "--method", "sgrs", "--set", "locor.beta=1"]) == 2
    assert "'locor' is not in use. In use: sgrs" in capsys.readouterr().err
    assert (
        main(["export", "hub", other, "--method", "sgrs", "--method", "vcd", "--set", "x=1"]) == 2
    )
    assert "--set x: no method here has it" in capsys.readouterr().err
