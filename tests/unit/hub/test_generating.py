"""`lvlmsal.hub.generate`: answers of the library, through the two ways that transformers has."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList
from transformers.generation.streamers import BaseStreamer

import lvlmsal
from lvlmsal import hub
from lvlmsal.errors import ConfigError, UnknownName, UnsupportedError
from lvlmsal.model.lvlm import Lvlm
from tests.tiers import in_full

pytestmark = pytest.mark.slow

STEPS = 8
QUESTION = "Please describe this image in detail."
OPERA = {"name": "opera", "num_beams": 2}
# How a method is named here, and what the library calls the same.
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgrs": ("sgrs", {"decoder": "sgrs"}),
    "locore": ("locore", {"interventions": "locore"}),
    "guided": ("guided", {"decoder": "guided"}),
    "vcd": ({"name": "vcd", "alpha": 2.0}, {"interventions": {"name": "vcd", "alpha": 2.0}}),
    "pai": ("pai", {"interventions": "pai"}),
    "opera": (OPERA, {"decoder": OPERA}),
    "several": (
        ["sgrs", {"name": "locore", "beta": 0.4}, "vcd"],
        {"decoder": "sgrs", "interventions": [{"name": "locore", "beta": 0.4}, "vcd"]},
    ),
}
MODELS = ["pocket-llava", "pocket-idefics3", "pocket-qwen2vl"]


@pytest.fixture(scope="module", params=in_full(MODELS, but="pocket-llava"))
def lvlm(request: pytest.FixtureRequest) -> Lvlm:
    return lvlmsal.load(request.param)


@pytest.fixture(scope="module")
def pocket() -> Lvlm:
    return lvlmsal.load("pocket-llava")


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository in which callers choose the method."""
    return str(hub.export(tmp_path_factory.mktemp("hub") / "lvlmsal"))


def picture(shade: int) -> Image.Image:
    found = Image.new("RGB", (64, 64), (shade, 80, 255 - shade))
    found.paste((255, 255, 0), (shade // 8, 20, 40, 60))
    return found


PICTURES = [picture(10), picture(200)]


def asked(lvlm: Lvlm, count: int = 1) -> dict[str, Any]:
    """Inputs of `generate`; the second prompt of two is shorter, so that it is padded."""
    questions = [QUESTION, "Is there a circle?"][:count]
    return dict(lvlm.adapter.encode([[p] for p in PICTURES[:count]], questions))


def answered(lvlm: Lvlm, inputs: dict[str, Any], **how: Any) -> list[list[int]]:
    """Tokens of each answer, up to the end of sequence and with it."""
    found = lvlm.model.generate(**inputs, **how)
    ends = lvlm.model.generation_config.eos_token_id
    rows = found[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(ends) + 1] if ends in row else row for row in rows]


@pytest.mark.parametrize("name", METHODS)
def test_a_repository_answers_as_the_library(lvlm: Lvlm, general: str, name: str) -> None:
    method, same = METHODS[name]
    expected = lvlm.generate(PICTURES[0], QUESTION, max_new_tokens=STEPS, **same)
    found = answered(
        lvlm,
        asked(lvlm),
        custom_generate=general,
        trust_remote_code=True,
        method=method,
        max_new_tokens=STEPS,
        do_sample=False,
    )
    assert found == [expected.token_ids]


@pytest.mark.parametrize("name", ["sgrs", "vcd", "guided"])
def test_a_batch_with_padding(pocket: Lvlm, general: str, name: str) -> None:
    method, same = METHODS[name]
    inputs = asked(pocket, 2)
    assert inputs["attention_mask"][1, 0] == 0
    expected = pocket.generate(
        PICTURES, [QUESTION, "Is there a circle?"], max_new_tokens=STEPS, **same
    )
    how: dict[str, Any] = {"custom_generate": general, "trust_remote_code": True}
    found = answered(pocket, inputs, **how, method=method, max_new_tokens=STEPS)
    assert found == [answer.token_ids for answer in expected]


class Told(BaseStreamer):
    def __init__(self) -> None:
        self.parts: list[list[int]] = []
        self.ended = 0

    def put(self, value: Tensor) -> None:
        self.parts.append(value.flatten().tolist())

    def end(self) -> None:
        self.ended += 1


class Bans(LogitsProcessor):
    """Counts its calls, and bans a token."""

    def __init__(self, token: int) -> None:
        self.token, self.calls = token, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.calls += 1
        scores = scores.clone()
        scores[:, self.token] = -torch.inf
        return scores


@pytest.mark.parametrize("method", ["sgrs", "vcd", "guided", "sample"])
def test_streamers_and_logits_processors_of_the_caller(
    pocket: Lvlm, general: str, method: str
) -> None:
    inputs = asked(pocket)
    how: dict[str, Any] = {
        "custom_generate": general,
        "trust_remote_code": True,
        "method": method,
        "max_new_tokens": STEPS,
    }
    first = answered(pocket, inputs, **how)[0][0]
    told, bans = Told(), Bans(first)
    [answer] = answered(
        pocket, inputs, **how, streamer=told, logits_processor=LogitsProcessorList([bans])
    )
    assert first not in answer
    assert bans.calls >= len(answer)
    assert told.parts == [inputs["input_ids"][0].tolist(), *([token] for token in answer)]
    assert told.ended == 1


@pytest.fixture
def served(tmp_path: Path) -> tuple[Path, Any]:
    """A model folder with SGRS switched on, as transformers loads it."""
    folder = hub.export(tmp_path / "sgrs", "sgrs+vcd", model="pocket-llava")
    return folder, AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)


