"""Decode steps and blocks that can be recorded and taken back, on what ``generate`` prepared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.cache import RecordingCache
from lvlmsal.attention.recording import Recording
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import Mark, Stream
from lvlmsal.attention.training import check_mode
from lvlmsal.errors import UnsupportedError
from lvlmsal.versions import given_cache

NO_IDS = (
    "this prompt came as inputs_embeds, in which no image can be found: hand input_ids (and "
    "pixel_values) over, without inputs_embeds"
)


class RecordingStream(Stream):
    """A stream whose passes can be recorded, driven from inside a ``custom_generate`` callable.

    The cache is a :class:`~lvlmsal.attention.cache.RecordingCache`.

    Args:
        model: the model that ``generate`` was called on.
        session: an open session of this model.
        input_ids: prompt, shape (B, L), left-padded.
        model_kwargs: as ``generate`` hands them to a ``custom_generate`` callable.
        layers: target layers of recorded passes.

    Attributes:
        spans: of the prompt, one for each sample.
        prefix_sees_last: whether earlier rows of the prompt see its last one (a prefix-LM), once it
            was run: then that row reaches the logits through them as well.

    Raises:
        UnsupportedError: the cache is switched off or cannot be taken back, the prompt came as
            ``inputs_embeds``, or the model is in training mode with dropout or checkpoints.
    """

    cache: RecordingCache

    def __init__(
        self,
        model: PreTrainedModel,
        session: AttentionSession,
        input_ids: Tensor,
        model_kwargs: dict[str, Any],
        layers: Sequence[int],
    ) -> None:
        if model_kwargs.get("inputs_embeds") is not None:
            raise UnsupportedError(NO_IDS)
        check_mode(session.adapter, recorded=True)
        if model_kwargs.get("use_cache") is False:
            raise UnsupportedError("this decoder needs the KV cache: drop use_cache=False")
        cache = RecordingCache.adopt(given_cache(model_kwargs))
        super().__init__(model, input_ids, model_kwargs, cache)
        self.session, self.layers = session, list(layers)
        self.spans: list[TokenSpans] = session.adapter.spans(
            input_ids, model_kwargs.get("attention_mask")
        )

    def prefill(self) -> Tensor:
        """Run the prompt, or what the cache lacks of it; raw logits of its last row, (B, V)."""
        if self.cache.get_seq_length():
            # An earlier turn's keys and values: the session has not seen their pass.
            self.session.use_spans(self.spans, self.cache)
        with self.session.watching_last_column() as watched:
            logits = super().prefill()
        self.prefix_sees_last = bool(watched.found)
        return logits

    def record(self, tokens: Tensor) -> tuple[Tensor, Recording]:
        """Commit tokens (B, m) in one recorded pass, whose rows do not leak into each other.

        Returns:
            Raw logits (B, m, V) with their graph, and the recording.
        """
        with self.session.record(self.layers) as recording:
            self.cache.recording, self._with_graph = recording, True
            try:
                return self.commit(tokens), recording
            finally:
                self.cache.recording, self._with_graph = None, False

    @property
    def before_last(self) -> Mark:
        """Once the prompt was run, the place before its last token, to run that row again.

        Raises:
            UnsupportedError: the prompt ends in an image, whose features that row would lack.
        """
        if any(spans.images and spans.images[-1][1] == spans.length for spans in self.spans):
            raise UnsupportedError(
                "the prompt ends in an image, so the row that predicts the first token is a "
                "patch of it: put text after the image, or read row='candidate'"
            )
        return self._before_last

    @property
    def lone_last(self) -> Mark:
        """The same, where that row is recorded without the rows before it.

        Raises:
            UnsupportedError: as :attr:`before_last`, and where rows before it see it.
        """
        if self.prefix_sees_last:
            raise UnsupportedError(
                "the rows of this prompt see one another (a prefix-LM mask), so the row that "
                "predicts the first token has no gradient of its own: read row='candidate'"
            )
        return self.before_last
