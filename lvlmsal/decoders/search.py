"""Greedy search, sampling and beam search: transformers' own ``generate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.streamers import BaseStreamer

from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.randomness import SeededSampling
from lvlmsal.decoders.streaming import refuse_streamer
from lvlmsal.registry import DECODERS


@DECODERS.register("greedy")
@dataclass(frozen=True)
class Greedy(Decoder):
    """The most probable token at each position.

    >>> Greedy().generate_kwargs()["do_sample"]
    False
    """

    summary: ClassVar[str] = "the most probable token at each position"
    greedy_options: ClassVar[Mapping[str, Any]] = {}
    shares_prefix: ClassVar[bool] = True

    @property
    def is_random(self) -> bool:
        """No seed plays a part."""
        return False

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """``do_sample=False, num_beams=1``."""
        return {"do_sample": False, "num_beams": 1, "streamer": streamer}


@DECODERS.register("sample")
@dataclass(frozen=True)
class Sample(Decoder):
    """Sampling from the softmax, cut to the top k tokens or the top p of the mass.

    Drawn as the argmax of the processed scores plus seeded Gumbel noise, which is the same
    distribution as a multinomial draw and does not depend on the batch.

    Args:
        temperature: divides the logits; above 0.
        top_k: keep that many tokens, 0 for all.
        top_p: keep the smallest set of tokens whose mass reaches it, 1 for all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    summary: ClassVar[str] = "draws from the softmax (temperature, top-k, top-p)"
    greedy_options: ClassVar[Mapping[str, Any]] = {"top_k": 1}
    shares_prefix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(
                f"temperature must be above 0, got {self.temperature}; for the most probable token "
                f"take decoder 'greedy'"
            )
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0 (all tokens), got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """Greedy search behind transformers' own warpers and the seeded noise."""
        processors = LogitsProcessorList()
        if self.temperature != 1:
            processors.append(TemperatureLogitsWarper(self.temperature))
        if self.top_k:
            processors.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            processors.append(TopPLogitsWarper(self.top_p))
        processors.append(SeededSampling(seed, sample_ids))
        return {
            "do_sample": False,
            "num_beams": 1,
            "logits_processor": processors,
            "streamer": streamer,
        }


@DECODERS.register("beam")
@dataclass(frozen=True)
class Beam(Decoder):
    """Beam search.

    Args:
        num_beams: hypotheses kept, 2 or more.
        length_penalty: exponent on the length in a finished hypothesis' score.
    """

    num_beams: int = 5
    length_penalty: float = 1.0

    summary: ClassVar[str] = "beam search"
    shares_prefix: ClassVar[bool] = True
    is_beam: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_beams < 2:
            raise ValueError(f"num_beams must be at least 2, got {self.num_beams}")

    @property
    def is_random(self) -> bool:
        """No seed plays a part."""
        return False

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """``num_beams`` and ``length_penalty``.

        Raises:
            UnsupportedError: there is a streamer.
        """
        refuse_streamer(streamer, type(self).__name__)
        return {
            "do_sample": False,
            "num_beams": self.num_beams,
            "length_penalty": self.length_penalty,
        }
