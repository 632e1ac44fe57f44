"""Attention weights that are computed as such, with their edits; and rows without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lvlmsal.attention.arguments import Call
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.editor import Editor, returned

CHUNK = 256
"""Rows whose weights are held at a time where nobody wants to see all of them."""


def weights_of(
    call: Call,
    editors: Sequence[Editor] = (),
    context: AttentionContext | None = None,
    extra: Tensor | None = None,
) -> Tensor:
    """Softmaxed and edited weights (B, H, q, k), in float32 or better.

    Args:
        call: whose rows are computed.
        editors: in the order in which they act.
        context: of these rows; there where editors are.
        extra: added to the products of queries and keys, (B, H, q, k).
    """
    batch, heads, rows, width = call.query.shape
    key = call.key
    # Three dimensions and a scaled query: a decode step is short, so each call and copy counts.
    grouped = (call.query * call.scale).reshape(batch * key.shape[1], -1, width)
    scores = torch.bmm(grouped, key.flatten(0, 1).transpose(1, 2))
    scores = scores.view(batch, heads, rows, key.shape[2])
    if extra is not None:
        scores = scores + extra
    if scores.dtype not in (torch.float32, torch.float64):
        scores = scores.float()
    if call.softcap is not None:
        scores = call.softcap * torch.tanh(scores / call.softcap)
    if context is not None:
        context = replace(context, call=call)
        for editor in editors:
            scores = returned(editor.scores(scores, context), scores, editor, "scores")
    if call.bias is not None:
        scores = scores + call.bias
    if call.visible is not None:
        scores = scores.masked_fill(~call.visible, torch.finfo(scores.dtype).min)
    if call.sink is None:
        weights = torch.softmax(scores, dim=-1)
    else:
        sink = call.sink.to(scores)[None, :, None, None].expand(batch, -1, rows, 1)
        weights = torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[..., :-1]
    if context is not None and editors:
        context = replace(context, scores=scores)
        for editor in editors:
            weights = returned(editor.weights(weights, context), weights, editor, "weights")
    return weights


def apply(weights: Tensor, value: Tensor) -> Tensor:
    """Weighted sum of the values for grouped heads: (B, H, q, k) with (B, Hkv, k, d)."""
    batch, heads, rows, keys = weights.shape
    grouped = weights.to(value.dtype).reshape(batch * value.shape[1], -1, keys)
    return torch.bmm(grouped, value.flatten(0, 1)).view(batch, heads, rows, value.shape[3])


def plain_rows(call: Call, dropout: float = 0.0) -> Tensor:
    """Output (B, H, q, d) without any edit, some rows at a time."""
    parts = []
    for start in range(0, call.query.shape[2], CHUNK):
        weights = weights_of(call.rows(slice(start, start + CHUNK)))
        parts.append(apply(nn.functional.dropout(weights, dropout), call.value))
    return torch.cat(parts, dim=2)


def edited_rows(call: Call, editor: Editor, context: AttentionContext) -> Tensor:
    """Output (B, H, q, d) under an edit that knows each row by itself, some rows at a time."""
    parts = []
    for start in range(0, call.query.shape[2], CHUNK):
        rows = slice(start, min(start + CHUNK, call.query.shape[2]))
        tile = context.tile(rows, slice(0, len(context.key_columns)))
        parts.append(apply(weights_of(call.rows(rows), [editor], tile), call.value))
    return torch.cat(parts, dim=2)
