"""HALC with several sequences a sample, of which the scorer keeps those that fit best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import LongTensor
from transformers import PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.halc.decoder import HALC
from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.decoders.one_sequence import GenerateCall
from lvlmsal.decoders.streaming import refuse_streamer
from lvlmsal.registry import DECODERS


@DECODERS.register("halc-beam")
@dataclass(frozen=True)
class HALCBeam(HALC):
    """HALC that follows several sequences; see :class:`HALC` for what happens at a judged word.

    No log-probability plays a part: each sequence is searched greedily, and where a judged word has
    ended in one of them, the candidates of all that end one there and the others as they are stand
    side by side; those ``num_beams`` of different texts go on that the scorer finds to fit best,
    the best one several times where there are too few. In the end the answer is the sequence that
    fits best. All begin alike, so that they part at the first judged word.

    How the public code goes on where only some of its beams are at a word, and which beam it
    returns, is not known here: that is this library's reading.

    Args:
        evidence: see :class:`HALC`, as all but the last.
        scorer: likewise.
        words: likewise.
        ask_for: likewise.
        pairs: likewise.
        weight: likewise.
        expand: likewise.
        views: likewise.
        max_boxes: likewise.
        plausibility: likewise.
        divergence: likewise.
        num_beams: sequences; 1 in the code by default, 3 in its README's example.
    """

    num_beams: int = 3

    summary: ClassVar[str] = "HALC over several sequences, of which those stay that fit the image"
    is_beam: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_beams < 2:
            raise ValueError(
                f"num_beams must be at least 2, got {self.num_beams}; one is decoder 'halc'"
            )

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """This object as ``custom_generate``.

        Raises:
            UnsupportedError: there is a streamer.
        """
        refuse_streamer(streamer, type(self).__name__)
        return super().generate_kwargs(seed=seed, sample_ids=sample_ids)

    def decode(
        self, model: PreTrainedModel, call: GenerateCall
    ) -> tuple[LongTensor, list[list[HalcRecord]], RecordingStream]:
        """Decode.

        Raises:
            UnsupportedError: as of HALC, and where ``generate`` was given a streamer.
        """
        for streamer in call.streamers:
            refuse_streamer(streamer, type(self).__name__)
        return super().decode(model, call)
