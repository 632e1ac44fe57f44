"""VisSink: takes attention from sink tokens and gives it to the rest of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.layers import LayerSpec, check_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import AttentionIntervention, HiddenStateIntervention
from lvlmsal.interventions.vissink.sinks import Sinks, find_sink_dims
from lvlmsal.registry import INTERVENTIONS

_FOUND: WeakKeyDictionary[PreTrainedModel, dict[tuple[int, float], tuple[int, ...]]] = (
    WeakKeyDictionary()
)


@INTERVENTIONS.register("vissink")
@dataclass(frozen=True)
class VisSink(AttentionIntervention, HiddenStateIntervention):
    """Visual attention redistribution (VAR): the attention of sinks goes to the rest of the image.

    A few tokens, the first one and some of the image's background, have massive activations in the
    same few dimensions D of the residual stream and draw attention everywhere. With x (n, d) what
    enters a layer, before its norm::

        phi(t) = max over c in D of |x[t, c]| / sqrt(mean over c of x[t, c]^2 + 1e-6)
        J      = {t in the prompt: phi(t) >= tau},  Jv = J within the image I,  F = I without Jv

    Each layer has its own J, noted while it runs the prompt and kept from then on: generated tokens
    are never sinks. Then, with A (H, q, k) the weights after the softmax, in every head h and row q
    behind the image, of the prompt and of the answer, where

        m = sum over I of A >= image_mass   and   sum over Jv of A <= sink_share * m

    (an image-centric head), the share 1 - keep of the sinks' weights goes to F::

        A'[j] = keep * A[j]                                                          for j in J
        A'[j] = A[j] * (1 + (1 - keep) * sum over J of A / sum over F of A)          for j in F

    so that rows still sum to one. A sample without visual sinks in a layer is left alone there, its
    text sinks too, as in the code.

    Where paper and released code (seilk/VisAttnSink, read in its public copies) differ:

    - p is the share that is taken in the paper's notation, the share that is kept in the code.
      ``keep`` is the code's: the paper's p is ``1 - keep``. Its value in the paper was not found.
    - rho bounds the share of what is no sink from below in the paper, that of the sinks from above
      in the code. ``sink_share`` is the code's: the paper's 0.8 for general questions, 0.5 for
      hallucination and 0.9 for vision-centric ones are 0.2, 0.5 and 0.1 here. The code adds 576e-6
      to m in this comparison, the formula does not; nor does this.
    - the paper spares the last layer. So does the code's option ``except_last_layer``, but a class
      attribute hides it from where it is read. ``layers="2:-1"`` is the paper, ``"2:"`` the code.
    - J has phi >= tau in the paper, phi > tau in the code; here as in the paper.
    - those copies compute J for the first prompt of a process only: state that lives on a class is
      not cleared, so that from the second sample on each answer goes by the first one's sinks, and
      rows of the image are edited too. Here every prompt has sinks of its own.
    - the code always has the D of LLaVA-1.5-7B, for 13B models too, and mixes up the samples of a
      batch. Here D belongs to the model and J to the sample.

    Ours where neither says anything: with several images, I is all of them and rows behind the last
    one are edited; a row with no weight on F is left alone.

    D is published for some checkpoints (``model_defaults``). For others
    :func:`~lvlmsal.interventions.vissink.sinks.find_sink_dims` finds it in the first token of the
    prompt, run alone: it sees nothing but itself, so that neither question nor batch plays a role.
    This happens once for a model object and first token; where weights are changed afterwards, give
    ``dims=find_sink_dims(...)``. A model without massive activations is refused with an
    :class:`~lvlmsal.errors.UnsupportedError`. Small ones have none: phi cannot exceed sqrt(d), and
    in the two that are shipped with this library it stays below 4 in the first token. With a tau
    that low, most of an image may pass for sinks.

    Args:
        tau: what makes a sink.
        image_mass: the least attention to the image in a head that is edited.
        sink_share: the largest part of it on visual sinks in such a head.
        keep: what sinks keep; 1 is the plain model, bit for bit.
        dims: D, indices into the residual stream; found in the model by default.
        layers: see :data:`~lvlmsal.attention.layers.LayerSpec`; by default all but the first two,
            where sinks have not formed, and the last.

    >>> VisSink(keep=1.0).is_identity
    True
    """

    tau: float = 20.0
    image_mass: float = 0.2
    sink_share: float = 0.5
    keep: float = 0.6
    dims: Sequence[int] | None = None
    layers: LayerSpec = "2:-1"

    summary: ClassVar[str] = "moves attention from sink tokens to the rest of the image"
    paper: ClassVar[str] = "See What You Are Told: Visual Attention Sink in LMMs (ICLR 2025)"
    url: ClassVar[str] = "https://arxiv.org/abs/2503.03321"
    shares_prefix: ClassVar[bool] = True
    strong: ClassVar[Mapping[str, Any]] = {
        "tau": 1.5,
        "image_mass": 0.1,
        "sink_share": 0.9,
        "keep": 0.0,
        "dims": [0, 1, 2],
        "layers": None,
    }
    off: ClassVar[Mapping[str, Any]] = {"keep": 1.0, "layers": None}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "llava-1.5-7b": {"dims": [1415, 2533]},
        "llava-1.5-13b": {"dims": [2100, 4743]},
        "qwen2-vl-7b": {"dims": [458, 2570]},
    }

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"tau must be above 0 (20 in the paper), got {self.tau}")
        for name in ("image_mass", "sink_share", "keep"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.dims is not None and (not self.dims or min(self.dims) < 0):
            raise ValueError(
                f"dims={self.dims!r}: give indices into the residual stream, such as [1415, 2533], "
                "or leave it out to have them found"
            )
        check_layers(self.layers)

    @property
    def is_identity(self) -> bool:
        """Whether sinks keep everything."""
        return self.keep == 1

    def prepare(self, prompt: Prompt) -> Sinks:
        """Settle on D for each sample with an image; J is noted while the prompt runs."""
        spans, ids = prompt.spans, prompt.inputs["input_ids"]
        firsts = ids[torch.arange(len(spans)), [each.pad for each in spans]].tolist()
        dims = [
            self._dims(prompt.adapter, first) if each.images else (0,)
            for each, first in zip(spans, firsts, strict=True)
        ]
        return Sinks(spans[0].output_column, dims)

    def go_on(self, state: Sinks, spans: Sequence[TokenSpans], cached: int) -> Sinks:
        """The prefix's sinks, in each row; those behind it are noted while that runs."""
        return state.go_on(spans, cached)

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Note the layer's sinks when the prompt passes; nothing is changed."""
        sinks: Sinks = context.state(self)
        if sinks.lacks(context.layer):
            sinks.note(states.detach(), context, self.tau)
        return states

    def first_row(self, context: AttentionContext) -> int:
        """Rows up to the last visual token stay as they are; all of them without visual sinks."""
        if not context.state(self).of_layer[context.layer].found:
            return len(context.query_columns)
        ends = [each.images[-1][1] + each.pad for each in context.spans if each.images]
        return max(0, min(ends) - context.first_query_column)

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """A' in the chosen heads and rows."""
        sinks: Sinks = context.state(self)
        layer = sinks.of_layer[context.layer]
        if not layer.found:
            return weights
        prompt, later = weights[..., : sinks.width], weights[..., sinks.width :]
        visual, rest, every = (
            prompt.masked_fill(~keys, 0).sum(-1, keepdim=True)
            for keys in (layer.visual, layer.rest, layer.sinks)
        )
        mass = visual + rest
        chosen = (mass >= self.image_mass) & (visual <= self.sink_share * mass) & (rest > 0)
        chosen = chosen & layer.has_visual & self._behind_images(context)
        gain = 1 + (1 - self.keep) * every / rest.masked_fill(~chosen, 1)
        factor = torch.where(layer.rest, gain, 1.0).masked_fill(layer.sinks, self.keep)
        edited = torch.where(chosen, prompt * factor, prompt)
        return torch.cat([edited, later], dim=-1) if later.shape[-1] else edited

    def _behind_images(self, context: AttentionContext) -> Tensor:
        """Rows behind the last image, boolean (B, 1, q, 1)."""

        def make() -> Tensor:
            behind = context.query_positions >= context.context_start("after_image")
            return behind[:, None, :, None]

        return context.cached(self, make)

    def _dims(self, adapter: ModelAdapter, token: int) -> tuple[int, ...]:
        width = adapter.text_config.hidden_size
        if self.dims is not None:
            if max(self.dims) >= width:
                raise UnsupportedError(
                    f"dims={list(self.dims)} are those of another model: the residual stream of "
                    f"this one has {width} dimensions"
                )
            return tuple(self.dims)
        known = _FOUND.setdefault(adapter.model, {})
        if (token, self.tau) not in known:
            known[token, self.tau] = find_sink_dims(adapter, token, tau=self.tau)
        found = known[token, self.tau]
        if not found:
            raise UnsupportedError(
                f"VisSink found no massive activations in this model: in no dimension does the "
                f"first token of the prompt ({token}) reach tau={self.tau} times the root mean "
                f"square in most layers, where {width} dimensions allow for "
                f"{math.sqrt(width):.1f} at most. Give dims=[...] and a tau that its tokens reach"
            )
        return found
