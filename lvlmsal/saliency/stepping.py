"""Decode steps and blocks that can be recorded and taken back, on what ``generate`` prepared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention.cache import RecordingCache
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.tape import Tape
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.losses import LossGradient
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.reduce import check_finite, context_mask, layer_rows, token_saliency
from lvlmsal.spans import TokenSpans


@dataclass(frozen=True)
class Mark:
    """A place in the sequence that a :class:`Stepper` can go back to."""

    length: int
    kwargs: dict[str, Any]


class Stepper:
    """Drives a model from inside a ``custom_generate`` callable, one or several tokens a pass.

    Model inputs (positions, masks, images) are transformers' own, through
    ``prepare_inputs_for_generation``; the cache is a
    :class:`~lvlmsal.attention.tape.RecordingCache`.

    Args:
        model: the model that ``generate`` was called on.
        session: an open session of this model.
        input_ids: prompt, shape (B, L), left-padded.
        model_kwargs: as ``generate`` hands them to a ``custom_generate`` callable.
        layers: target layers of recorded passes.

    Attributes:
        input_ids: prompt and committed tokens.
        spans: of the prompt, one for each sample.
        forwards: forward passes so far.

    Raises:
        UnsupportedError: the cache is switched off, or it cannot be taken back.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        session: AttentionSession,
        input_ids: Tensor,
        model_kwargs: dict[str, Any],
        layers: Sequence[int],
    ) -> None:
        if model_kwargs.get("use_cache") is False:
            raise UnsupportedError("this decoder needs the KV cache: drop use_cache=False")
        self.model: Any = model  # what it is called for comes from a mixin of the concrete classes
        self.session, self.layers = session, list(layers)
        self.input_ids = input_ids
        self.spans: list[TokenSpans] = session.adapter.spans(
            input_ids, model_kwargs.get("attention_mask")
        )
        self.cache = RecordingCache.adopt(model_kwargs.get("past_key_values"))
        # They describe input_ids and nothing beyond, or, once there is a cache, one token more:
        # the convention of generate's own loop.
        self._kwargs = {**model_kwargs, "past_key_values": self.cache, "use_cache": True}
        self.forwards = 0

    def prefill(self) -> Tensor:
        """Run the prompt, or what the cache lacks of it; raw logits of its last row, (B, V)."""
        length = self.input_ids.shape[1]
        self._before_last = Mark(length - 1, dict(self._kwargs))
        place: dict[str, Any] = {"is_first_iteration": True}
        if past := self.cache.get_seq_length():
            # An earlier turn's keys and values: the session has not seen their pass.
            self.session.use_spans(self.spans, self.cache)
            if past >= length:
                self.cache.crop(length - 1 - past)
            place["next_sequence_length"] = max(1, length - past)
        outputs = self._run(self._kwargs, None, **place)
        self._kwargs = self._extended(self._kwargs, outputs, 1)
        return self._logits(outputs)[:, -1]

    def step(self, tokens: Tensor) -> Tensor:
        """Commit one token (B,) for each sample; raw logits after it, shape (B, V)."""
        return self._commit(tokens[:, None], None)[:, -1]

    def record(self, tokens: Tensor) -> tuple[Tensor, Tape]:
        """Commit tokens (B, m) in one recorded pass, whose rows do not leak into each other.

        Returns:
            Raw logits (B, m, V) with their graph, and the tape.
        """
        with self.session.record(self.layers) as tape:
            return self._commit(tokens, tape), tape

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

    def mark(self) -> Mark:
        """The present place, for :meth:`rewind`."""
        return Mark(self.input_ids.shape[1], dict(self._kwargs))

    def later(self, mark: Mark, count: int) -> Mark:
        """The place that many tokens behind a mark."""
        return Mark(mark.length + count, self._extended(mark.kwargs, {}, count))

    def rewind(self, mark: Mark) -> None:
        """Go back to a mark: what was committed since leaves the sequence and the cache."""
        removed = self.input_ids.shape[1] - mark.length
        if removed:
            self.input_ids = self.input_ids[:, : mark.length]
            self.cache.crop(-removed)
            self._kwargs = dict(mark.kwargs)

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

    def _commit(self, tokens: Tensor, tape: Tape | None) -> Tensor:
        count = tokens.shape[1]
        self.input_ids = torch.cat([self.input_ids, tokens.to(self.input_ids)], dim=1)
        kwargs = self._extended(self._kwargs, {}, count - 1)
        if count > 1 and "logits_to_keep" in kwargs:
            kwargs["logits_to_keep"] = count
        outputs = self._run(kwargs, tape, next_sequence_length=count)
        self._kwargs = self._extended(self._kwargs, outputs, count)
        return self._logits(outputs)

    def _run(self, kwargs: dict[str, Any], tape: Tape | None, **place: Any) -> Any:
        inputs = self.model.prepare_inputs_for_generation(self.input_ids, **place, **kwargs)
        self.cache.tape = tape
        self.forwards += 1
        try:
            with torch.no_grad() if tape is None else nullcontext():
                return self.model(**inputs, return_dict=True)
        finally:
            self.cache.tape = None

    def _extended(self, kwargs: dict[str, Any], outputs: Any, count: int) -> dict[str, Any]:
        """The arguments for ``count`` more tokens; those given stay as they are."""
        if not count:
            return dict(kwargs)
        # Private upstream, and the documented way to write a custom_generate loop: it keeps masks,
        # positions and token types of every family in step.
        extended: dict[str, Any] = self.model._update_model_kwargs_for_generation(
            outputs, dict(kwargs), is_encoder_decoder=False, num_new_tokens=count
        )
        return extended

    def _logits(self, outputs: Any) -> Tensor:
        with torch.enable_grad():  # a recorded pass's losses are taken from these
            logits: Tensor = outputs.logits
            return logits if logits.dtype == torch.float64 else logits.float()
