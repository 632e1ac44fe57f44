"""Videos that a processor writes as images among words, by which their frames are known."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.processors import given_processor
from lvlmsal.adapters.runs import Interval, find_runs
from lvlmsal.adapters.video_encoding import AS_IMAGES


class FramesByWords(ModelAdapter):
    """A family whose frames are images with words before them; the same words make images a video.

    Without a processor that takes videos, frames are images.
    """

    takes_videos = True
    stacks_videos = True
    video_token_id = AS_IMAGES

    @property
    @abstractmethod
    def tokens_per_frame(self) -> int:
        """Visual tokens of a frame."""

    @abstractmethod
    def before_first(self) -> str:
        """What stands before the first frame of a video, as a regular expression."""

    @abstractmethod
    def before_frame(self, number: int) -> str:
        """What stands between the frame of a number, counted from 1, and the one before it."""

    def by_kind(self, ids: Tensor) -> Tensor:
        """See the base class."""
        processor = self.processor or given_processor(self.model)
        if getattr(processor, "video_processor", None) is None:
            return ids
        rows = ids.cpu().reshape(-1, ids.shape[-1]).clone()
        wanted = torch.tensor([self.model.config.image_token_id])
        for row in rows:
            number = behind = 0  # of the frame, 0 where there is none
            for run in find_runs(row, wanted, None, ()):
                before = self._text(row[behind : run.start].tolist())
                if re.search(f"{self.before_first()}$", before):
                    number = 1
                elif number and re.fullmatch(self.before_frame(number + 1), before):
                    number += 1
                else:
                    number = 0
                if run.end - run.start != self.tokens_per_frame:
                    number = 0
                if number:
                    row[run.start : run.end] = AS_IMAGES
                behind = run.end
        return rows.reshape(ids.shape).to(ids.device)

    def within_video(self, gap: Sequence[int], closing: Collection[int]) -> bool:
        """Every video begins with its first frame; see the base class."""
        return re.search(f"{self.before_first()}$", self._text(gap)) is None

    def marked(self, ids: Sequence[int], image: Interval) -> Interval:
        """A video with the words before its first frame; see the base class."""
        start, end = super().marked(ids, image)
        if int(self.by_kind(torch.tensor(ids))[image[0]]) == AS_IMAGES:
            for before in reversed(range(start)):
                if re.fullmatch(self.before_first(), self._text(ids[before : image[0]])):
                    return before, end
        return start, end

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text
