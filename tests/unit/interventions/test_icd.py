"""ICD against two plain models; the second prompt comes from the processor's chat template."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import lvlmsal
from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.adapters.openings import Opening
from lvlmsal.attention import intervene
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.icd import DISTURBANCE, ICD
from lvlmsal.testing.tiny import tiny_lvlm, tiny_model, tiny_samples
from tests import second_streams as streams
from tests.tiers import FAMILIES

pytestmark = pytest.mark.slow

F64 = torch.float64
WORDS = "You are a confused detector."
QUESTIONS = ("Is there a cat?", "What is in it, and where?", "Hm?")
COUNTS = (1, 2, 0)

# Templates of published checkpoints, in the parts that matter here.
VICUNA = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DROPS = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %} ASSISTANT:"
)
REFUSES = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
)


def picture(number: int) -> Image.Image:
    return Image.linear_gradient("L").rotate(90 * number).resize((28 + 8 * number, 28))


def encoded(adapter: ModelAdapter, questions: Any = QUESTIONS, counts: Any = COUNTS) -> Any:
    pictures = [[picture(number) for number in range(count)] for count in counts]
    return adapter.encode(pictures, questions)


def of(family: str, template: str | None = None) -> ModelAdapter:
    model, processor = tiny_lvlm(family, dtype=F64)
    if template is not None:
        processor.chat_template = template
    return adapter_for(model, processor)


def text_of(adapter: ModelAdapter, ids: Tensor, mask: Tensor) -> str:
    found: str = adapter.tokenizer.decode(ids[mask.bool()])
    return found


def texts(adapter: ModelAdapter, icd: ICD, batch: Any) -> list[tuple[str, str]]:
    """Both prompts of each sample, decoded."""
    second = icd.second_inputs(streams.prompt_of(adapter, batch))
    assert second is not None
    found = []
    for row in range(len(batch["input_ids"])):
        found.append(
            (
                text_of(adapter, batch["input_ids"][row], batch["attention_mask"][row]),
                text_of(adapter, second["input_ids"][row], second["attention_mask"][row]),
            )
        )
    return found


@pytest.mark.parametrize(
    ("family", "template", "before", "after"),
    [
        ("llava", None, "<s>USER: ", f"<s>{WORDS} USER: "),
        ("llava", VICUNA, "USER: ", f"{WORDS} USER: "),
        ("qwen2_vl", None, "user\n", f"system\n{WORDS}\nuser\n"),
        (
            "qwen2_5_vl",
            CHATML,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
            f"<|im_start|>system\n{WORDS}<|im_end|>\n<|im_start|>user\n",
        ),
        ("internvl", None, "user\n", f"system\n{WORDS}\nuser\n"),
        ("idefics3", None, "<s>User:", f"<s>System: {WORDS}\nUser:"),
    ],
)
def test_the_system_slot(family: str, template: str | None, before: str, after: str) -> None:
    adapter = of(family, template)
    for plain, disturbed in texts(adapter, ICD(disturbance=WORDS), encoded(adapter)):
        assert plain.startswith(before)
        assert disturbed == after + plain[len(before) :]


@pytest.mark.parametrize(
    ("family", "behind"),
    [
        ("llava", f"<image>\n{WORDS}\n"),
        ("qwen2_vl", f"<|vision_end|>{WORDS}\n"),
        ("qwen2_5_vl", f"<|vision_end|>{WORDS}\n"),
        ("internvl", f"</img>\n{WORDS}\n"),
        ("idefics3", f"<fake_token_around_image>{WORDS}\n"),
    ],
)
def test_in_front_of_the_question(family: str, behind: str) -> None:
    adapter = of(family)
    batch = encoded(adapter)
    found = texts(adapter, ICD(disturbance=WORDS, placement="user"), batch)
    for question, (plain, disturbed), count in zip(QUESTIONS, found, COUNTS, strict=True):
        if count:
            assert disturbed.count(WORDS) == 1
            assert f"{behind}{question}" in disturbed
            assert (
                disturbed.replace(
                    f"\n{WORDS}" if family in ("llava", "internvl") else f"{WORDS}\n", ""
                )
                == plain
            )
        else:
            assert disturbed == plain.replace(question, f"{WORDS}\n{question}")


@pytest.mark.parametrize("placement", ["system", "user"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_rest_of_the_inputs(family: str, placement: Any) -> None:
    """A row gets what the whole batch gives it, and Qwen's token types stay in step."""
    adapter, icd = of(family), ICD(disturbance=WORDS, placement=placement)
    batch = encoded(adapter)
    second = icd.second_inputs(streams.prompt_of(adapter, batch))
    assert second is not None
    assert second["input_ids"].shape == second["attention_mask"].shape
    assert set(second) == set(batch)
    assert torch.equal(second["pixel_values"], batch["pixel_values"])
    if "mm_token_type_ids" in batch:
        image = adapter.model.config.image_token_id
        assert torch.equal(second["mm_token_type_ids"], (second["input_ids"] == image).long())
    for row in range(3):
        alone = encoded(adapter, QUESTIONS[row : row + 1], COUNTS[row : row + 1])
        ids = icd.second_inputs(streams.prompt_of(adapter, alone))
        assert ids is not None
        assert torch.equal(
            ids["input_ids"][0], second["input_ids"][row][second["attention_mask"][row].bool()]
        )


