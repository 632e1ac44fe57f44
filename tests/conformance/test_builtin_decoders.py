"""Every registered decoder through the public kit, and the kit against broken ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from lvlmsal.decoders.base import Decoder
from lvlmsal.registry import DECODERS
from lvlmsal.testing.decoder import check_decoder
from lvlmsal.testing.decoder_case import PAD
from lvlmsal.versions import CACHE
from tests.tiers import FAMILIES, FURTHER, in_full

pytestmark = pytest.mark.slow

BUILT_IN = [n for n in DECODERS.names() if DECODERS.get(n).__module__[:8] == "lvlmsal."]
VARIANTS = [
    {"row": "candidate"},
    {"rejection": False},
    {"alpha": 1.5, "plausibility": 0.1, "temperature": 0.7},
    {"context": "output", "row": "candidate", "alpha": 1.2},
]
CUTS = [{"temperature": 0.5, "top_k": 20}, {"top_p": 0.8}]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in(name: str, family: str) -> None:
    options = DECODERS.get(name).greedy_options
    greedy = None if options is None else DECODERS.build(name, **options)
    strong = DECODERS.get(name).strong
    check_decoder(DECODERS.build(name, **strong), greedy=greedy, families=[family])


@pytest.mark.full
@pytest.mark.parametrize("family", FURTHER)
@pytest.mark.parametrize("name", ["greedy", "sgrs"])
def test_further_families(name: str, family: str) -> None:
    """`make models` tries every decoder."""
    test_built_in(name, family)


@pytest.mark.parametrize("options", in_full(VARIANTS, but=VARIANTS[0]))
def test_readings_of_sgrs(options: dict[str, Any]) -> None:
    greedy = DECODERS.build("sgrs", **{**options, "k": 1})
    check_decoder(DECODERS.build("sgrs", **options), greedy=greedy, families=["qwen2_vl"])


@pytest.mark.parametrize("options", in_full(CUTS, but=CUTS[0]))
def test_cuts_of_sampling(options: dict[str, Any]) -> None:
    check_decoder(DECODERS.build("sample", **options), families=["llava"])


@dataclass(frozen=True)
class Loop(Decoder):
    """Greedy search by hand, with one fault at a time."""

    fault: str

    def generate_kwargs(self, **given: Any) -> Any:
        if self.fault == "nothing":
            return None
        return {"custom_generate": self.decode, "seed": given.get("seed", 0)}

    def decode(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        seed: int = 0,
        **kwargs: Any,
    ) -> Any:
        if self.fault == "replaced generate":
            model.generate(input_ids, max_new_tokens=1, do_sample=False)
        ids, running = input_ids, torch.ones(len(input_ids), dtype=torch.bool)
        first: dict[str, Any] = {"is_first_iteration": True}
        while bool(running.any()):
            step = first if ids is input_ids else {"next_sequence_length": 1}
            if self.fault == "pixels":
                kwargs["pixel_values"] = torch.ones_like(kwargs["pixel_values"])
            prepared = model.prepare_inputs_for_generation(ids, **step, **kwargs)
            with torch.no_grad():
                output = model(**prepared, return_dict=True)
            kwargs = model._update_model_kwargs_for_generation(output, kwargs)
            scores = output.logits[:, -1]
            if self.fault == "seed":
                scores = scores + 9 * torch.randn_like(scores)
            if self.fault == "batch":
                scores = scores.roll(len(ids) - 1, dims=1)
            if self.fault == "session" and _is_held(model):
                scores = -scores
            if self.fault == "every cache":
                # As who takes the number of keys for the length of the sequence.
                scores = scores.roll(kwargs[CACHE].layers[0].keys.shape[2], dims=1)
            if self.fault != "processors":
                scores = logits_processor(ids, scores)
            new = scores.argmax(-1)
            if self.fault != "end":
                new = torch.where(running, new, torch.full_like(new, PAD))
            ids = torch.cat([ids, new[:, None]], dim=1)
            if self.fault == "stopping":
                running &= ids.shape[1] < generation_config.max_length
            else:
                running &= ~stopping_criteria(ids, None)
        if self.fault == "sequences":
            ids = ids[:, input_ids.shape[1] :]
        if not generation_config.return_dict_in_generate or self.fault == "bare":
            return ids
        return type("Output", (), {"sequences": ids})()


def _is_held(model: Any) -> bool:
    """Whether a session is open, as a decoder can see that goes by the attention's name."""
    return model.config.get_text_config()._attn_implementation == "lvlmsal"


@dataclass(frozen=True)
class Seeing(Loop):
    """Greedy search by hand that needs the images of its batch."""

    sees_images: ClassVar[bool] = True

    def decode(
        self, model: Any, input_ids: Tensor, *args: Any, asked: Any = None, **kwargs: Any
    ) -> Any:
        if asked is None or len(asked.pictures) != len(input_ids):
            raise ValueError("where are the images?")
        kwargs.setdefault("seed", 0)
        return super().decode(model, input_ids, *args, **kwargs)

    def generate_kwargs(self, **given: Any) -> Any:
        return {"custom_generate": self.decode}


@dataclass(frozen=True)
class Unsaid(Seeing):
    """It does not say that it does."""

    sees_images: ClassVar[bool] = False


def test_who_says_that_it_sees_images_is_given_them() -> None:
    with pytest.raises(AssertionError, match="where are the images") as caught:
        check_decoder(Unsaid("none"), families=["llava"])
    assert "likewise in: " in str(caught.value)
    with pytest.raises(AssertionError, match="streamer") as caught:
        check_decoder(Seeing("none"), families=["llava"])  # it has none
    assert "where are the images" not in str(caught.value)


FAULTS = [
    "sequences",
    "stopping",
    "processors",
    "end",
    "batch",
    "seed",
    "session",
    "every cache",
    "pixels",
    "replaced generate",
]


# Every case is a whole run of the kit, so the everyday tiers look for three of the faults.
@pytest.mark.parametrize("fault", in_full(FAULTS, but=["sequences", "batch", "pixels"]))
def test_the_kit_finds_what_is_broken(fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_decoder(Loop(fault), families=["llava"])


def test_the_kit_finds_a_greedy_setting_that_is_none() -> None:
    with pytest.raises(AssertionError, match="greedy"):
        check_decoder(DECODERS.build("greedy"), greedy=DECODERS.build("sample"), families=["llava"])


def test_the_kit_finds_a_streamer_that_hears_nothing() -> None:
    with pytest.raises(AssertionError, match="streamer"):
        check_decoder(Loop("streamer"), families=["llava"])


def test_the_kit_reports_every_fault_with_its_usual_reason() -> None:
    with pytest.raises(AssertionError) as caught:
        check_decoder(Loop("streamer"), greedy=DECODERS.build("sample"), families=["llava"])
    said = str(caught.value)
    assert said.startswith("2 checks failed:\n")
    assert re.search(r"llava, greedy: under Sample\(.*\) the answers are \[\[", said)
    assert "llava, streamer: the streamer was told [], expected the prompt and then" in said
    assert said.count("usual reason: ") == 2
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nothing", "Loop.generate_kwargs returned NoneType, expected a dictionary of"),
        ("bare", "with return_dict_in_generate=True it returned Tensor, expected an object with"),
    ],
)
def test_the_kit_says_what_was_returned_and_what_was_expected(fault: str, words: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_decoder(Loop(fault), families=["llava"])
    said = str(caught.value)
    assert said.count(words) == 1
    assert "likewise in: " in said
