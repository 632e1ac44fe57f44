"""Words in front of a prompt, with tokenizers that put the blank to the word behind it."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lvlmsal.adapters.encoding import Encoding
from lvlmsal.adapters.openings import question_opening, system_opening, words_behind_image
from lvlmsal.adapters.prompts import behind_mark

WORDS = "You are confused."
QUESTION = "Is it there?"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] + ' ' }}{% endif %}"
    "{% endfor %}{% endfor %}ASSISTANT:"
)
MERGES = [("▁", "I"), ("▁I", "s"), ("I", "s"), ("▁", "U"), ("▁U", "S"), ("▁", "?"), ("▁", "Y")]


class Processor:
    """As SentencePiece tokenizers do, in each of the ways to begin a text or a part of one."""

    image_token = "<image>"
    chat_template = TEMPLATE

    def __init__(self, scheme: str) -> None:
        letters = sorted({*f"{WORDS}{QUESTION}USER: ASSISTANT\n".replace(" ", "▁")})
        pieces = ["<unk>", "<s>", "</s>", "<image>", *letters, *(a + b for a, b in MERGES)]
        vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        backend.add_special_tokens(["<unk>", "<s>", "</s>", "<image>"])
        build: Any = PreTrainedTokenizerFast  # transformers leaves it without types
        self.tokenizer = build(
            tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
        )

    def apply_chat_template(self, messages: Any, *, add_generation_prompt: bool) -> str:
        template = jinja2.Environment(autoescape=False).from_string(TEMPLATE)
        return template.render(messages=messages)

    def ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text)["input_ids"]
        assert 0 not in found, "the vocabulary lacks a letter"
        return found


class Writes(Encoding):
    """As an adapter does, without a model."""

    def __init__(self, scheme: str) -> None:
        self.processor = Processor(scheme)


@pytest.mark.parametrize("images", [0, 1, 2])
@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_a_system_message_is_as_the_tokenizer_reads_it(scheme: str, images: int) -> None:
    adapter = Writes(scheme)
    processor = adapter.processor
    opening = system_opening(adapter, WORDS, images=images > 0)
    found = opening(processor.ids(adapter.render(QUESTION, images)))
    assert found == processor.ids(adapter.render(QUESTION, images, system=WORDS))


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_words_in_front_of_a_question_leave_it_as_it_is(scheme: str) -> None:
    adapter = Writes(scheme)
    processor = adapter.processor
    plain = processor.ids(adapter.render(QUESTION, 0))
    found = question_opening(adapter, WORDS)(plain)
    # A line break would take the blank off the question's first word, so a blank it is.
    assert found == processor.ids(adapter.render(f"{WORDS} {QUESTION}", 0))
    start = len(processor.ids("USER:"))
    assert found[:start] == plain[:start]
    assert found[-len(plain[start:]) :] == plain[start:]


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_words_behind_an_image_are_a_line(scheme: str) -> None:
    adapter = Writes(scheme)
    processor = adapter.processor
    found = words_behind_image(adapter, WORDS)
    assert found == behind_mark(processor.tokenizer, "<image>", f"\n{WORDS}")
    pieces = processor.tokenizer.convert_ids_to_tokens(found)
    assert "".join(pieces).replace("▁", " ").strip(" ") == f"\n{WORDS}"
