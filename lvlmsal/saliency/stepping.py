"""Decode steps that can be recorded and rolled back, on what ``generate`` has prepared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.tape import RecordingCache, Tape
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.reduce import context_mask, layer_rows, token_saliency
from lvlmsal.spans import TokenSpans


class Stepper:
    """Drives a model one token at a time from inside a ``custom_generate`` callable.

    Model inputs (positions, masks, images) are transformers' own, through
    ``prepare_inputs_for_generation``; the cache is a
    :class:`~lvlmsal.attention.tape.RecordingCache`.

    Args:
        model: the model that ``generate`` was called on.
        session: an open session of this model.
        input_ids: prompt, shape (B, L), left-padded.
        model_kwargs: as ``generate`` hands them to a ``custom_generate`` callable.
        layers: target layers of recorded steps.

    Attributes:
        input_ids: prompt and committed tokens.
        spans: of the prompt, one for each sample.
        forwards: forward passes so far.
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
        self._kwargs = {**model_kwargs, "past_key_values": self.cache, "use_cache": True}
        self.forwards = 0

    def prefill(self) -> Tensor:
        """Run the prompt; raw logits of its last row, shape (B, V)."""
        inputs = self.model.prepare_inputs_for_generation(
            self.input_ids, is_first_iteration=True, **self._kwargs
        )
        outputs = self._forward(inputs, None)
        self._kwargs = self._updated(outputs)
        return self._logits(outputs)

    def prefill_recorded(self) -> tuple[Tensor, Tape]:
        """Run the prompt and record its last row, which predicts the first new token."""
        inputs = self.model.prepare_inputs_for_generation(
            self.input_ids, is_first_iteration=True, **self._kwargs
        )
        self._forward(inputs, None)
        # Only the last row is wanted: take it back and run it again as a step of its own.
        self.cache.crop(-1)
        inputs = self.model.prepare_inputs_for_generation(
            self.input_ids, next_sequence_length=1, **self._kwargs
        )
        outputs, tape = self._record(inputs)
        self._kwargs = self._updated(outputs)
        return self._logits(outputs), tape

    def step(self, tokens: Tensor) -> Tensor:
        """Commit one token (B,) for each sample; raw logits after it, shape (B, V)."""
        outputs = self._forward(self._inputs_with(tokens), None)
        self._commit(tokens, outputs)
        return self._logits(outputs)

    def step_recorded(self, tokens: Tensor) -> tuple[Tensor, Tape]:
        """Like :meth:`step`, with the new row on a tape."""
        logits, tape = self.try_recorded(tokens)
        self.keep()
        return logits, tape

    def try_recorded(self, tokens: Tensor) -> tuple[Tensor, Tape]:
        """Run one token recorded without committing it: :meth:`keep` or :meth:`discard` it next."""
        outputs, tape = self._record(self._inputs_with(tokens))
        self._tried = tokens, outputs
        return self._logits(outputs), tape

    def keep(self) -> None:
        """Commit the token that was tried last."""
        self._commit(*self._tried)

    def discard(self) -> None:
        """Take the token that was tried last out of the cache again."""
        self.cache.crop(-1)

    def saliency(
        self, tape: Tape, losses: Tensor, options: SaliencyOptions, *, retain_graph: bool = False
    ) -> Tensor:
        """S(c) of each sample from a recorded step.

        Args:
            tape: of that step.
            losses: the loss of each sample, shape (B,); one backward pass serves them all.
            options: which saliency.
            retain_graph: whether another candidate of the same step follows.

        Returns:
            Shape (B,), on the CPU; ``nan`` where the context is empty.
        """
        rows = self.rows(tape, losses, options, retain_graph=retain_graph)[:, :, 0].cpu()
        keys = rows.shape[-1]
        stop = keys if options.row == "predicting" else keys - 1
        return token_saliency(rows, context_mask(self.spans, keys, stop, options.context))

    def rows(
        self, tape: Tape, losses: Tensor, options: SaliencyOptions, *, retain_graph: bool = False
    ) -> Tensor:
        """Normalised saliency rows of a recorded step, shape (B, L, 1, k)."""
        gradients = tape.gradients(losses, retain_graph=retain_graph)
        return layer_rows(tape.weights, gradients, options)

    def _inputs_with(self, tokens: Tensor) -> dict[str, Any]:
        ids = torch.cat([self.input_ids, tokens[:, None].to(self.input_ids)], dim=1)
        inputs: dict[str, Any] = self.model.prepare_inputs_for_generation(
            ids, next_sequence_length=1, **self._kwargs
        )
        return inputs

    def _commit(self, tokens: Tensor, outputs: Any) -> None:
        self.input_ids = torch.cat([self.input_ids, tokens[:, None].to(self.input_ids)], dim=1)
        self._kwargs = self._updated(outputs)

    def _updated(self, outputs: Any) -> dict[str, Any]:
        # Private upstream, and the documented way to write a custom_generate loop: it keeps masks,
        # positions and token types of every family in step.
        kwargs: dict[str, Any] = self.model._update_model_kwargs_for_generation(
            outputs, self._kwargs, is_encoder_decoder=False
        )
        return kwargs

    def _record(self, inputs: dict[str, Any]) -> tuple[Any, Tape]:
        with self.session.record(self.layers) as tape:
            outputs = self._forward(inputs, tape)
        return outputs, tape

    def _forward(self, inputs: dict[str, Any], tape: Tape | None) -> Any:
        self.cache.tape = tape
        self.forwards += 1
        try:
            with torch.no_grad() if tape is None else nullcontext():
                return self.model(**inputs, return_dict=True)
        finally:
            self.cache.tape = None

    def _logits(self, outputs: Any) -> Tensor:
        with torch.enable_grad():  # a recorded step's losses are taken from these
            logits: Tensor = outputs.logits[:, -1]
            return logits if logits.dtype == torch.float64 else logits.float()
