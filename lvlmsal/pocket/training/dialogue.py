"""How dialogues are worded: the chat templates, and the same in pieces for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SYSTEM: Final = "You look at pictures and answer questions."

_CONTENT: Final = (
    "{%- macro text(content) -%}{%- if content is string -%}{{ content }}{%- else -%}"
    "{%- for part in content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{%- endmacro -%}"
    "{%- macro images(content, mark) -%}{%- if content is not string -%}{%- for part in content -%}"
    "{%- if part.type == 'image' -%}{{ mark }}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{%- endmacro -%}"
    "{%- if messages[0].role == 'system' -%}{%- set system = text(messages[0].content) -%}"
    "{%- set messages = messages[1:] -%}"
    "{%- else -%}{%- set system = '" + SYSTEM + "' -%}{%- endif -%}"
)

LLAVA_TEMPLATE: Final = (
    _CONTENT + "{{ bos_token + system }}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'user' -%}"
    "{{ ' USER: ' + images(message.content, '<image>\\n') + text(message.content) }}"
    "{%- else -%}{{ ' ASSISTANT: ' + text(message.content) + eos_token }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ ' ASSISTANT:' }}{%- endif -%}"
)

QWEN_TEMPLATE: Final = (
    _CONTENT + "{{ '<|im_start|>system\\n' + system + '<|im_end|>\\n' }}"
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\\n'"
    " + images(message.content, '<|vision_start|><|image_pad|><|vision_end|>')"
    " + text(message.content) + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)

IDEFICS_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{%- for message in messages -%}"
    "{{ message.role | capitalize + ':' }}"
    "{%- if message.content is string -%}{{ ' ' + message.content }}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}{{ '<image>' }}"
    "{%- elif loop.first -%}{{ ' ' + part.text }}{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<end_of_utterance>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}"
)


@dataclass(frozen=True)
class Dialogue:
    """How turns are strung together; what the chat template yields, in pieces.

    Attributes:
        opening: Before the first image token.
        after_image: Between the last image token and the first question.
        before_answer: Between a question and its answer.
        after_answer: What ends an answer; the model learns to say it.
        before_question: Between that and the next question.
        image: The placeholder of one image token.
        blank: What stands between a colon and the text behind it, where tokenizers keep blanks.
    """

    opening: str
    after_image: str
    before_answer: str
    after_answer: str
    before_question: str
    image: str
    blank: str = ""


DIALOGUES: Final = {
    "pocket-llava": Dialogue(
        opening=f"<s>{SYSTEM} USER: ",
        after_image="\n",
        before_answer=" ASSISTANT:",
        after_answer="</s>",
        before_question=" USER: ",
        image="<image>",
    ),
    "pocket-qwen2vl": Dialogue(
        opening=f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<|vision_start|>",
        after_image="<|vision_end|>",
        before_answer="<|im_end|>\n<|im_start|>assistant\n",
        after_answer="<|im_end|>",
        before_question="\n<|im_start|>user\n",
        image="<|image_pad|>",
    ),
    "pocket-idefics3": Dialogue(
        opening="<|im_start|>User:<fake_token_around_image><global-img>",
        after_image="<fake_token_around_image>",
        before_answer="<end_of_utterance>\nAssistant:",
        after_answer="<end_of_utterance>",
        before_question="\nUser:",
        image="<image>",
        blank=" ",
    ),
}
"""Name of each model -> its dialogue."""
