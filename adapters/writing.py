"""From questions to the texts that a processor is given, and from tokens back to text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from lvlmsal.adapters.messages import Prompt, normal_messages
from lvlmsal.adapters.processors import own_processor
from lvlmsal.adapters.prompts import check_placeholders, render, token_texts
from lvlmsal.adapters.video_encoding import AS_IMAGES, VideoEncoding
from lvlmsal.adapters.videos import VisualLike, kinds_of
from lvlmsal.errors import DataError, UnsupportedError


class Writing(VideoEncoding):
    """How a family writes prompts, with marks where images and videos stand."""

    model: PreTrainedModel
    processor: Any
    video_token_id: Any

    image_only_processor: ClassVar[type[ProcessorMixin] | None] = None
    """What stands in where the processor of transformers cannot be built for its video part."""

    @property
    def image_mark(self) -> str:
        """What stands for an image in the text that the processor is given."""
        mark = getattr(self.require_processor(), "image_token", None)
        if mark is None:
            raise UnsupportedError(
                f"{type(self.processor).__name__} has no `image_token`, so it is not known what "
                "stands for an image in a prompt: override `image_mark` in the adapter"
            )
        return str(mark)

    def render(self, prompt: Prompt, count: int, *, system: str | None = None) -> str:
        """Write one question, or a conversation, as the text that the processor is given.

        Args:
            prompt: The question, or messages. One that holds the mark of an image or parts of type
                `image` keeps them where they are; in others the images stand in front.
            count: Number of images.
            system: A system message to begin with; None: whatever is written without one.

        Returns:
            The text up to where the answer begins, with :attr:`image_mark` for each image.

        Raises:
            LvlmsalError: As `lvlmsal.adapters.prompts.render`, which puts it into the chat
                template, does.
        """
        processor = self.require_processor()
        return render(processor, prompt, count, system=system, mark=self.image_mark)

    def check_marks(self, text: str, count: int, *, sample: int, videos: int = 0) -> None:
        """Raise DataError where a rendered prompt has not one mark for each image and video.

        Raises:
            UnsupportedError: Two videos touch, and nothing in their tokens says where one ends.
        """
        mark, video = self.image_mark, self.video_mark
        check_placeholders(text, count, mark=mark, video=video, sample=sample, videos=videos)
        apart = self.video_token_id == AS_IMAGES  # by what is written around frames
        if self.stacks_videos and not apart and video and 2 * video in text:
            raise UnsupportedError(
                f"in the prompt of sample {sample} one video stands right behind another, and "
                f"this model has no marks between them: put text between {video} and {video}"
            )

    def write(
        self, prompt: Prompt, visuals: Sequence[VisualLike], *, sample: int, template: bool = True
    ) -> str:
        """Render a prompt about images and videos, in their order, and check its marks.

        Args:
            prompt: As in :meth:`encode`.
            visuals: Images and videos; none of them is opened.
            sample: Number of the sample in the batch, for messages.
            template: As in :meth:`encode`.

        Raises:
            LvlmsalError: As :meth:`encode`.
        """
        kinds = kinds_of(visuals)
        count, videos = kinds.count("image"), kinds.count("video")
        if videos:
            self.check_videos()
            if template:
                video = self.video_mark or ""
                prompt = normal_messages(prompt, mark=self.image_mark, video=video, kinds=kinds)
        text = self.render(prompt, count) if template else _whole(prompt)
        # adapters from elsewhere may know nothing of videos
        more = {"videos": videos} if videos else {}
        self.check_marks(text, count, sample=sample, **more)
        return text

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Text of generated ids, shape (n,), without special tokens."""
        numbers = [int(token) for token in ids]
        text: str = self.tokenizer.decode(
            numbers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def token_texts(self, ids: Tensor | Sequence[int]) -> list[str]:
        """Text of each id, special tokens included; joined, the text of them all.

        A character whose bytes are spread over several tokens belongs to the last of them.
        """
        return token_texts(self.tokenizer, [int(token) for token in ids])

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        processor = self.require_processor()
        return getattr(processor, "tokenizer", processor)

    def require_processor(self) -> Any:
        """The processor, or that of the model's folder; raises UnsupportedError without either."""
        if self.processor is None:
            self.processor = own_processor(self.model, self.image_only_processor)
        return self.processor


def _whole(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    raise DataError("messages need the chat template: leave template=False out, or give a text")
