"""Decoders with a loop of their own that follows one sequence a sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import LongTensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer
from transformers.generation.utils import GenerateDecoderOnlyOutput

from lvlmsal.attention.asked import Asked
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.decoders.base import Decoder, check_one_sequence, check_outputs
from lvlmsal.decoders.randomness import sample_names
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.decoders.streaming import streaming
from lvlmsal.versions import CACHE


@dataclass
class RecordedOutput(GenerateDecoderOnlyOutput):
    """What ``generate(..., return_dict_in_generate=True)`` returns.

    Attributes:
        records: for each sample, one :class:`~lvlmsal.decoders.records.TokenRecord` a generated
            token.
        forwards: forward passes of the whole batch, the prefill included.
        cache: the decoder's own cache (``past_key_values`` before transformers 5.24); one that was
            passed in is left as it was. It may hold a token more or less of the answer than
            ``generate``'s would.
    """

    records: Sequence[Sequence[TokenRecord]] | None = None
    forwards: int | None = None


@dataclass(frozen=True)
class GenerateCall:
    """A call of ``generate``, as its loop sees it.

    Attributes:
        input_ids: prompts, left-padded, shape (B, L), or a row for each beam.
        names: of the samples, which their random numbers depend on.
        seed: of the run.
        logits_processor: applied to the logits before candidates are taken.
        stopping_criteria: end of sequence and ``max_new_tokens`` among them.
        config: of the call.
        streamers: told each token when it is final; their base class is untyped.
        model_kwargs: as ``generate`` prepared them.
        asked: the batch before it was processed; see :class:`~lvlmsal.decoders.base.Decoder`.
    """

    input_ids: LongTensor
    names: list[str]
    seed: int
    logits_processor: LogitsProcessorList
    stopping_criteria: StoppingCriteriaList
    config: GenerationConfig
    streamers: Sequence[Any]
    model_kwargs: dict[str, Any]
    asked: Asked | None = None

    @property
    def filler(self) -> int:
        """The token behind the end of finished samples."""
        pad = self.config._pad_token_tensor
        return 0 if pad is None else int(pad)


class OneSequence(Decoder):
    """Base of decoders whose loop chooses one token after another for each sample.

    Attributes:
        keeps_no_passes: why it does not return the scores, logits, hidden states and attention
            weights of its passes.
    """

    keeps_no_passes: ClassVar[str] = ""

    @abstractmethod
    def decode(
        self, model: PreTrainedModel, call: GenerateCall
    ) -> tuple[LongTensor, Sequence[Sequence[TokenRecord]], RecordingStream]:
        """Decode; prompts and answers (B, L + T), the records, and the stream that was run."""

    def generate_kwargs(
        self,
        *,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
    ) -> dict[str, Any]:
        """This object as ``custom_generate``, with the arguments of its own."""
        return {
            "custom_generate": self,
            "do_sample": False,
            "num_beams": self.num_beams,
            "seed": seed,
            "sample_ids": list(sample_ids),
            "token_streamer": streamer,
        }

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: LongTensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        seed: int = 0,
        sample_ids: Sequence[str] = (),
        token_streamer: BaseStreamer | None = None,
        asked: Asked | None = None,
        **model_kwargs: Any,
    ) -> RecordedOutput | LongTensor:
        """The decoding loop; ``generate`` calls it.

        Args:
            model: the model.
            input_ids: prompts, left-padded, shape (B, L), or a row for each beam.
            logits_processor: applied to the logits before candidates are taken.
            stopping_criteria: end of sequence and ``max_new_tokens`` among them.
            generation_config: its pad token fills finished samples.
            seed: of the run.
            sample_ids: one for each sample, so that its random numbers do not depend on the batch.
            token_streamer: told the prompt and then each token; ``generate`` does not hand on its
                own ``streamer``, which is told as well.
            asked: the batch before it was processed, where the decoder sees images.
            **model_kwargs: as ``generate`` prepared them.

        Returns:
            Sequences (B, L + T), or :class:`RecordedOutput` with ``return_dict_in_generate=True``.

        Raises:
            UnsupportedError: other beams or several return sequences were asked for, or what is
                kept of passes (scores, logits, hidden states, attention weights).
        """
        config = generation_config
        with streaming(token_streamer, input_ids) as streamers:
            check_one_sequence(config, type(self).__name__, self.num_beams)
            check_outputs(config, type(self).__name__, self.keeps_no_passes)
            names = sample_names(sample_ids, input_ids.shape[0] // self.num_beams)
            call = GenerateCall(
                input_ids,
                names,
                seed,
                logits_processor,
                stopping_criteria,
                config,
                streamers,
                model_kwargs,
                asked,
            )
            ids, records, stream = self.decode(model, call)
        if not config.return_dict_in_generate:
            return ids
        cached: dict[str, Any] = {CACHE: stream.cache}
        return RecordedOutput(sequences=ids, records=records, forwards=stream.forwards, **cached)
