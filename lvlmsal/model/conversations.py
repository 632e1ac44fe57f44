"""In which conversation a checkpoint of LLaVA's own code is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lvlmsal.errors import UnsupportedError

IMAGE: Final = "<image>"
"""What stands for an image in a conversation."""

_LLAMA_3: Final = "<|start_header_id|>"
_FILE: Final = "chat_template.jinja"

# The conversation `vicuna_v1` of LLaVA's code, which LLaVA-1.5 was trained and evaluated with.
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
TEMPLATE: Final = (
    "{%- macro text(content) -%}{%- if content is string -%}{{ content }}{%- else -%}"
    "{%- for part in content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}"
    "{%- endif -%}{%- endmacro -%}"
    "{%- if messages[0].role == 'system' -%}{%- set system = text(messages[0].content) -%}"
    "{%- set messages = messages[1:] -%}{%- else -%}"
    f"{{%- set system = {_SYSTEM!r} -%}}{{%- endif -%}}"
    "{{ system + ' ' }}"
    "{%- for message in messages -%}{%- if message.role == 'user' -%}{{ 'USER: ' }}"
    "{%- if message.content is not string -%}"
    "{%- for part in message.content if part.type == 'image' -%}{{ '<image>\\n' }}{%- endfor -%}"
    "{%- endif -%}{{ text(message.content) + ' ' }}"
    "{%- else -%}{{ 'ASSISTANT: ' + text(message.content) + eos_token }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}"
)
"""Chat template of what has none that writes images."""


def template_for(folder: Path, tokenizer: Any) -> str:
    """The chat template of a checkpoint.

    A file ``chat_template.jinja`` in its folder is it, if it writes images: one that came with the
    tokenizer of a language model does not.

    Args:
        folder: of the checkpoint.
        tokenizer: of it.

    Raises:
        UnsupportedError: it is a Llama 3, whose turns have other marks, and there is no such file.
    """
    own = folder / _FILE
    written = own.read_text(encoding="utf-8") if own.is_file() else ""
    if IMAGE in written:
        return written
    if _LLAMA_3 in tokenizer.get_vocab():
        raise UnsupportedError(
            f"{folder}: its language model is a Llama 3, which was not trained with LLaVA-1.5's "
            f"conversation (USER: ... ASSISTANT:): put the {_FILE} of its own, which writes "
            f"{IMAGE} for an image, into that folder"
        )
    return TEMPLATE
