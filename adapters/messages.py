"""Prompts: a question as text, or messages with roles, as the chat templates take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from lvlmsal.adapters.videos import Clip, Video, VisualLike
from lvlmsal.errors import DataError, UnknownName

Messages = Sequence[Mapping[str, Any]]
"""Turns of a conversation, the last one the user's: ``{"role": "user", "content": ...}`` with a
text or a list of parts ``{"type": "text", "text": ...}``, ``{"type": "image"}`` and
``{"type": "video"}``."""

Prompt = str | Messages
"""A question, or the conversation that it ends."""

_ROLES = ("system", "user", "assistant")
_VISUALS = ("image", "video")
# Where a part may hold its image or video, as for the processors of transformers.
_HOLDERS = (*_VISUALS, "path", "url")


def is_single(prompts: Prompt | Sequence[Prompt]) -> TypeGuard[Prompt]:
    """Whether something is one prompt, and no list of them.

    >>> [is_single(given) for given in ("Why?", [{"role": "user", "content": "Why?"}], ["Why?"])]
    [True, True, False]
    """
    return isinstance(prompts, str) or (
        len(prompts) > 0 and all(isinstance(part, Mapping) for part in prompts)
    )


def normal_messages(
    prompt: Prompt, *, mark: str = "", count: int = 0, kinds: Sequence[str] = (), video: str = ""
) -> list[dict[str, Any]]:
    """A prompt as messages whose content is a list of parts.

    Args:
        prompt: A question becomes a message of the user.
        mark: The placeholder of an image. A prompt that holds it keeps it where it is.
        count: Images that stand in front of the first message of the user, unless the prompt says
            where they belong.
        kinds: In place of a count, ``"image"`` or ``"video"`` for each that stands there.
        video: The placeholder of a video, as `mark` is that of an image.

    Raises:
        DataError: Messages of another form; it says which, and what is expected.

    Example:
        >>> normal_messages("What is this?", count=1)[0]["content"]
        [{'type': 'image'}, {'type': 'text', 'text': 'What is this?'}]
    """
    given: Messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    messages: list[dict[str, Any]] = [
        {"role": _role(message, number), "content": _parts(message, number)}
        for number, message in enumerate(given)
    ]
    if not messages or messages[-1]["role"] != "user":
        raise DataError(
            "the last message must be one of the user, which the model answers"
            + (f"; it is one of the {messages[-1]['role']}" if messages else "")
        )
    parts = [part for message in messages for part in message["content"]]
    marks = [each for each in (mark, video) if each]
    if not any(p["type"] != "text" or any(each in p["text"] for each in marks) for p in parts):
        first = next(message for message in messages if message["role"] == "user")
        front = [{"type": kind} for kind in kinds or ["image"] * count]
        first["content"] = front + first["content"]
    return messages


def texts_of(prompt: Prompt) -> list[str]:
    """The texts of a prompt, in their order.

    >>> texts_of([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    ['Be brief.', 'Why?']
    """
    messages = normal_messages(prompt)
    return [part["text"] for m in messages for part in m["content"] if part["type"] == "text"]


def question_of(prompt: Prompt) -> str:
    """The question: the texts of the last message."""
    last = normal_messages(prompt)[-1]["content"]
    return "\n".join(part["text"] for part in last if part["type"] == "text")


def images_within(prompt: Prompt) -> list[VisualLike]:
    """The images and videos that the parts of messages hold, in their order.

    Raises:
        DataError: Some of them are there and some are not.
    """
    if isinstance(prompt, str):
        return []
    every = [part for m in prompt for part in _raw_parts(m) if part.get("type") in _VISUALS]
    held = [
        _as_video(part[key]) if part["type"] == "video" else part[key]
        for part in every
        for key in _HOLDERS
        if part.get(key) is not None
    ]
    if held and len(held) != len(every):
        raise DataError(
            f"{len(every)} parts of the messages are images, and {len(held)} images are in them: "
            "put every image into its part, {'type': 'image', 'image': ...}, or give all of them "
            "as images"
        )
    return held


def _as_video(held: Any) -> Video | Clip:
    return held if isinstance(held, Video | Clip) else Video(held)


def without_images(prompt: Prompt) -> Prompt:
    """A prompt whose parts only say where images stand."""
    return prompt if isinstance(prompt, str) else normal_messages(prompt)


def _role(message: Mapping[str, Any], number: int) -> str:
    role = message.get("role")
    if role not in _ROLES:
        problem = UnknownName("role", str(role), _ROLES)
        raise DataError(f"message {number}: {problem}")
    return str(role)


def _raw_parts(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [part for part in content if isinstance(part, Mapping)]
    return []


def _parts(message: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, Sequence) or not all(isinstance(p, Mapping) for p in content):
        raise DataError(
            f"message {number}: the content must be a text, or a list of parts "
            f"{{'type': 'text', 'text': ...}} and {{'type': 'image'}}; got {type(content).__name__}"
        )
    return [_part(part, number) for part in content]


def _part(part: Mapping[str, Any], number: int) -> dict[str, Any]:
    kind = part.get("type")
    if kind in _VISUALS:
        return {"type": kind}
    if kind != "text":
        raise DataError(
            f"message {number}: there is no part of type {kind!r}; expected "
            "{'type': 'text', 'text': ...}, {'type': 'image', 'image': ...} or "
            "{'type': 'video', 'video': ...}"
        )
    if not isinstance(part.get("text"), str):
        raise DataError(f"message {number}: a part of type 'text' must hold a text under 'text'")
    return {"type": "text", "text": part["text"]}
