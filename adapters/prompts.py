"""From questions to texts, through a chat template, and from texts to tokens and back."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from lvlmsal.adapters.messages import Prompt, normal_messages, texts_of
from lvlmsal.errors import DataError, UnsupportedError


def check_text(text: str, what: str) -> None:
    r"""Refuse a text that no tokenizer takes.

    Args:
        text: A question or an answer.
        what: What a message calls it.

    Raises:
        DataError: It holds a lone surrogate.

    Example:
        >>> check_text("half a pair: \ud83d", "the prompt")
        Traceback (most recent call last):
        ...
        lvlmsal.errors.DataError: the prompt holds half of a character (the lone surrogate ...
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        lone = text[error.start].encode("utf-8", "backslashreplace").decode()
        raise DataError(
            f"{what} holds half of a character (the lone surrogate {lone} at position "
            f"{error.start}), as a text does that was cut in two or read in another encoding: "
            "correct it where it comes from"
        ) from error


def render(
    processor: Any, prompt: Prompt, count: int, *, mark: str, system: str | None = None
) -> str:
    """Put one question, with its images in front, or a whole conversation into the chat template.

    Args:
        processor: With a chat template.
        prompt: The question, or messages. One that holds the placeholder or parts of type `image`
            keeps them where they are.
        count: Number of images.
        mark: The placeholder of an image.
        system: A system message to begin with; None: whatever the template writes without one.

    Returns:
        The text up to where the answer begins.

    Raises:
        UnsupportedError: The processor has no chat template.
        DataError: A text holds a lone surrogate, messages have another form, or the template
            refuses or drops one of them.
    """
    for text in texts_of(prompt):
        check_text(text, "the prompt")
    if getattr(processor, "chat_template", None) is None:
        raise UnsupportedError(
            "the processor has no chat template to put the question into; write the whole prompt, "
            f"with {mark!r} where an image belongs, and pass template=False"
        )
    messages = normal_messages(prompt, mark=mark, count=count)
    if system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    try:
        rendered: str = processor.apply_chat_template(messages, add_generation_prompt=True)
    except TemplateError as error:
        raise DataError(f"the chat template refuses the prompt: {error}") from error
    for text in () if isinstance(prompt, str) else texts_of(prompt):
        if text.strip() not in rendered:
            raise DataError(
                f"the chat template of this model drops {reprlib.repr(text)}: leave it out of the "
                "messages, or put it into the question"
            )
    return rendered


def plain_question(
    prompt: Prompt, count: int, *, mark: str, system: str | None = None
) -> tuple[int, str]:
    """The only question of a prompt, for families without a chat template.

    Args:
        prompt: The question, or one message of the user with its images in front.
        count: Number of images.
        mark: The placeholder of an image.
        system: A system message, which there is no place for.

    Returns:
        How many images the prompt asks for, which stand in front, and the question.

    Raises:
        DataError: There are several messages, a system message, or text in front of an image.

    >>> plain_question("What is it?", 1, mark="<image>")
    (1, 'What is it?')
    """
    messages = normal_messages(prompt, mark=mark, count=count)
    if len(messages) > 1 or system is not None:
        raise DataError(
            "this model takes one question without a system message or earlier turns, for it has "
            "no chat template: put all words into the question"
        )
    parts = messages[0]["content"]
    text = "".join(mark if part["type"] == "image" else part["text"] for part in parts)
    images = text.count(mark)
    question = text.replace(mark, "", images)
    if not text.startswith(mark * images):
        raise DataError("the images of this model stand in front of the question, not within it")
    return images, question


def begins(tokenizer: Any, text: str) -> bool:
    """Whether a text begins with the begin token; the tokenizer must not add a second one then."""
    return tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)


