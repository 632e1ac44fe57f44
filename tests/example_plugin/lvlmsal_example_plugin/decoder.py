"""A decoder that leaves the loop to transformers: locally typical sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers import LogitsProcessorList, TypicalLogitsWarper
from transformers.generation.streamers import BaseStreamer

from lvlmsal.decoders.base import Decoder
from lvlmsal.decoders.randomness import SeededSampling
from lvlmsal.registry import DECODERS


@DECODERS.register("typical")
@dataclass(frozen=True)
class Typical(Decoder):
    """Samples among the tokens whose surprise is nearest to the expected one."""

    mass: float = 0.9

    summary: ClassVar[str] = "locally typical sampling"
    paper: ClassVar[str] = "Locally Typical Sampling (TACL 2023)"
    url: ClassVar[str] = "https://arxiv.org/abs/2202.00666"

    def __post_init__(self) -> None:
        if not 0 < self.mass < 1:
            raise ValueError(f"mass must be between 0 and 1, got {self.mass}")

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """Greedy search behind the warper and noise that belongs to the sample."""
        processors = LogitsProcessorList(
            [TypicalLogitsWarper(self.mass), SeededSampling(seed, sample_ids)]
        )
        return {"do_sample": False, "logits_processor": processors, "streamer": streamer}
