"""One sequence of passes of a model on a KV cache of its own, driven by hand.

Positions, masks, token types and image features differ from family to family; here they are
transformers' own, from what ``generate`` prepares for its decoding loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedConfig, PreTrainedModel

from lvlmsal.adapters.pixels import KINDS
from lvlmsal.adapters.prompts import with_kinds
from lvlmsal.attention.cache import keeps_all
from lvlmsal.versions import CACHE

T = TypeVar("T")


def prepared(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    run: Callable[[Tensor, dict[str, Any]], T],
) -> T:
    """Call ``run(input_ids, model_kwargs)`` with what ``generate`` prepares for its decoding loop.

    Positions, token types and image features differ from family to family; this way they are
    transformers' own, and the same as in decoding.
    """
    results: list[T] = []

    def loop(
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: object,
        stopping_criteria: object,
        generation_config: object,
        **model_kwargs: Any,
    ) -> Tensor:
        results.append(run(input_ids, model_kwargs))
        return input_ids

    # `generate` comes from a mixin of the concrete classes. Of the class, never of the instance,
    # on which wrappers and hub folders put functions of their own that know no custom_generate.
    generative: Any = type(model)
    generative.generate(
        model, **inputs, custom_generate=loop, max_new_tokens=1, do_sample=False, num_beams=1
    )
    return results[0]


@dataclass(frozen=True)
class Mark:
    """A place in the sequence that a :class:`Stream` can go back to."""

    length: int
    kwargs: dict[str, Any]


class Stream:
    """Drives a model pass by pass, one or several tokens a pass.

    Args:
        model: the model.
        input_ids: prompt, shape (B, L), left-padded.
        model_kwargs: as ``generate`` hands them to a ``custom_generate`` callable.
        cache: that the passes go on from; an empty one by default.

    Attributes:
        input_ids: prompt and committed tokens.
        cache: keys and values of them.
        forwards: forward passes so far.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        model_kwargs: dict[str, Any],
        cache: Cache | None = None,
    ) -> None:
        self.model: Any = model  # what it is called for comes from a mixin of the concrete classes
        self.input_ids = input_ids
        self.cache: Cache = DynamicCache() if cache is None else cache
        # They describe input_ids and nothing beyond, or, once there is a cache, one token more:
        # the convention of generate's own loop.
        self._kwargs = {**model_kwargs, CACHE: self.cache, "use_cache": True}
        self.forwards = 0
        self._with_graph = False

    @classmethod
    def of(
        cls, model: PreTrainedModel, inputs: Mapping[str, Any], cache: Cache | None = None
    ) -> Stream:
        """A stream of its own over inputs of ``generate``; a cache may hold their first columns."""
        known = {} if cache is None else {CACHE: cache}
        with positions_kept(model):
            return prepared(
                model, {**inputs, **known}, lambda ids, kwargs: cls(model, ids, kwargs, cache)
            )

    def prefill(self) -> Tensor:
        """Run the prompt, or what the cache lacks of it; raw logits of its last row, (B, V)."""
        length = self.input_ids.shape[1]
        self._before_last = Mark(length - 1, dict(self._kwargs))
        place: dict[str, Any] = {"is_first_iteration": True}
        if past := self.cache.get_seq_length():
            if past >= length:
                self.cache.crop(length - 1 - past)
            place["next_sequence_length"] = max(1, length - past)
        outputs = self._run(self._kwargs, **place)
        self._kwargs = self._extended(self._kwargs, outputs, 1)
        self._prompt = self.mark()
        return self._logits(outputs)[:, -1]

    def step(self, tokens: Tensor) -> Tensor:
        """Commit one token (B,) for each sample; raw logits after it, shape (B, V)."""
        return self.commit(tokens[:, None])[:, -1]

    def commit(self, tokens: Tensor, keep: int | None = None) -> Tensor:
        """Commit m tokens (B, m) in one pass; raw logits of their rows, shape (B, m, V).

        Args:
            tokens: to be committed.
            keep: only this many of the last rows are wanted; there may be more.
        """
        count = tokens.shape[1]
        self.input_ids = torch.cat([self.input_ids, tokens.to(self.input_ids)], dim=1)
        kwargs = self._extended(self._kwargs, {}, count - 1)
        if count > 1 and "logits_to_keep" in kwargs:
            kwargs["logits_to_keep"] = count if keep is None else keep
        outputs = self._run(kwargs, next_sequence_length=count)
        self._kwargs = self._extended(self._kwargs, outputs, count)
        return self._logits(outputs)

    def ready(self, tokens: Tensor) -> dict[str, Any]:
        """What the model would be given for a step with these tokens (B, 1)."""
        ids = torch.cat([self.input_ids, tokens.to(self.input_ids)], dim=1)
        place = {"next_sequence_length": 1}
        return dict(self.model.prepare_inputs_for_generation(ids, **place, **self._kwargs))

    def side_by_side(self, tokens: Tensor) -> dict[str, Any]:
        """What the model is given for a pass over tokens (B, m) that all stand next.

        Each sees what is before it and itself. The pass leaves m columns in the cache.
        """
        count, columns = tokens.shape[1], self.input_ids.shape[1]
        inputs = self.ready(tokens[:, :1])
        mask = self._kwargs.get("attention_mask")
        seen = torch.ones_like(self.input_ids) if mask is None else mask[:, :columns]
        own = torch.eye(count, dtype=torch.bool, device=tokens.device)
        shape = (len(tokens), 1, count, -1)
        inputs["attention_mask"] = torch.cat(
            [seen[:, None, None].bool().expand(shape), own.expand(shape)], dim=-1
        )
        inputs["input_ids"] = tokens
        for name in ("position_ids", *KINDS):  # their last dimension counts tokens
            if inputs.get(name) is not None:
                inputs[name] = inputs[name].expand(*inputs[name].shape[:-1], count)
        if "logits_to_keep" in inputs:
            inputs["logits_to_keep"] = count
        return inputs

    def run_beside(self, inputs: dict[str, Any]) -> Tensor:
        """Run what :meth:`side_by_side` has made; raw logits (B, m, V)."""
        self.forwards += 1
        return self._logits(self.model(**inputs, return_dict=True))

    def fits_side_by_side(self, config: PreTrainedConfig) -> bool:
        """Whether tokens may stand :meth:`side_by_side`: nothing but columns tells of the past.

        That is not so where layers see a window or keep a state, and where positions are counted
        inside of the model.

        Args:
            config: of the text decoder.
        """
        ready = self.ready(self.input_ids[:, -1:])
        return isinstance(ready.get("position_ids"), Tensor) and keeps_all(config)

    def was_given(self, tokens: Tensor) -> None:
        """Tokens (B, 1) were run, and are in the cache."""
        self.input_ids = torch.cat([self.input_ids, tokens.to(self.input_ids)], dim=1)
        self._kwargs = self._extended(self._kwargs, {}, 1)

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

    def drop(self, count: int) -> None:
        """Take back the last tokens; of the prompt its last one at most.

        Raises:
            ValueError: more were to be dropped.
        """
        length = self.input_ids.shape[1] - count
        if length == self._before_last.length:
            self.rewind(self._before_last)
        elif length < self._prompt.length:
            raise ValueError(f"{count} tokens cannot be taken back: the prompt would be cut")
        else:
            self.rewind(self.later(self._prompt, length - self._prompt.length))

    def select(self, rows: Tensor) -> None:
        """Let beams go on from others of their sample, whose row numbers are given, (B,)."""
        chosen: Any = rows.to(self.input_ids.device)
        self.input_ids = self.input_ids[chosen]
        self.cache.reorder_cache(chosen)

    def _run(self, kwargs: dict[str, Any], **place: Any) -> Any:
        inputs = self.model.prepare_inputs_for_generation(self.input_ids, **place, **kwargs)
        self.forwards += 1
        with torch.set_grad_enabled(self._with_graph):
            return self.model(**inputs, return_dict=True)

    def _extended(self, kwargs: dict[str, Any], outputs: Any, count: int) -> dict[str, Any]:
        """The arguments for ``count`` more tokens; those given stay as they are."""
        if not count:
            return dict(kwargs)
        # Private upstream, and the documented way to write a custom_generate loop: it keeps masks,
        # positions and token types of every family in step.
        extended: dict[str, Any] = self.model._update_model_kwargs_for_generation(
            outputs, dict(kwargs), is_encoder_decoder=False, num_new_tokens=count
        )
        if (kinds := kwargs.get("token_type_ids")) is not None:
            # The last `count` ones are repeated there, which is right for a single token.
            extended["token_type_ids"] = with_kinds(self.model, "token_type_ids", kinds, count)
        return extended

    def _logits(self, outputs: Any) -> Tensor:
        with torch.enable_grad():  # a recorded pass's losses are taken from these
            logits: Tensor = outputs.logits
            return logits if logits.dtype == torch.float64 else logits.float()


@contextmanager
def positions_kept(model: PreTrainedModel) -> Iterator[None]:
    """Leave the offset of rotary positions as it was.

    Qwen-VL keeps it on the module, where preparing a second prompt would overwrite the first one's.
    """
    holders = [module for module in model.modules() if hasattr(module, "rope_deltas")]
    kept = [module.rope_deltas for module in holders]
    try:
        yield
    finally:
        for module, deltas in zip(holders, kept, strict=True):
            module.rope_deltas = deltas
