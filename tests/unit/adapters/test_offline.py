"""Checkpoints of the hub where there is no connection: one try, one message, and the cache."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest
from huggingface_hub import constants

from lvlmsal.adapters import load_checkpoint
from lvlmsal.errors import LvlmsalError
from lvlmsal.testing.tiny import tiny_lvlm

pytestmark = pytest.mark.slow

NAME = "owner/some-lvlm"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, on a machine where no name of another one is known."""
    tries: list[Any] = []

    def unknown(*name: Any, **_: Any) -> NoReturn:
        tries.append(name)
        raise socket.gaierror(-2, "Name or service not known")

    def impatient(_seconds: float) -> NoReturn:
        pytest.fail("the hub is asked again after a pause")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(time, "sleep", impatient)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_one_try_and_one_message(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(LvlmsalError) as caught:
        load_checkpoint(NAME)
    said = str(caught.value)
    assert said.startswith(f"'{NAME}' is not a folder here. There is no connection to ")
    assert "Name or service not known" in said
    assert str(cache) in said
    assert f"`hf download {NAME} --local-dir FOLDER`" in said
    assert not [r for r in caplog.records if r.name.startswith("huggingface_hub")]


def test_offline_mode_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LvlmsalError, match=r"is not a folder here\. HF_HUB_OFFLINE is set"):
        load_checkpoint(NAME)


def cached(cache: Path) -> Path:
    """What the hub's client leaves after a download: the folder of a commit, and its branch."""
    repository = cache / f"models--{NAME.replace('/', '--')}"
    commit = "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    model, processor = tiny_lvlm("llava")
    model.save_pretrained(repository / "snapshots" / commit)
    processor.save_pretrained(repository / "snapshots" / commit)
    return repository / "snapshots" / commit


def test_a_checkpoint_in_the_cache_needs_no_connection(cache: Path) -> None:
    cached(cache)
    assert load_checkpoint(NAME).adapter.family == "LLaVA-1.5"


def test_a_part_in_the_cache_is_refused_with_what_is_missing(cache: Path) -> None:
    folder = cached(cache)
    (folder / "model.safetensors").unlink()
    with pytest.raises(LvlmsalError, match=r"the weights cannot be loaded.*does not hold all of"):
        load_checkpoint(NAME)
