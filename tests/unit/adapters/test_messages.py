"""Messages with roles and several turns in place of a question."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from lvlmsal.adapters import adapter_for
from lvlmsal.adapters.messages import images_within, normal_messages, question_of
from lvlmsal.errors import DataError
from lvlmsal.testing.tiny import tiny_lvlm
from tests.tiers import FAMILIES

IMAGE = Image.linear_gradient("L").resize((50, 30))
TEXT = {"type": "text", "text": "What is it?"}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "image"}, TEXT]},
    {"role": "assistant", "content": "A gradient."},
    {"role": "user", "content": "From where to where?"},
]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_question_and_its_message_are_the_same(family: str) -> None:
    adapter = adapter_for(*tiny_lvlm(family))
    plain = adapter.encode([[IMAGE]], ["What is it?"])
    for content in ("What is it?", [TEXT], [{"type": "image"}, TEXT]):
        found = adapter.encode([[IMAGE]], [[{"role": "user", "content": content}]])
        assert found.keys() == plain.keys()
        assert all(torch.equal(found[name], plain[name]) for name in plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_turns_are_written_as_the_processor_writes_them(family: str) -> None:
    adapter = adapter_for(*tiny_lvlm(family))
    parts = [
        {**turn, "content": [{"type": "text", "text": turn["content"]}]}
        if isinstance(turn["content"], str)
        else turn
        for turn in TURNS
    ]
    parts[1] = {"role": "user", "content": [{"type": "image", "image": IMAGE}, TEXT]}
    wanted = adapter.require_processor().apply_chat_template(
        parts, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    found = adapter.encode([[IMAGE]], [TURNS])
    assert found["input_ids"].tolist() == wanted["input_ids"].tolist()


def test_what_the_template_drops_is_refused() -> None:
    adapter = adapter_for(*tiny_lvlm("llava"))
    adapter.require_processor().chat_template = (
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.role }}: "
        "{% for part in m.content %}"
        "{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}{% endif %}{% endfor %}"
    )
    adapter.encode([[IMAGE]], [TURNS[1:]])
    with pytest.raises(DataError, match=r"drops 'Be brief\.'.*or put it into the question"):
        adapter.encode([[IMAGE]], [TURNS])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([{"role": "human", "content": "Why?"}], "message 0: unknown role 'human'"),
        ([{"content": "Why?"}], "message 0: unknown role 'None'"),
        (TURNS[:3], "the last message must be one of the user.*it is one of the assistant"),
        ([], "the last message must be one of the user"),
        ([{"role": "user", "content": 3}], "message 0: the content must be a text, or a list"),
        ([{"role": "user", "content": ["Why?"]}], "message 0: the content must be a text"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "no part of type 'audio'"),
        ([{"role": "user", "content": [{"type": "text"}]}], "must hold a text under 'text'"),
    ],
)
def test_messages_of_another_form_are_refused(messages: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        normal_messages(messages)


def test_images_stand_where_the_messages_say() -> None:
    two: Any = [{"role": "user", "content": "A"}, {"role": "user", "content": "B"}]
    first = normal_messages(two, count=2)[0]["content"]
    assert [part["type"] for part in first] == ["image", "image", "text"]
    for own in ([{"type": "image"}, TEXT], "<image> What is it?"):
        given: Any = [*two, {"role": "user", "content": own}]
        assert normal_messages(given, mark="<image>", count=2)[0]["content"] == [
            {"type": "text", "text": "A"}
        ]


def test_images_within_are_all_or_none() -> None:
    def asking(*parts: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [*parts, TEXT]}]

    assert images_within(asking({"type": "image"})) == []
    held = images_within(
        asking({"type": "image", "image": IMAGE}, {"type": "image", "path": "a.png"})
    )
    assert held == [IMAGE, "a.png"]
    with pytest.raises(DataError, match="2 parts of the messages are images, and 1 images are in"):
        images_within(asking({"type": "image", "image": IMAGE}, {"type": "image"}))
    assert question_of(asking({"type": "image"})) == "What is it?"