def combining(icd: ICD) -> streams.Combine:
    def combine(plain: Tensor, disturbed: Tensor, step: int) -> Tensor:
        kept = {"code": 1 + icd.alpha, "pmi": 1.0}[icd.form]
        probs = plain.softmax(-1)
        contrast = kept * plain - icd.alpha * disturbed
        return torch.where(probs >= icd.beta * probs.max(), contrast, -torch.inf)

    return combine


def hand_made(adapter: ModelAdapter, icd: ICD, row: int) -> tuple[Any, Any]:
    """Both prompts of a sample, the disturbed one written by a template that always has it."""
    pair = QUESTIONS[row : row + 1], COUNTS[row : row + 1]
    plain = encoded(adapter, *pair)
    processor = adapter.processor
    template = processor.chat_template
    opening = "'system\n" + icd.disturbance + "\n'"
    if "bos_token" in template:
        named = "System: {}\n" if "System: " in template else "{} "
        opening = "bos_token + '" + named.format(icd.disturbance) + "'"
        processor.chat_template = template.replace("{{ bos_token }}", "")
    processor.chat_template = "{{ " + opening + " }}" + processor.chat_template
    disturbed = encoded(adapter, *pair)
    processor.chat_template = template
    assert disturbed["input_ids"].shape[1] > plain["input_ids"].shape[1]
    return plain, disturbed


@pytest.mark.parametrize("form", ["code", "pmi"])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_two_plain_models(family: str, use_cache: bool, form: Any) -> None:
    adapter = of(family)
    icd = ICD(alpha=0.8, beta=0.01, form=form, disturbance=WORDS)
    with intervene(adapter, icd):
        tokens, logits = streams.decode(adapter.model, encoded(adapter), use_cache=use_cache)
    plain, _ = streams.decode(adapter.model, encoded(adapter))
    assert not torch.equal(tokens, plain)
    for row in range(3):
        both = hand_made(adapter, icd, row)
        answer = tokens[row].tolist()
        wanted = streams.combined(adapter.model, *both, combining(icd), answer)
        assert streams.close(logits[row], wanted), (family, row)


@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_is_a_plain_search_over_two_models(family: str) -> None:
    adapter, icd = of(family), ICD(alpha=1.0, beta=0.005, disturbance=WORDS)
    with intervene(adapter, icd):
        tokens, _ = streams.decode(adapter.model, encoded(adapter), num_beams=3)
    for row in range(3):
        both = hand_made(adapter, icd, row)
        wanted = streams.beam_search(adapter.model, *both, combining(icd), beams=3, steps=4)
        assert tokens[row].tolist() == wanted, (family, row)


@pytest.mark.parametrize("template", [DROPS, REFUSES])
def test_a_template_without_system_messages_is_refused(template: str) -> None:
    adapter = of("llava")
    batch = encoded(adapter)
    adapter.processor.chat_template = template
    with (
        pytest.raises(UnsupportedError, match=r"system messages.*placement='user'"),
        intervene(adapter, ICD()),
    ):
        streams.decode(adapter.model, batch)


def test_where_system_messages_are_dropped_the_question_has_room() -> None:
    adapter = of("llava", DROPS)
    found = texts(adapter, ICD(placement="user", disturbance=WORDS), encoded(adapter))
    assert [disturbed.count(WORDS) for _, disturbed in found] == [1, 1, 1]


def test_a_prompt_that_the_template_did_not_make_is_refused() -> None:
    adapter = of("qwen2_vl", CHATML)
    inputs = tiny_samples("qwen2_vl", dtype=F64)[0].inputs
    with (
        pytest.raises(UnsupportedError, match=r"begins with.*chat template.*placement='user'"),
        intervene(adapter, ICD()),
    ):
        streams.decode(adapter.model, inputs)


def test_without_a_processor_it_says_what_to_do() -> None:
    model = tiny_model("llava")
    with pytest.raises(UnsupportedError, match="processor"), intervene(model, ICD()):
        streams.decode(model, tiny_samples("llava")[0].inputs)


def test_generate_brings_the_processor() -> None:
    lvlm = lvlmsal.load(tiny_lvlm("internvl"))
    options: Any = {"max_new_tokens": 5}
    plain = lvlm.generate(picture(0), "Is it a cat?", **options)
    disturbed = lvlm.generate(
        picture(0), "Is it a cat?", interventions=[{"name": "icd", "alpha": 2.0}], **options
    )
    assert plain.token_ids != disturbed.token_ids


def test_openings_by_hand() -> None:
    opening = Opening.between([1, 2, 3, 9], [1, 7, 9])
    assert opening == Opening((1, 2, 3), (1, 7))
    assert opening([1, 2, 3, 4, 5]) == [1, 7, 4, 5]
    with pytest.raises(UnsupportedError, match=r"\[1, 2, 4\]"):
        opening([1, 2, 4, 5])
    assert Opening.between([9], [7, 9])([5]) == [7, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha must be at least 0 .*, got -1.0"),
        ({"beta": 2.0}, "beta must be from 0 .*, got 2.0"),
        ({"disturbance": " "}, "disturbance is empty"),
        ({"form": "pim"}, "form='pim' is unknown"),
        ({"placement": "assistant"}, "placement='assistant' is unknown"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ICD(**options)


def test_what_is_off() -> None:
    assert ICD(alpha=0, beta=0).is_identity
    assert not ICD(alpha=0).is_identity
    assert ICD(alpha=0).second_inputs(streams.prompt_of(of("llava"), encoded(of("llava")))) is None
    assert "confused" in DISTURBANCE
    assert math.isclose(ICD().beta, 0.1)
