"""The attention function that is registered with transformers.

With no session it is transformers' own sdpa. With one it computes the rows that an intervention can
change, or that a tape records, explicitly, and leaves all others to sdpa.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.editor import Editor
from lvlmsal.attention.holding import ATTENTION_NAME
from lvlmsal.attention.kernel import plain_attention
from lvlmsal.attention.session import active_pass, note_offset
from lvlmsal.attention.tape import Tape

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
        attention_mask: boolean (B, 1, q, k) or ``None`` (causal), as ``sdpa_mask`` makes it.
        scaling: factor on the scores.
        dropout: as transformers gives it; interventions and tapes are for evaluation only.
        **kwargs: passed on to sdpa.

    Returns:
        Output (B, q, H, d), and the weights where a full-graph tape is on.
    """
    batch, _, rows, _ = query.shape
    current = active_pass(module, batch, rows, key.shape[2], query.device)
    if current is not None:
        layer = current.context.layer
        tape = (
            current.tape if current.tape is not None and layer >= current.tape.layers[0] else None
        )
        editors = [editor for editor in current.editors if editor.applies_to(layer)]
        if tape is not None or editors:
            scale = scaling if scaling is not None else query.shape[-1] ** -0.5
            if tape is not None:
                out, weights = _recorded(
                    query, key, value, attention_mask, scale, editors, current.context, tape
                )
                return out.transpose(1, 2).contiguous(), weights if tape.full else None
            first = min(editor.first_row(current.context) for editor in editors)
            if first < rows:
                return _edited(
                    module,
                    query,
                    key,
                    value,
                    attention_mask,
                    scale,
                    editors,
                    current.context,
                    first,
                ), None
    out, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    return out, None


def _edited(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    editors: list[Editor],
    context: AttentionContext,
    first: int,
) -> Tensor:
    """Rows before ``first`` by sdpa, the others with their edits; (B, q, H, d)."""
    rows = query.shape[2] - first
    closed = len(editors) == 1 and editors[0].has_closed_form
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    if rows > EXPLICIT_ROWS and closed and not graph:
        causal = mask is None and query.shape[2] == key.shape[2]
        seen = None if causal else _visible(mask, context)
        if seen is None and not causal:  # a single row sees everything, which is not causal
            seen = torch.ones(1, 1, query.shape[2], key.shape[2], dtype=torch.bool).to(key.device)
        plain = plain_attention(query, key, value, seen, scale)
        tail = editors[0].closed_form(plain.rows_from(first), context.rows_from(first))
        return torch.cat([plain.output[:, :, :first], tail], dim=2).transpose(1, 2).contiguous()
    visible = _visible(mask, context)
    tail_visible = None if visible is None else visible[:, :, first:]
    weights = _weights(
        query[:, :, first:], key, tail_visible, scale, editors, context.rows_from(first)
    )
    out = _apply(weights, value).transpose(1, 2)
    if first:
        # Without a mask the pass is causal and starts at column 0: its head is one as well.
        head_keys = (key, value) if mask is not None else (key[:, :, :first], value[:, :, :first])
        head_mask = None if mask is None else mask[:, :, :first]
        head, _ = sdpa_attention_forward(
            module, query[:, :, :first], *head_keys, head_mask, scaling=scale
        )
        out = torch.cat([head, out], dim=1)
    return out.contiguous()


def _recorded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    editors: list[Editor],
    context: AttentionContext,
    tape: Tape,
) -> tuple[Tensor, Tensor]:
    """The pass with its probe; output (B, H, q, d) and weights (B, H, q, k)."""
    visible, layer = _visible(mask, context), context.layer
    if tape.full:
        weights = _weights(query, key, visible, scale, editors, context)
        if layer in tape.layers:
            probe = torch.zeros_like(weights, requires_grad=True)
            weights = weights + probe
            tape.probes[layer], tape.weights[layer] = probe, weights.detach()
        return _apply(weights, value), weights
    own_key, own_value = (_repeat(states, query) for states in tape.own[layer])
    # A row's own key and value carry gradient, on the diagonal alone: differences of value zero.
    diagonal = (query * (own_key - own_key.detach())).sum(-1) * scale
    extra = _on_diagonal(diagonal, key.shape[2])
    weights = _weights(query, key, visible, scale, editors, context, extra)
    out = _apply(weights, value)
    rows = torch.arange(query.shape[2], device=query.device)
    own_weights = weights[:, :, rows, key.shape[2] - query.shape[2] + rows]
    own = own_weights[..., None].to(out.dtype) * (own_value - own_value.detach())
    out = out + own
    if layer in tape.layers:
        probe = torch.zeros_like(out, requires_grad=True)
        out = out + probe
        tape.probes[layer], tape.weights[layer] = probe, weights.detach()
        tape.values[layer] = value
    return out, weights


def _weights(
    query: Tensor,
    key: Tensor,
    visible: Tensor | None,
    scale: float,
    editors: list[Editor],
    context: AttentionContext,
    extra: Tensor | None = None,
) -> Tensor:
    """Softmaxed and edited weights (B, H, q, k), in float32 or better."""
    batch, heads, rows, width = query.shape
    # Three dimensions and a scaled query: a decode step is short, so each call and copy counts.
    grouped = (query * scale).reshape(batch * key.shape[1], -1, width)
    scores = torch.bmm(grouped, key.flatten(0, 1).transpose(1, 2))
    scores = scores.view(batch, heads, rows, key.shape[2])
    if extra is not None:
        scores = scores + extra
    if scores.dtype not in (torch.float32, torch.float64):
        scores = scores.float()
    for editor in editors:
        scores = editor.scores(scores, context)
    if visible is not None:
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1)
    context = replace(context, scores=scores) if editors else context
    for editor in editors:
        weights = editor.weights(weights, context)
    return weights


def _apply(weights: Tensor, value: Tensor) -> Tensor:
    """Weighted sum of the values for grouped heads: (B, H, q, k) with (B, Hkv, k, d)."""
    batch, heads, rows, keys = weights.shape
    grouped = weights.to(value.dtype).reshape(batch * value.shape[1], -1, keys)
    return torch.bmm(grouped, value.flatten(0, 1)).view(batch, heads, rows, value.shape[3])


def _visible(mask: Tensor | None, context: AttentionContext) -> Tensor | None:
    """Which keys a row may see, boolean (B or 1, 1, q, k); ``None`` for all of them."""
    if mask is None:
        if len(context.query_columns) == 1:
            return None
        return (context.key_columns[None] <= context.query_columns[:, None])[None, None]
    return mask if mask.dtype == torch.bool else mask == 0


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
