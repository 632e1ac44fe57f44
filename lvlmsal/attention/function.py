"""The attention function that is registered with transformers.

With no session it is transformers' own sdpa. With one it computes the rows that an intervention can
change, or that are recorded, explicitly, and leaves all others to sdpa. What sdpa cannot do (soft
caps, attention sinks) is explicit in all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from lvlmsal.attention.arguments import (
    Call,
    check_arguments,
    is_causal,
    sees_ahead,
    sink_of,
    split_mask,
)
from lvlmsal.attention.calls import active_pass, note_mask, note_offset
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.editor import Editor, returned
from lvlmsal.attention.explicit import apply, edited_rows, plain_rows, weights_of
from lvlmsal.attention.hooks import ATTENTION_NAME, was_sdpa
from lvlmsal.attention.kernel import plain_attention
from lvlmsal.attention.recording import Recording
from lvlmsal.errors import UnsupportedError

EXPLICIT_ROWS = 64
"""Up to so many rows are computed explicitly where a closed form is there: that is cheaper then."""


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of one decoder layer, as ``AttentionInterface`` calls it.

    Args:
        module: the attention module; its ``layer_idx`` names the layer.
        query: (B, H, q, d), after the rotary embedding.
        key: (B, Hkv, k, d), after the cache's update.
        value: (B, Hkv, k, d).
        attention_mask: boolean (B, 1, q, k) or ``None`` (causal), as ``sdpa_mask`` makes it; or
            what is added to the scores.
        scaling: factor on the scores.
        dropout: as transformers gives it; edited and recorded passes are for evaluation only.
        **kwargs: ``softcap``, ``s_aux`` and ``is_causal`` are followed; others are passed on to
            sdpa, see :data:`~lvlmsal.attention.arguments.HARMLESS`.

    Returns:
        Output (B, q, H, d), and the weights where the full graph is recorded.

    Raises:
        UnsupportedError: rows are edited or recorded, and an argument is not known here, the model
            is in training mode with dropout or checkpoints, or what the call attends to is not what
            would be recorded.
    """
    rows = query.shape[2]
    if rows > 1:
        note_mask(module, attention_mask, causal=is_causal(module, kwargs))
    given = _Given(module, query, key, value, attention_mask, scaling, kwargs)
    current = active_pass(module, query.shape[0], rows, key.shape[2], query.device)
    if current is not None:
        context, recording = current.context, current.recording
        if recording is not None and context.layer < recording.layers[0]:
            recording = None
        editors = [editor for editor in current.editors if editor.applies_to(context.layer)]
        if recording is not None:
            current.check_mode(module, dropout)
            out, weights = _recorded(given, editors, context, recording)
            return out.transpose(1, 2).contiguous(), weights if recording.full else None
        if editors:
            first = min(editor.first_row(context) for editor in editors)
            if first < rows:
                current.check_mode(module, dropout)
                own, others = given.parted(current.samples)
                out = _edited(own, editors, context, first)
                return out if others is None else torch.cat([out, _plain(others)]), None
    return _plain(given, dropout), None


class _Given(NamedTuple):
    """The arguments of a call."""

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float | None
    more: Mapping[str, Any]

    @property
    def causal(self) -> bool:
        """Whether rows see the keys up to their own only, where no mask says what they see."""
        return is_causal(self.module, self.more)

    @property
    def is_explicit(self) -> bool:
        """Whether sdpa leaves out what these scores or weights need."""
        return self.more.get("softcap") is not None or self.more.get("s_aux") is not None

    def call(self, memo: dict[tuple[Any, ...], Any] | None = None, *, masked: bool = True) -> Call:
        """What explicit rows are made of; without what they see where that is not asked for."""
        visible = bias = None
        if masked:
            visible, bias = split_mask(
                self.mask, self.query, self.key, causal=self.causal, memo=memo
            )
        scale = self.query.shape[-1] ** -0.5 if self.scaling is None else self.scaling
        return Call(
            self.query,
            self.key,
            self.value,
            scale,
            visible,
            bias,
            self.more.get("softcap"),
            sink_of(self.more, self.query.shape[1]),
        )

    def parted(self, samples: int) -> tuple[_Given, _Given | None]:
        """The same, of the first rows of the batch, and of those behind them, if there are any."""
        if samples == len(self.query):
            return self, None

        def part(rows: slice) -> _Given:
            mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[rows]
            states = (self.query[rows], self.key[rows], self.value[rows])
            return _Given(self.module, *states, mask, self.scaling, self.more)

        return part(slice(0, samples)), part(slice(samples, None))

    def head(self, rows: int) -> _Given:
        """The same, of the first rows."""
        query = self.query[:, :, :rows]
        if self.mask is not None:
            return self._replace(query=query, mask=self.mask[:, :, :rows])
        if not self.causal:
            return self._replace(query=query)
        # Without a mask the pass is causal and starts at column 0: its head is one as well.
        return self._replace(query=query, key=self.key[:, :, :rows], value=self.value[:, :, :rows])


def _plain(given: _Given, dropout: float = 0.0) -> Tensor:
    """Rows without an edit, as the model computes them by itself; (B, q, H, d)."""
    if given.is_explicit or not was_sdpa(given.module):
        # Sdpa swallows arguments that it does not know; so would the model that chose it.
        check_arguments(given.module, given.more)
    if given.is_explicit:
        return plain_rows(given.call(), dropout).transpose(1, 2).contiguous()
    module, query, key, value, mask, scaling, more = given
    out: Tensor
    out, _ = sdpa_attention_forward(
        module, query, key, value, mask, dropout=dropout, scaling=scaling, **more
    )
    return out


