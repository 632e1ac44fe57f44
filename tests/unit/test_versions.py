"""One way of calling every transformers: the name of the cache, and the warning about others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.utils import logging

from lvlmsal.attention import intervene
from lvlmsal.attention.stream import prepared
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.interventions.vcd import VCD
from lvlmsal.model.loading import load
from lvlmsal.saliency import SaliencyOptions
from lvlmsal.testing.tiny import TINY, tiny_inputs, tiny_lvlm, tiny_model
from lvlmsal.versions import CACHE, NEWEST, OLDEST, given_cache, warn_if_untried, without_cache

pytestmark = pytest.mark.slow

OLD = "past_key_values"
TOKEN = torch.tensor([[7]])
F64 = torch.float64


@pytest.mark.parametrize("family", sorted(TINY))
def test_the_cache_has_the_name_that_generate_gives_it(family: str) -> None:
    def kept(ids: Tensor, kwargs: dict[str, Any]) -> list[str]:
        return [name for name, value in kwargs.items() if isinstance(value, Cache)]

    assert prepared(tiny_model(family), tiny_inputs(family), kept) == [CACHE]


@pytest.mark.parametrize("edit", [LocoRE(beta=1.0, window=3), VCD(alpha=1.0)])
@pytest.mark.parametrize("name", sorted({OLD, CACHE}))
def test_a_cache_is_followed_under_each_name_that_transformers_understands(
    name: str, edit: Any
) -> None:
    """As many passes on a cache as tokens give what one pass over all of them gives."""
    model, inputs = tiny_model("llava", dtype=F64), tiny_inputs("llava", dtype=F64)
    cache: dict[str, Any] = {name: DynamicCache()}
    with torch.no_grad(), intervene(model, edit), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that is what the old name is told
        model(**inputs, **cache)
        found = model(input_ids=TOKEN, **cache).logits[:, -1]
        model(**inputs, use_cache=False)
        ids = torch.cat([inputs["input_ids"], TOKEN], dim=1)
        longer = {"pixel_values": inputs["pixel_values"], "input_ids": ids}
        wanted = model(**longer, use_cache=False).logits[:, -1]
    assert torch.allclose(found, wanted)
    with torch.no_grad():
        assert not torch.allclose(found, model(**longer).logits[:, -1])


def test_the_new_name_counts_where_both_are_given() -> None:
    old, new = DynamicCache(), DynamicCache()
    assert given_cache({OLD: old}) is old
    assert given_cache({OLD: old, CACHE: new}) is new
    assert given_cache({"input_ids": TOKEN}) is None
    assert without_cache({OLD: old, CACHE: new, "use_cache": True}) == {"use_cache": True}


@pytest.fixture
def advice(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What transformers says about deprecated ways to call it, which is an error if it can be."""
    said: list[str] = []
    logger = logging.get_logger("transformers.utils.generic")
    monkeypatch.setattr(type(logger), "warning_once", lambda self, text, *args: said.append(text))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        yield said


@pytest.mark.parametrize("family", sorted(TINY))
def test_nothing_that_is_deprecated_is_asked_of_transformers(
    family: str, advice: list[str]
) -> None:
    lvlm, image = load(tiny_lvlm(family)), Image.new("RGB", (40, 30), "teal")
    options: dict[str, Any] = {"max_new_tokens": 3}
    for decoder in ("greedy", "beam", "sgrs", "opera"):
        answer = lvlm.generate(image, "What?", decoder=decoder, **options)
        assert len(answer.token_ids) > 0
    for name in ("vcd", "locore", "pai", "dola"):
        lvlm.generate(image, "What?", interventions=[name], **options)
    lvlm.ask(image, ["What?", "What else?"], **options)
    lvlm.diagnose(image, "What?", [5, 6], options=SaliencyOptions(norm="matrix"))
    assert [text for text in advice if "deprecated" in text] == []


@pytest.mark.parametrize(
    "version", [f"{OLDEST}.0", f"{NEWEST}.3", f"{NEWEST}.0.dev0", f"{NEWEST}rc1"]
)
def test_versions_that_were_tried_are_passed_over_in_silence(version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_untried(version)


@pytest.mark.parametrize(
    ("version", "age"),
    [
        ("5.999.0", "newer"),
        ("5.999rc1", "newer"),
        ("6.0.0.dev0", "newer"),
        ("6rc1", "newer"),
        ("5.9.1", "older"),
        ("4.57rc1", "older"),
    ],
)
def test_other_versions_are_named_with_the_command_that_checks_them(version: str, age: str) -> None:
    with pytest.warns(UserWarning, match=f"transformers {version} is {age}") as told:
        warn_if_untried(version)
    assert len(told) == 1
    assert f"`make compat TRANSFORMERS={version}`" in str(told[0].message)
