"""Lists of heads: what a file must hold, and that they are used for their own model only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvlmsal.adapters import adapter_for
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.fits.head_lists import HeadLists, read_head_lists
from lvlmsal.testing.tiny import tiny_model

pytestmark = pytest.mark.slow

LISTS = {"good": ((0, 1), (1, 3)), "bad": ((1, 0),)}


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    made = HeadLists.of(adapter_for(tiny_model("llava")), LISTS, source="by hand")
    made.save(tmp_path / "heads.json")
    assert read_head_lists(tmp_path / "heads.json") == made
    assert made.model == "LlavaForConditionalGeneration 2x4"
    made.refuse_another(adapter_for(tiny_model("llava")), "it")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"family": "qwen2_vl"}, "this one is 'Qwen2VLForConditionalGeneration"),
        ({"family": "llava", "layers": 3}, "this one is 'LlavaForConditionalGeneration 3x4'"),
        ({"family": "llava", "seed": 5}, "other weights"),
    ],
)
def test_another_model_is_refused(other: dict[str, Any], told: str) -> None:
    made = HeadLists.of(adapter_for(tiny_model("llava")), LISTS)
    adapter = adapter_for(tiny_model(**other))
    with pytest.raises(UnsupportedError, match=told):
        made.refuse_another(adapter, "heads.json")


def test_without_weights_the_shape_decides() -> None:
    made = replace(HeadLists.of(adapter_for(tiny_model("llava")), LISTS), weights=())
    made.refuse_another(adapter_for(tiny_model("llava", seed=5)), "it")
    wrong = replace(made, lists={"good": ((1, 4),)})
    with pytest.raises(UnsupportedError, match=r"the heads \[\[1, 4\]\], and this model has 2"):
        wrong.refuse_another(adapter_for(tiny_model("llava")), "it")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "other"}, "'format': 'lvlmsal.HeadLists' and 'version': 1, got 'other' and 1"),
        ({"version": 2}, "got 'lvlmsal.HeadLists' and 2"),
        ({"lists": {"good": [[1, -1]]}}, "damaged: a head must be .layer, head., both from 0"),
        ({"lists": {"good": [[1]]}}, "damaged: a head must be"),
        ({"lists": None}, "damaged"),
        ({"model": ...}, "damaged: 'model'"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = tmp_path / "heads.json"
    HeadLists("Llava 2x4", LISTS).save(path)
    content = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))
    with pytest.raises(DataError, match=told):
        read_head_lists(path)