def test_a_model_folder_has_its_method_switched_on(pocket: Lvlm, served: tuple[Path, Any]) -> None:
    folder, model = served
    inputs = asked(pocket)
    same: dict[str, Any] = {"decoder": "sgrs", "interventions": "vcd"}
    expected = pocket.generate(PICTURES[0], QUESTION, max_new_tokens=STEPS, **same).token_ids
    found = model.generate(**inputs, max_new_tokens=STEPS)
    assert found[0, inputs["input_ids"].shape[1] :].tolist() == expected
    ids = inputs.pop("input_ids")
    assert model.generate(ids, **inputs, max_new_tokens=STEPS).tolist() == found.tolist()
    # as the library loads it, methods are those that are named
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    greedy = pocket.generate(PICTURES[0], QUESTION, max_new_tokens=STEPS).token_ids
    assert greedy != expected
    how: dict[str, Any] = {"input_ids": ids, **inputs, "max_new_tokens": STEPS}
    assert plain.generate(**how, do_sample=False)[0, ids.shape[1] :].tolist() == greedy
    again = lvlmsal.load((model, pocket.processor))
    assert again.generate(PICTURES[0], QUESTION, max_new_tokens=STEPS).token_ids == greedy


class StopsAt:
    """In the place of transformers' criterion, which fails on vocabularies of whole words."""

    def __init__(self, tokenizer: Any, strings: list[str]) -> None:
        self.tokenizer, self.strings = tokenizer, strings

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        texts = [self.tokenizer.decode(row[-1]) for row in input_ids]
        return torch.tensor([text in self.strings for text in texts])


def test_a_generation_config_is_kept_and_not_changed(
    pocket: Lvlm, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `transformers serve` calls: with a config, a stop string and a processor."""
    monkeypatch.setattr("lvlmsal.hub.generating.StopStringCriteria", StopsAt)
    same = pocket.generate(PICTURES[0], QUESTION, decoder="sgrs", max_new_tokens=STEPS)
    words = [token.text.strip() for token in same.tokens]
    third = words.index(words[3])
    config = copy.deepcopy(pocket.model.generation_config)
    config.update(max_new_tokens=STEPS, do_sample=True, stop_strings=[words[3]])
    before = config.to_dict()
    inputs = asked(pocket)
    how: dict[str, Any] = {"custom_generate": general, "trust_remote_code": True, "method": "sgrs"}
    found = answered(pocket, inputs, **how, generation_config=config, tokenizer=pocket.processor)
    assert config.to_dict() == before
    assert found == [same.token_ids[: third + 1]]
    with pytest.raises(UnsupportedError, match=r"stop_strings=\[.*\] need tokenizer="):
        answered(pocket, inputs, **how, generation_config=config)


def test_what_is_wrong_is_said(pocket: Lvlm, general: str) -> None:
    inputs = asked(pocket)

    def refused(kind: type[Exception], match: str, **how: Any) -> None:
        with pytest.raises(kind, match=match):
            hub.generate(pocket.model, **inputs, **{"max_new_tokens": 2, **how})

    refused(UnknownName, "unknown method 'sgsr'. Did you mean 'sgrs'", method="sgsr")
    refused(ConfigError, "names no method: write method='sgrs'", method=None)
    refused(ConfigError, "'sgrs' and 'opera' are decoders", method="sgrs+opera")
    refused(ConfigError, r"alpha=1 is an option of sgrs and of vcd", method="sgrs+vcd", alpha=1)
    refused(UnsupportedError, "num_beams=5 cannot be", method="sgrs", num_beams=5)
    refused(UnsupportedError, "torch.manual_seed", method="locore", seed=3)
    refused(UnsupportedError, "second stream each", method="vcd+icd")
    with pytest.raises(ValueError, match="trust_remote_code"):
        pocket.model.generate(**inputs, custom_generate=general, method="sgrs", max_new_tokens=2)


def test_a_missing_requirement_is_named(pocket: Lvlm, tmp_path: Path) -> None:
    folder = hub.export(tmp_path / "sgrs", "sgrs")
    needed = folder / "custom_generate" / "requirements.txt"
    assert needed.read_text() == f"lvlmsal>={lvlmsal.__version__}\n"
    how: dict[str, Any] = {"custom_generate": str(folder), "trust_remote_code": True}
    needed.write_text("lvlmsal>=99\n")
    with pytest.raises(ImportError, match=r"lvlmsal>=99"):
        pocket.model.generate(**asked(pocket), **how, max_new_tokens=2)


def test_options_of_the_call_stand_above_those_of_the_folder(pocket: Lvlm, tmp_path: Path) -> None:
    folder = str(hub.export(tmp_path / "vcd", {"name": "vcd", "alpha": 0.0, "beta": 0.0}))
    how: dict[str, Any] = {"custom_generate": folder, "trust_remote_code": True}
    greedy = pocket.generate(PICTURES[0], QUESTION, max_new_tokens=STEPS).token_ids
    strong = pocket.generate(
        PICTURES[0],
        QUESTION,
        interventions={"name": "vcd", "alpha": 6.0, "beta": 0.0},
        max_new_tokens=STEPS,
    ).token_ids
    assert greedy != strong
    inputs, how = asked(pocket), {**how, "max_new_tokens": STEPS, "do_sample": False}
    assert answered(pocket, inputs, **how) == [greedy]
    assert answered(pocket, inputs, **how, alpha=6.0) == [strong]
