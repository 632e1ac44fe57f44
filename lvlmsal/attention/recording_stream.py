"""Decode steps and blocks that can be recorded and taken back, on what ``generate`` prepared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.cache import RecordingCache
from lvlmsal.attention.recording import Recording
from lvlmsal.attention.scopes import acting, adopted
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
        cache = adopted(given_cache(model_kwargs), input_ids.shape[1])
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
    def takes_candidates(self) -> bool:
        """Whether candidates of the next position can be run side by side, in one pass.

        Each of them sees what is before it and itself. That is not to be had where layers see a
        window or keep a state, where positions are counted inside of the model, and under edits
        that go by anything but positions.
        """
        acting_here = [s for s in acting() if s.decoder is self.session.decoder]
        edits = [edit for s in acting_here for edit in s.passes.edits]
        by_position = all(getattr(edit, "by_position", False) for edit in edits)
        return by_position and self.fits_side_by_side(self.session.adapter.text_config)

    def record_candidates(self, tokens: Tensor) -> tuple[Tensor, Recording]:
        """Run candidates (B, m) of the next position side by side; none of them is committed.

        Returns:
            Raw logits (B, m, V) with their graph, and the recording, from which :meth:`take` goes.
        """
        inputs = self.side_by_side(tokens)
        with self.session.record(self.layers) as recording:
            self.cache.recording, recording.side_by_side = recording, True
            try:
                logits = self.run_beside(inputs)
            finally:
                self.cache.recording = None
        self.cache.crop(-tokens.shape[1])
        return logits, recording

    def take(self, recording: Recording, places: Sequence[int], tokens: Tensor) -> None:
        """Commit one of the candidates of each sample (B,), given their places among them."""
        rows = list(range(len(places)))  # layers may lie on several devices
        for layer, own in recording.own.items():
            key, value = (states.detach()[rows, :, list(places)] for states in own[:2])
            self.cache.update(key[:, :, None], value[:, :, None], layer)
        self.was_given(tokens[:, None])

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
