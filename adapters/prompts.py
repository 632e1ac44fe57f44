"""From questions and images to padded token ids, through a processor and its chat template."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from lvlmsal.adapters.images import MAX_IMAGE_PIXELS, ImageLike, open_image
from lvlmsal.adapters.messages import Prompt, normal_messages, texts_of
from lvlmsal.errors import DataError, LvlmsalError, UnsupportedError, is_out_of_memory


def build_inputs(
    processor: Any,
    images: Sequence[Sequence[ImageLike]],
    prompts: Sequence[Prompt],
    *,
    template: bool = True,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> dict[str, Tensor]:
    """Render each prompt, check it against its images, and run the processor once.

    Args:
        processor: Of transformers, for images and text.
        images: The images of each sample.
        prompts: The question of each sample, or messages.
        template: False takes the prompts, which are texts then, as they are.
        max_pixels: Refuse images of more pixels.

    Returns:
        Everything that the processor made, padded at the left.

    Raises:
        DataError: An image cannot be read, a question cannot be tokenized, the numbers of images
            and placeholders differ, or the processor refuses a sample.
        LvlmsalError: A batch is empty, or lists are of different length.
        UnsupportedError: The processor lacks a chat template or a padding token that is needed.
    """
    if not prompts or len(images) != len(prompts):
        raise LvlmsalError(
            f"{len(prompts)} prompts and {len(images)} lists of images were given; expected one "
            "list of images for each of at least one prompt"
        )
    texts = []
    for number, (prompt, pictures) in enumerate(zip(prompts, images, strict=True)):
        for part in texts_of(prompt):
            check_text(part, f"the prompt of sample {number}")
        text = _whole(prompt) if not template else render(processor, prompt, len(pictures))
        check_placeholders(processor, text, len(pictures), sample=number)
        texts.append(text)
    tokenizer = processor.tokenizer
    if len(texts) > 1 and tokenizer.pad_token is None:
        raise UnsupportedError(
            "the tokenizer has no padding token, so only one prompt at a time can be used; "
            "for a batch set one: processor.tokenizer.pad_token = processor.tokenizer.eos_token"
        )
    opened = [[open_image(entry, max_pixels=max_pixels) for entry in entries] for entries in images]
    try:
        inputs = _processed(processor, texts, opened)
    # What a processor raises for an image or a text that it does not take is of any kind.
    except Exception as error:
        if isinstance(error, LvlmsalError) or is_out_of_memory(error):
            raise
        raise _refusal(processor, texts, opened, error) from error
    return {name: value for name, value in inputs.items() if isinstance(value, Tensor)}


def _processed(processor: Any, texts: Sequence[str], images: Sequence[Sequence[Any]]) -> Any:
    return processor(
        text=list(texts),
        images=[picture for pictures in images for picture in pictures] or None,
        padding=len(texts) > 1,
        padding_side="left",
        add_special_tokens=not begins(processor.tokenizer, texts[0]),
        return_tensors="pt",
    )


def _refusal(
    processor: Any, texts: Sequence[str], images: Sequence[Sequence[Any]], error: Exception
) -> DataError:
    """Name the sample that a processor refuses, by running it on each of them alone."""
    number, cause = -1, str(error) or type(error).__name__
    for candidate, (text, pictures) in enumerate(zip(texts, images, strict=True)):
        try:
            _processed(processor, [text], [pictures])
        # of any kind, as above
        except Exception as own:
            number, cause = candidate, str(own) or type(own).__name__
            break
    reason = f"{type(processor).__name__} refuses it: {cause}"
    if number < 0:
        return DataError(f"the batch of {len(texts)} samples: {reason}")
    sizes = ", ".join(f"{picture.width} x {picture.height}" for picture in images[number])
    what = f"with images of {sizes} pixels" if sizes else "without images"
    return DataError(f"sample {number} ({what}): {reason}")


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


def _whole(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    raise DataError("messages need the chat template: leave template=False out, or give a text")


def render(processor: Any, prompt: Prompt, count: int, *, system: str | None = None) -> str:
    """Put one question, with its images in front, or a whole conversation into the chat template.

    Args:
        processor: With a chat template.
        prompt: The question, or messages. One that holds the placeholder or parts of type `image`
            keeps them where they are.
        count: Number of images.
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
            f"with {processor.image_token!r} where an image belongs, and pass template=False"
        )
    messages = normal_messages(prompt, mark=processor.image_token, count=count)
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


def check_placeholders(processor: Any, text: str, count: int, *, sample: int) -> None:
    """Compare the number of placeholders in a prompt with the number of its images.

    Args:
        processor: Its `image_token` is the placeholder.
        text: The rendered prompt.
        count: Number of images.
        sample: Number of the sample in the batch, for the message.

    Raises:
        DataError: They differ, or the prompt holds the placeholder of a video.
    """
    mark = processor.image_token
    video = getattr(processor, "video_token", None)
    if video and video != mark and video in text:
        raise DataError(
            f"sample {sample} has the placeholder {video!r} of a video in its prompt, and no "
            "videos are given: take it out of the question"
        )
    found = text.count(mark)
    if found == count:
        return
    images = f"{count} image{'s' * (count != 1)}"
    places = f"{found} placeholder{'s' * (found != 1)} {mark!r}"
    if found == 0:
        advice = "the prompt must hold one for each image"
    elif found < count:
        advice = f"give {found} of the images, or write the placeholder once for each"
    else:
        advice = f"give {found} images, or take the placeholder out of the question"
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
