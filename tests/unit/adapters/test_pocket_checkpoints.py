"""The shipped models load by name and keep every promise of an adapter, with trained weights."""

from __future__ import annotations

import functools

import pytest
from transformers import AutoProcessor

from lvlmsal.adapters import Loaded, load_checkpoint
from lvlmsal.registry import CATALOG
from lvlmsal.testing.adapter import ADAPTER_CHECKS

pytestmark = pytest.mark.slow

NAMES = CATALOG.names("pocket-*")


@functools.cache
def loaded(name: str) -> Loaded:
    return load_checkpoint(name)


def test_all_are_there() -> None:
    assert NAMES == ["pocket-idefics3", "pocket-llava", "pocket-qwen2vl"]


@pytest.mark.parametrize("name", NAMES)
def test_architecture_is_that_of_the_card(name: str) -> None:
    card = loaded(name).card
    assert card is not None
    assert card.architecture == type(loaded(name).model).__name__
    assert card.architecture in loaded(name).adapter.architectures


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", ADAPTER_CHECKS)
def test_check(name: str, check: str) -> None:
    ADAPTER_CHECKS[check](loaded(name).adapter)


@pytest.mark.parametrize("name", ["pocket-llava", "pocket-idefics3"])
def test_the_processor_needs_no_substitute(name: str) -> None:
    folder = CATALOG.get(name).source
    assert type(AutoProcessor.from_pretrained(folder)) is type(loaded(name).processor)
