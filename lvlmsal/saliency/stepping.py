"""Decode steps and blocks that can be recorded and taken back, on what ``generate`` prepared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.cache import RecordingCache
from lvlmsal.attention.recording import Tape
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import Mark, Stream
from lvlmsal.attention.training import check_mode
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.losses import LossGradient
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.reduce import check_finite, context_mask, layer_rows, token_saliency
from lvlmsal.versions import given_cache

NO_IDS = (
    "this prompt came as inputs_embeds, in which no image can be found: hand input_ids (and "
    "pixel_values) over, without inputs_embeds"
)


class Stepper(Stream):
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
        self._tape: Tape | None = None

    def prefill(self) -> Tensor:
        """Run the prompt, or what the cache lacks of it; raw logits of its last row, (B, V)."""
        if self.cache.get_seq_length():
            # An earlier turn's keys and values: the session has not seen their pass.
            self.session.use_spans(self.spans, self.cache)
        with self.session.watching_last_column() as watched:
            logits = super().prefill()
        self.prefix_sees_last = bool(watched.found)
        return logits

    def record(self, tokens: Tensor) -> tuple[Tensor, Tape]:
        """Commit tokens (B, m) in one recorded pass, whose rows do not leak into each other.

        Returns:
            Raw logits (B, m, V) with their graph, and the tape.
        """
        with self.session.record(self.layers) as tape:
            self._tape = self.cache.tape = tape
            try:
                return self.commit(tokens), tape
            finally:
                self._tape = self.cache.tape = None

    @property
    def before_last(self) -> Mark:
        """Once the prompt was run, the place before its last token, to run that row again.

        Raises:
            UnsupportedError: the prompt ends in an image, whose features that row would lack.
        """
        if any(spans.images and spans.images[-1][1] == spans.length for spans in self.spans):
            raise UnsupportedError(
                "the prompt ends in an image, so the row that predicts the first token is a "
                "patch of it: put text behind the image, or read row='candidate'"
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

    def saliency(
        self,
        tape: Tape,
        loss: LossGradient,
        options: SaliencyOptions,
        *,
        retain_graph: bool = False,
    ) -> Tensor:
        """S(c) of each row of the recorded pass that was committed last.

        Args:
            tape: of that pass.
            loss: of its m rows; one backward pass serves them all.
            options: which saliency.
            retain_graph: whether other candidates of the same rows follow.

        Returns:
            Shape (B, m), on the CPU; ``nan`` where the context is empty.
        """
        gradients = tape.gradients(
            loss.logits, loss.direction, loss.scale, retain_graph=retain_graph
        )
        rows = layer_rows(tape.weights, gradients, options).transpose(1, 2)
        stops = self._stops(rows.shape[1], rows.shape[-1], options)
        members = context_mask(self.spans, rows.shape[-1], stops, options.context)
        found = token_saliency(rows, members.to(rows.device)).cpu()
        check_finite(found[members.any(-1)])
        return found

    @staticmethod
    def _stops(count: int, keys: int, options: SaliencyOptions) -> range:
        """Column before which J ends, for each of the last ``count`` rows over ``keys``."""
        # A row that predicts may look at its own column, a candidate's row is the candidate's own.
        own = 1 if options.row == "predicting" else 0
        return range(keys - count + own, keys + own)

    def _run(self, kwargs: dict[str, Any], **place: Any) -> Any:
        inputs = self.model.prepare_inputs_for_generation(self.input_ids, **place, **kwargs)
        self.forwards += 1
        with torch.no_grad() if self._tape is None else nullcontext():
            return self.model(**inputs, return_dict=True)