def behind_mark(tokenizer: Any, mark: str, text: str) -> list[int]:
    """Token ids of a text that follows a special token.

    Args:
        tokenizer: Of transformers.
        mark: A special token, such as the placeholder of an image.
        text: What follows it.

    Returns:
        The ids without that of the mark; none where the tokenizer does not keep the mark apart.
    """
    before = tokenizer(mark, add_special_tokens=False)["input_ids"]
    ids = tokenizer(mark + text, add_special_tokens=False)["input_ids"]
    found: list[int] = ids[len(before) :] if ids[: len(before)] == before else []
    return found


def check_placeholders(
    text: str, count: int, *, mark: str, video: str | None, sample: int, videos: int = 0
) -> None:
    """Compare the number of placeholders in a prompt with the number of its images and videos.

    Args:
        text: The rendered prompt.
        count: Number of images.
        mark: The placeholder of an image.
        video: That of a video, in families that have one.
        sample: Number of the sample in the batch, for the message.
        videos: Number of videos.

    Raises:
        DataError: They differ.
    """
    if video and video != mark:
        if video in text and not videos:
            raise DataError(
                f"sample {sample} has the placeholder {video!r} of a video in its prompt, and no "
                "videos are given: take it out of the question"
            )
        _check_count(text, videos, video, "video", sample)
    _check_count(text, count, mark, "image", sample)


def _check_count(text: str, count: int, mark: str, kind: str, sample: int) -> None:
    found = text.count(mark)
    if found == count:
        return
    images = f"{count} {kind}{'s' * (count != 1)}"
    places = f"{found} placeholder{'s' * (found != 1)} {mark!r}"
    if found == 0:
        advice = f"the prompt must hold one for each {kind}"
    elif found < count:
        advice = f"give {found} of the {kind}s, or write the placeholder once for each"
    else:
        advice = f"give {found} {kind}s, or take the placeholder out of the question"
    raise DataError(f"sample {sample} has {images} but {places} in its prompt: {advice}")


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Cut the text of `ids` into the part that each of them adds.

    Args:
        tokenizer: Of transformers.
        ids: Token ids.

    Returns:
        One text for each id. Where several ids make up one character, it stands with the last of
        them and the others are empty.
    """
    # A piece is the difference of two decodings that begin at the same earlier token, since what a
    # token looks like (a leading blank, the rest of a character) depends on what stands before it.
    pieces: list[str] = []
    begin = done = 0
    for end in range(1, len(ids) + 1):
        before, after = (
            tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            for part in (ids[begin:done], ids[begin:end])
        )
        if after.endswith("\N{REPLACEMENT CHARACTER}") and end < len(ids):
            pieces.append("")
            continue
        pieces.append(after[len(before) :])
        begin, done = done, end
    return pieces


def append_tokens(model: Any, inputs: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    """Add text tokens (B, n) behind a prompt; what does not depend on the text is shared."""
    longer = dict(inputs)
    prompt = inputs["input_ids"]
    longer["input_ids"] = torch.cat([prompt, ids.to(prompt)], dim=1)
    mask = inputs.get("attention_mask", torch.ones_like(prompt))
    longer["attention_mask"] = torch.cat([mask, mask.new_ones(ids.shape)], dim=1)
    for name in ("mm_token_type_ids", "token_type_ids"):
        if name in inputs:
            longer[name] = with_kinds(model, name, inputs[name], ids.shape[1])
    return longer


def with_kinds(model: Any, name: str, kinds: Tensor, count: int) -> Tensor:
    """Token types (B, n) with those of ``count`` generated tokens behind them.

    Families differ in what a generated token is, and in PaliGemma it decides who sees whom; so this
    is what the model's own ``generate`` appends, which is written for one token at a time.

    Args:
        model: that generates.
        name: of the input, such as ``"token_type_ids"``.
        kinds: of the tokens so far.
        count: how many follow.
    """
    longer: Tensor = model._update_model_kwargs_for_generation({}, {name: kinds})[name]
    return torch.cat([kinds, longer[:, -1:].expand(-1, count)], dim=1)