def _edited(given: _Given, editors: list[Editor], context: AttentionContext, first: int) -> Tensor:
    """Rows before ``first`` without an edit, the others with theirs; (B, q, H, d)."""
    check_arguments(given.module, given.more)
    query, key, value = given.query, given.key, given.value
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    closed = len(editors) == 1 and editors[0].has_closed_form and not graph
    closed = closed and query.shape[2] - first > EXPLICIT_ROWS
    causal = given.mask is None and given.causal and query.shape[2] == key.shape[2]
    # A causal mask is as large as a head's weights: closed forms do without.
    unmasked = closed and causal and given.more.get("softcap") is None
    call = given.call(context.memo, masked=not unmasked)
    if closed and call.softcap is None and call.bias is None:
        seen = call.visible
        if seen is None and not causal:  # rows that see everything, which is not causal
            seen = torch.ones(1, 1, query.shape[2], key.shape[2], dtype=torch.bool).to(key.device)
        plain = plain_attention(query, key, value, seen, call.scale, call.sink)
        rows = plain.rows_from(first)
        found = editors[0].closed_form(rows, context.rows_from(first))
        tail = returned(found, rows.output, editors[0], "closed_form", "plain.output")
        return torch.cat([plain.output[:, :, :first], tail], dim=2).transpose(1, 2).contiguous()
    tail_call, tail_context = call.rows(slice(first, None)), context.rows_from(first)
    if closed and not getattr(editors[0], "looks_ahead", False):
        out = edited_rows(tail_call, editors[0], tail_context)
    else:
        out = apply(weights_of(tail_call, editors, tail_context), value)
    out = out.transpose(1, 2)
    return torch.cat([_plain(given.head(first)), out], dim=1) if first else out.contiguous()


def _recorded(
    given: _Given, editors: list[Editor], context: AttentionContext, recording: Recording
) -> tuple[Tensor, Tensor]:
    """The pass with its probe; output (B, H, q, d) and weights (B, H, q, k)."""
    check_arguments(given.module, given.more)
    call, layer = given.call(context.memo), context.layer
    query, key, value = given.query, given.key, given.value
    if layer in recording.weights:
        raise UnsupportedError(
            f"layer {layer} calls its attention more than once in a pass (differential attention): "
            f"there is no one matrix of weights whose saliency could be taken"
        )
    if recording.full:
        weights = weights_of(call, editors, context)
        if layer in recording.layers:
            probe = torch.zeros_like(weights, requires_grad=True)
            weights = weights + probe
            recording.probes[layer], recording.weights[layer] = probe, weights.detach()
        return apply(weights, value), weights
    if _sees_ahead(given, context.memo):
        raise UnsupportedError(
            "rows of this pass see later ones, so no row carries its gradient alone: record its "
            "tokens one by one with block_size=1, or use full_graph_rows"
        )
    own_key, own_value = (_repeat(own, query) for own in recording.own_of(layer, key, value))
    # A row's own key and value carry gradient, on the diagonal alone: differences of value zero.
    diagonal = (query * (own_key - own_key.detach())).sum(-1) * call.scale
    extra = _on_diagonal(diagonal, key.shape[2])
    weights = weights_of(call, editors, context, extra)
    out = apply(weights, value)
    rows = torch.arange(query.shape[2], device=query.device)
    own_weights = weights[:, :, rows, key.shape[2] - query.shape[2] + rows]
    own = own_weights[..., None].to(out.dtype) * (own_value - own_value.detach())
    out = out + own
    if layer in recording.layers:
        probe = torch.zeros_like(out, requires_grad=True)
        out = out + probe
        recording.probes[layer], recording.weights[layer] = probe, weights.detach()
        recording.values[layer] = value
    return out, weights


def _sees_ahead(given: _Given, memo: dict[tuple[Any, ...], Any]) -> bool:
    """Whether rows see later ones; the device is asked once for a mask that layers share."""
    rows, mask = given.query.shape[2], given.mask
    if mask is None:
        return bool(sees_ahead(None, rows, causal=given.causal))
    if (name := ("ahead", id(mask), rows)) not in memo:
        # The mask stands in the memo so that its id is not given to another one.
        memo[name] = bool(sees_ahead(mask, rows, causal=given.causal)), mask
    found: bool = memo[name][0]
    return found


def _repeat(states: Tensor, query: Tensor) -> Tensor:
    """Keys or values (B, Hkv, m, d) repeated for grouped heads to (B, H, m, d)."""
    groups = query.shape[1] // states.shape[1]
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


def _on_diagonal(diagonal: Tensor, keys: int) -> Tensor:
    """(B, H, m) onto the last m columns of a zero (B, H, m, keys)."""
    rows = diagonal.shape[-1]
    square = torch.diag_embed(diagonal) if rows > 1 else diagonal[..., None]
    return nn.functional.pad(square, (keys - rows, 0))


def attention_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    **kwargs: Any,
) -> Tensor | None:
    """Transformers' own sdpa mask; an active session reads off it where the pass stands."""
    note_offset(kwargs.get("config"), int(q_offset), int(kv_offset))
    mask: Tensor | None = sdpa_mask(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        kv_offset=kv_offset,
        **kwargs,
    )
    return mask


AttentionInterface.register(ATTENTION_NAME, attention_forward)
AttentionMaskInterface.register(ATTENTION_NAME, attention_mask)
